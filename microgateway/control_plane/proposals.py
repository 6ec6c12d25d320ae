"""Another configuration, as a change to the one in force: checked and compiled like any, and never put in force."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from microgateway.control_plane.gateway_batches import Configuration as Proposed
from microgateway.control_plane.merge_patch import FieldError, InvalidEntityError, apply_patch, field_errors
from microgateway.control_plane.mint import Mint
from microgateway.control_plane.routing_table import RoutingTable
from microgateway.entities import (
    ApiKey,
    ApiKeySpec,
    RateLimitRule,
    RateLimitRuleSpec,
    Route,
    RouteSpec,
    Service,
    ServiceSpec,
)

E = TypeVar("E", Service, Route, RateLimitRule, ApiKey)
S = TypeVar("S", bound=BaseModel)
Patches = Mapping[str, dict[str, Any] | None]


def proposed_table(table: RoutingTable, proposed: Proposed, mint: Mint) -> RoutingTable:
    """The services, routes and rate limit rules as proposed. Raises `InvalidEntityError` and `ConfigurationError`."""
    services = _changed(
        "services", table.services, proposed.services, ServiceSpec, mint.service, lambda service: service.name
    )
    ids = {service.name: service.id for service in services.values()}
    routes = _changed(
        "routes",
        table.routes,
        {name: _by_id(patch, ids) for name, patch in proposed.routes.items()},
        RouteSpec,
        mint.route,
        lambda route: route.path,
    )
    rules = _changed(
        "rate_limits",
        table.rate_limits,
        {name: _by_id(patch, ids) for name, patch in proposed.rate_limits.items()},
        RateLimitRuleSpec,
        mint.rate_limit,
        lambda rule: rule.name,
    )
    changed = RoutingTable(services, {}, {})
    for route in routes.values():
        changed = changed.with_route(route)
    for rule in rules.values():
        changed = changed.with_rate_limit(rule)
    return changed


def proposed_keys(keys: Mapping[str, ApiKey], patches: Patches, mint: Mint) -> list[ApiKey]:
    """The keys that are changed; one that is taken away is switched off. Raises `InvalidEntityError`."""
    wanted = {name: {"enabled": False} if patch is None else patch for name, patch in patches.items()}
    for name in wanted:
        if _find(keys, name, lambda key: key.name) is None:
            raise _error(f"keys.{name}", "there is no key with this id, nor one alone with this name")
    changed = _changed("keys", keys, wanted, ApiKeySpec, lambda spec: mint.key(spec).key, lambda key: key.name)
    limited = [ApiKey.model_validate(key.model_dump() | mint.with_limits(_spec_of(key))) for key in changed.values()]
    return [key for key in limited if key != keys[key.id]]


def _spec_of(key: ApiKey) -> ApiKeySpec:
    return ApiKeySpec.model_validate(key.model_dump(include=set(ApiKeySpec.model_fields)))


def _changed(
    kind: str,
    entities: Mapping[str, E],
    patches: Patches,
    spec: type[S],
    make: Callable[[S], E],
    name_of: Callable[[E], str],
) -> dict[str, E]:
    """All of one kind, in their order, with these patches applied."""
    result = dict(entities)
    for name, patch in patches.items():
        found = _find(entities, name, name_of)
        if found is None and patch is None:
            raise _error(f"{kind}.{name}", "there is nothing with this id, nor one alone with this name")
        if patch is None and found is not None:
            del result[found]
        elif patch is not None:
            current = {"path" if kind == "routes" else "name": name}
            if found is not None:
                current = entities[found].model_dump(mode="json", include=set(spec.model_fields))
            try:
                wanted = spec.model_validate(apply_patch(current, patch))
            except ValidationError as error:
                raise InvalidEntityError(
                    FieldError(f"configuration.{kind}.{name}.{one.field}", one.message) for one in field_errors(error)
                ) from None
            if found is None:
                new = make(wanted)
                result[new.id] = new
            else:
                result[found] = entities[found].model_copy(update=dict(wanted))
    return result


def _find(entities: Mapping[str, E], name: str, name_of: Callable[[E], str]) -> str | None:
    """The id that is meant: this one, or that of the only one with this name."""
    if name in entities:
        return name
    named = [entity.id for entity in entities.values() if name_of(entity) == name]
    return named[0] if len(named) == 1 else None


def _by_id(patch: dict[str, Any] | None, ids: Mapping[str, str]) -> dict[str, Any] | None:
    """A service may be named by its name too, since one that is new has no id yet."""
    service = None if patch is None else patch.get("service_id")
    if patch is None or not isinstance(service, str) or service not in ids:
        return patch
    return {**patch, "service_id": ids[service]}


def _error(field: str, message: str) -> InvalidEntityError:
    return InvalidEntityError([FieldError(f"configuration.{field}", message)])
