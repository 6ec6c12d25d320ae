"""All that an object holds, as text, to be compared: whatever it is made of, and however deep."""

import asyncio
import types
from random import Random
from typing import Any

_LEAVES = (int, float, str, bytes, bool, type(None), type, types.FunctionType, types.BuiltinFunctionType)
_NOT_OURS = ("asyncio", "uvloop", "concurrent", "socket", "threading", "_thread", "weakref", "_contextvars", "ssl")


def portrait(thing: object) -> list[str]:
    """One line for each value, with the way to it. What is met again is named by where it was met first."""
    lines: list[str] = []
    _draw(thing, "", lines, {})
    return lines


def _draw(thing: Any, path: str, lines: list[str], met: dict[int, str]) -> None:
    if isinstance(thing, asyncio.TimerHandle):
        lines.append(f"{path} = a timer")  # which is set anew as time passes, whatever else happens
        return
    if isinstance(thing, _LEAVES) or type(thing).__module__.split(".")[0] in _NOT_OURS:
        lines.append(f"{path} = {thing!r}"[:500])
        return
    if id(thing) in met:
        lines.append(f"{path} is {met[id(thing)]}")
        return
    met[id(thing)] = path
    if isinstance(thing, Random):
        lines.append(f"{path} = {hash(thing.getstate())}")
        return
    parts = list(_parts(thing))
    lines.append(f"{path}: {type(thing).__name__} of {len(parts)}")
    for name, part in parts:
        _draw(part, f"{path}.{name}", lines, met)


def _parts(thing: Any) -> list[tuple[str, Any]]:
    if isinstance(thing, dict | types.MappingProxyType):
        return [(f"[{_name(key)}]", value) for key, value in thing.items()]
    if isinstance(thing, list | tuple) or hasattr(thing, "popleft"):
        return [(f"[{place}]", value) for place, value in enumerate(thing)]
    if isinstance(thing, set | frozenset):
        return sorted((f"{{{_name(value)}}}", None) for value in thing)
    if isinstance(thing, types.MethodType):
        return [("__self__", thing.__self__)]
    slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    names = [*getattr(thing, "__dict__", {}), *slots]
    return [(name, getattr(thing, name)) for name in names if hasattr(thing, name) and name != "__weakref__"]


def _name(key: object) -> str:
    return repr(key) if isinstance(key, str | bytes | int) else type(key).__name__
