"""What becomes of header fields on their way: which are added, removed and changed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Fields = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Changes:
    """`changed` are name, value before, value after. Names are compared in any case, by all their lines."""

    added: Fields
    removed: Fields
    changed: list[tuple[str, str, str]]


def fields_of(head: bytes) -> Fields:
    """The fields of a head, its first line left out."""
    lines = head.decode("latin-1").split("\r\n")[1:]
    return [(name, value.strip()) for name, mark, value in (line.partition(":") for line in lines) if mark]


def changes(before: Fields, after: Fields) -> Changes:
    """What is different in `after`."""
    was, now = _by_name(before), _by_name(after)
    common = [name for name in now if name in was and now[name][1] != was[name][1]]
    return Changes(
        added=_fields(now, (name for name in now if name not in was)),
        removed=_fields(was, (name for name in was if name not in now)),
        changed=[(now[name][0], ", ".join(was[name][1]), ", ".join(now[name][1])) for name in common],
    )


def _by_name(fields: Fields) -> dict[str, tuple[str, list[str]]]:
    found: dict[str, tuple[str, list[str]]] = {}
    for name, value in fields:
        found.setdefault(name.lower(), (name, []))[1].append(value)
    return found


def _fields(by_name: Mapping[str, tuple[str, list[str]]], names: Iterable[str]) -> Fields:
    return [(by_name[name][0], value) for name in names for value in by_name[name][1]]
