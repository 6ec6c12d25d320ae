"""Another configuration, as a change to the one in force: checked and compiled like any, and never put in force."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from microgateway.control_plane.gateway_batches import Patches, ProposedConfiguration
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


@dataclass(frozen=True, slots=True)
class _Kind(Generic[E, S]):
    """What entities of one kind are made of."""

    name: str
    spec: type[S]
    make: Callable[[S], E]
    named_by: str


def proposed_table(table: RoutingTable, proposed: ProposedConfiguration, mint: Mint) -> RoutingTable:
    """The services, routes and rate limit rules as proposed. Raises `InvalidEntityError` and `ConfigurationError`."""
    whole = proposed.whole
    services = _changed(
        table.services, proposed.services, _Kind("services", ServiceSpec, mint.service, "name"), whole=whole
    )
    ids = {service.name: service.id for service in services.values()}
    wanted = {name: _by_id(patch, ids) for name, patch in proposed.routes.items()}
    routes = _changed(table.routes, wanted, _Kind("routes", RouteSpec, mint.route, "path"), whole=whole)
    wanted = {name: _by_id(patch, ids, routes) for name, patch in proposed.rate_limits.items()}
    kind = _Kind("rate_limits", RateLimitRuleSpec, mint.rate_limit, "name")
    changed = RoutingTable.of(services, routes, _changed(table.rate_limits, wanted, kind, whole=whole))
    for route in changed.routes.values():
        changed.check_route(route)
    for rule in changed.rate_limits.values():
        changed.check_rate_limit(rule)
    return changed


def proposed_keys(
    keys: Mapping[str, ApiKey], proposed: ProposedConfiguration, services: Mapping[str, Service], mint: Mint
) -> list[ApiKey]:
    """The keys that are changed; one that is taken away is switched off. Raises `InvalidEntityError`."""
    ids = {service.name: service.id for service in services.values()}
    off: dict[str, Any] = {"enabled": False}
    wanted = {name: off if patch is None else _by_id(patch, ids) for name, patch in proposed.keys.items()}
    named = {name: _find(keys, name, "name") for name in wanted}
    for name, found in named.items():
        if found is None:
            raise _error(f"keys.{name}", "there is no key with this id, nor one alone with this name")
    if "keys" in proposed.whole:
        wanted |= dict.fromkeys(keys.keys() - set(named.values()), off)
    changed = _changed(keys, wanted, _Kind("keys", ApiKeySpec, lambda spec: mint.key(spec).key, "name"), whole=())
    limited = [ApiKey.model_validate(key.model_dump() | mint.with_limits(_spec_of(key))) for key in changed.values()]
    return [key for key in limited if key != keys[key.id]]


def _spec_of(key: ApiKey) -> ApiKeySpec:
    return ApiKeySpec.model_validate(key.model_dump(include=set(ApiKeySpec.model_fields)))


def _changed(entities: Mapping[str, E], patches: Patches, kind: _Kind[E, S], *, whole: Collection[str]) -> dict[str, E]:
    """All of one kind, in their order, with these patches applied."""
    meant = {name: _find(entities, name, kind.named_by) for name in patches}
    kept = entities if kind.name not in whole else set(meant.values())
    result = {entity_id: entity for entity_id, entity in entities.items() if entity_id in kept}
    for name, patch in patches.items():
        found = meant[name]
        if found is None and patch is None:
            raise _error(f"{kind.name}.{name}", "there is nothing with this id, nor one alone with this name")
        if patch is None:
            result.pop(str(found))
        elif found is None:
            new = kind.make(_validated(kind, name, {kind.named_by: name}, patch))
            result[new.id] = new
        else:
            current = entities[found].model_dump(mode="json", include=set(kind.spec.model_fields))
            wanted = _validated(kind, name, current, patch)
            result[found] = entities[found].model_copy(update=dict(wanted))
    return result


def _validated(kind: _Kind[E, S], name: str, current: dict[str, Any], patch: dict[str, Any]) -> S:
    try:
        return kind.spec.model_validate(apply_patch(current, patch))
    except ValidationError as error:
        raise InvalidEntityError(
            FieldError(f"configuration.{kind.name}.{name}.{one.field}", one.message) for one in field_errors(error)
        ) from None


def _find(entities: Mapping[str, E], name: str, named_by: str) -> str | None:
    """The id that is meant: this one, or that of the only one with this name."""
    if name in entities:
        return name
    named = [entity.id for entity in entities.values() if getattr(entity, named_by) == name]
    return named[0] if len(named) == 1 else None


def _by_id(
    patch: dict[str, Any] | None, services: Mapping[str, str], routes: Mapping[str, Route] = MappingProxyType({})
) -> dict[str, Any] | None:
    """With ids in place of the names that a seed file has, or that an id is given as: what is new has no id yet."""
    if patch is None:
        return None
    fields = {name: value for name, value in patch.items() if name != "key"}
    if "service" in fields:
        fields["service_id"] = fields.pop("service")
    if "route" in fields:
        path = fields.pop("route")
        fields["route_id"] = _find(routes, path, "path") or path if isinstance(path, str) else path
    if isinstance(service := fields.get("service_id"), str):
        fields["service_id"] = services.get(service, service)
    if isinstance(several := fields.get("services"), list):
        fields["services"] = [services.get(one, one) if isinstance(one, str) else one for one in several]
    return fields


def _error(field: str, message: str) -> InvalidEntityError:
    return InvalidEntityError([FieldError(f"configuration.{field}", message)])
