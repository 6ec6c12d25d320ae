"""A file of what to begin with: `{"services": [...], "routes": [...], "keys": [...], "rate_limits": [...]}`.

The entries are the bodies that the API takes, except that a route and a rate limit rule name their `service`, and a key
its `services`, by name, that a rule names its `route` by path, and that a key may bring its own text as `key`.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from microgateway.control_plane.merge_patch import field_errors
from microgateway.control_plane.mint import IssuedKey, Mint
from microgateway.core import api_keys
from microgateway.entities import ApiKeySpec, RateLimitRule, RateLimitRuleSpec, Route, RouteSpec, Service, ServiceSpec
from microgateway.errors import StartupError

T = TypeVar("T")
LISTS = ("services", "routes", "keys", "rate_limits")


@dataclass(frozen=True, slots=True)
class Seeded:
    """What a seed has created. Without services and keys it has created nothing."""

    services: tuple[Service, ...]
    routes: tuple[Route, ...]
    keys: tuple[IssuedKey, ...]
    rate_limits: tuple[RateLimitRule, ...] = ()


NOTHING_SEEDED = Seeded((), (), ())


class _EntryError(Exception):
    """What is wrong with one entry, without saying where: its caller knows."""


def read_seed(path: Path, mint: Mint) -> Seeded:
    """The file's entities, made but not yet kept. Raises `StartupError` that names the file and the entry."""
    document = _read(path)
    with _naming(path):
        services = _entries(document, "services", lambda entry: mint.service(ServiceSpec.model_validate(entry)))
        ids = {service.name: service.id for service in services}
        if len(ids) < len(services):
            raise _EntryError("services: two of them have the same name")
        routes = _entries(document, "routes", lambda entry: mint.route(_route_spec(entry, ids)))
        keys = _entries(document, "keys", lambda entry: _key(entry, mint, ids))
        if len({issued.text for issued in keys}) < len(keys):
            raise _EntryError("keys: two of them have the same text")
        rate_limits = _entries(document, "rate_limits", lambda entry: mint.rate_limit(_rule_spec(entry, ids, routes)))
    return Seeded(services, routes, keys, rate_limits)


def _read(path: Path) -> dict[str, Any]:
    with _naming(path):
        try:
            document = json.loads(path.read_bytes())
        except OSError as error:
            raise _EntryError(f"can't be read: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise _EntryError(f"is not JSON: {error}") from error
        if not isinstance(document, dict) or document.keys() - set(LISTS):
            raise _EntryError(f"must be an object with the lists {', '.join(LISTS)}, and nothing else")
        return document


def _entries(document: dict[str, Any], name: str, make: Callable[[dict[str, Any]], T]) -> tuple[T, ...]:
    entries = document.get(name, [])
    if not isinstance(entries, list):
        raise _EntryError(f"{name}: must be a list")
    made = []
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise _EntryError(f"{name}[{number}]: must be an object")
        try:
            made.append(make(entry))
        except ValidationError as error:
            first = field_errors(error)[0]
            raise _EntryError(f"{name}[{number}].{first.field}: {first.message}") from None
        except _EntryError as fault:
            raise _EntryError(f"{name}[{number}].{fault}") from None
    return tuple(made)


def _route_spec(entry: dict[str, Any], ids: dict[str, str]) -> RouteSpec:
    if "service_id" in entry:
        raise _EntryError("service_id: a file knows no ids; name the service in `service`")
    name = entry.get("service")
    if name is None:
        raise _EntryError("service: this is required")
    if not isinstance(name, str) or name not in ids:
        raise _EntryError(f"service: this file has no service {name!r}")
    return RouteSpec.model_validate(
        {key: value for key, value in entry.items() if key != "service"} | {"service_id": ids[name]}
    )


def _rule_spec(entry: dict[str, Any], ids: dict[str, str], routes: tuple[Route, ...]) -> RateLimitRuleSpec:
    fields = dict(entry)
    if (name := fields.pop("service", None)) is not None:
        if not isinstance(name, str) or name not in ids:
            raise _EntryError(f"service: this file has no service {name!r}")
        fields["service_id"] = ids[name]
    if (path := fields.pop("route", None)) is not None:
        meant = [route.id for route in routes if route.path == path]
        if len(meant) != 1:
            raise _EntryError(f"route: this file has {len(meant)} routes with the path {path!r}")
        fields["route_id"] = meant[0]
    return RateLimitRuleSpec.model_validate(fields)


def _key(entry: dict[str, Any], mint: Mint, ids: dict[str, str]) -> IssuedKey:
    text = entry.get("key")
    if text is not None and not (isinstance(text, str) and api_keys.is_well_formed(text)):
        raise _EntryError("key: this is not a key that a MicroGateway has made (length, prefix or check digits)")
    fields = {name: value for name, value in entry.items() if name != "key"}
    if isinstance(names := fields.get("services"), list):
        fields["services"] = [_service_id(name, ids) for name in names]
    return mint.key(ApiKeySpec.model_validate(fields), text)


def _service_id(name: object, ids: dict[str, str]) -> str:
    if not isinstance(name, str) or name not in ids:
        raise _EntryError(f"services: this file has no service {name!r}")
    return ids[name]


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except _EntryError as fault:
        raise StartupError(f"seed file {str(path)!r}: {fault}") from fault
