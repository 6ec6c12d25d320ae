"""Back to what the configuration was: what has to be changed for it, and what of keys is not.

A credential that was taken out of use stays out of use: a key that was revoked since stays revoked, and one that was
rotated keeps its present text. What a key may do goes back with everything else, unless keys are to be left alone.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from microgateway.control_plane.differences import Difference, differences
from microgateway.control_plane.merge_patch import FieldError, InvalidEntityError, field_errors
from microgateway.control_plane.mint import Mint
from microgateway.control_plane.routing_table import RoutingTable
from microgateway.entities import (
    ApiKey,
    ApiKeySpec,
    RateLimitRuleSpec,
    RouteSpec,
    ServiceSpec,
    TokenIssuer,
    TokenIssuerSpec,
)
from microgateway.persistence.entity_table import EntityTable, Placed
from microgateway.persistence.putting_back import PutBack
from microgateway.persistence.repository import Repository
from microgateway.snapshot import Snapshot

E = TypeVar("E", bound=BaseModel)

SPECS: Mapping[str, type[BaseModel]] = {
    "service": ServiceSpec,
    "route": RouteSpec,
    "rate_limit": RateLimitRuleSpec,
    "key": ApiKeySpec,
    "token_issuer": TokenIssuerSpec,
}

NoteCode = Literal["stays_revoked", "keeps_its_text", "stays", "is_disabled", "is_good_again"]


class RestoreRequest(BaseModel):
    """How a version is restored."""

    model_config = ConfigDict(extra="forbid")

    dry_run: bool = Field(False, description="Only say what would be changed.")
    if_version: Annotated[int, Field(ge=1, le=2**53)] | None = Field(
        None, description="409 where another version than this one is in force."
    )
    keys: Literal["restore", "leave"] = Field(
        "restore", description="`leave`: what keys may do stays as it is. Revoked and rotated ones stay so in any case."
    )
    new_keys: Literal["keep", "disable"] = Field(
        "keep", description="What becomes of keys that were made since: they stay good, or are switched off."
    )


class Note(NamedTuple):
    """What is to be known of who may come in, beside what is changed."""

    code: NoteCode
    kind: Literal["key", "token_issuer"]
    id: str
    name: str


class Restoration(NamedTuple):
    """What is changed, of what is in force. `snapshot` is in force afterwards, or would be."""

    changes: list[Difference]
    notes: list[Note]
    snapshot: Snapshot

    def put_back(self) -> Iterator[PutBack]:
        return (PutBack(each.kind, each.id, each.after) for each in self.changes)

    def keys(self) -> list[ApiKey]:
        """Those that are changed; none goes."""
        return [each.after.entity for each in self.changes if each.kind == "key" and each.after is not None]

    def issuers(self, present: Mapping[str, TokenIssuer]) -> Mapping[str, TokenIssuer]:
        """All of them afterwards."""
        return _after(present, [each for each in self.changes if each.kind == "token_issuer"])


async def planned(
    repository: Repository, present: Snapshot, mint: Mint, version: int, asked: RestoreRequest
) -> Restoration:
    """What leads from what is in force to this version.

    Raises `VersionNotKeptError`; `InvalidEntityError` for what would not be taken any more today, such as a file that
    has gone; and `ConflictError` for what this MicroGateway can't read.
    """
    found = await differences(repository, present.version, version)
    return await asyncio.to_thread(_planned, found, present, mint.moment(), asked)


def _planned(found: Iterable[Difference], present: Snapshot, now: datetime, asked: RestoreRequest) -> Restoration:
    notes, changes = list[Note](), list[Difference]()
    for difference in found:
        if difference.kind == "key":
            changed = _of_key(difference, asked, notes, now)
        else:
            changed = _touched_now(difference, now)
            notes += _of_issuer(difference)
        if changed is not None:
            changes.append(changed)
    _check(changes)
    return Restoration(changes, notes, present)


async def restored_table(repository: Repository, table: RoutingTable, changes: list[Difference]) -> RoutingTable:
    """This one with these changes. Raises `ConfigurationError` where something names what is not there."""
    by_kind = {kind: [each for each in changes if each.kind == kind] for kind in ("service", "route", "rate_limit")}
    services = await _in_order(repository.services, table.services, by_kind["service"])
    routes = await _in_order(repository.routes, table.routes, by_kind["route"])
    rate_limits = await _in_order(repository.rate_limits, table.rate_limits, by_kind["rate_limit"])
    if routes.keys() <= table.ages.keys():
        ages = {route_id: table.ages[route_id] for route_id in routes}
        restored = replace(table, services=services, routes=routes, rate_limits=rate_limits, ages=ages)
    else:
        restored = RoutingTable.of(services, routes, rate_limits)
    for route in restored.routes.values():
        restored.check_route(route)
    for rule in restored.rate_limits.values():
        restored.check_rate_limit(rule)
    return restored


async def _in_order(table: EntityTable[E], present: Mapping[str, E], changes: list[Difference]) -> Mapping[str, E]:
    """All of them afterwards, the oldest first: what comes back has its old place."""
    after = _after(present, changes)
    numbers = {each.id: each.after.number for each in changes if each.before is None and each.after is not None}
    if not numbers:
        return after
    numbers = await table.numbers() | numbers
    return {key: after[key] for key in sorted(after, key=lambda key: numbers.get(key, 0))}


def _after(present: Mapping[str, E], changes: Iterable[Difference]) -> Mapping[str, E]:
    after = dict(present)
    for each in changes:
        if each.after is None:
            after.pop(each.id, None)
        else:
            after[each.id] = each.after.entity
    return after


def _touched_now(difference: Difference, now: datetime) -> Difference:
    """With what it becomes as changed now."""
    if difference.after is None:
        return difference
    entity = difference.after.entity.model_copy(update={"updated_at": now})
    return replace(difference, after=Placed(entity, difference.after.number))


def _of_issuer(difference: Difference) -> Iterator[Note]:
    is_on = [
        side is not None and getattr(side.entity, "enabled", False) for side in (difference.before, difference.after)
    ]
    if difference.kind == "token_issuer" and is_on == [False, True]:
        yield Note("is_good_again", "token_issuer", difference.id, difference.name)


def _of_key(difference: Difference, asked: RestoreRequest, notes: list[Note], now: datetime) -> Difference | None:
    """What is changed of this key; None: nothing."""
    if difference.before is None:
        return None  # keys are never deleted, but by hand
    key: ApiKey = difference.before.entity
    then: ApiKey | None = None if difference.after is None else difference.after.entity
    restored = key
    if key.is_revoked():
        if then is not None and not then.is_revoked():
            notes.append(Note("stays_revoked", "key", key.id, key.name))
    elif then is None:
        restored = _made_since(key, asked, notes)
    else:
        restored = _as_it_was(key, then, asked, notes)
        if _is_good(restored, now) and not _is_good(key, now):
            notes.append(Note("is_good_again", "key", key.id, restored.name))
    return None if restored == key else replace(difference, after=Placed(restored, difference.before.number))


def _made_since(key: ApiKey, asked: RestoreRequest, notes: list[Note]) -> ApiKey:
    """Not revoked: that could not be taken back, and somebody out there uses it."""
    if asked.new_keys == "keep" or not key.enabled:
        notes.append(Note("stays", "key", key.id, key.name))
        return key
    notes.append(Note("is_disabled", "key", key.id, key.name))
    return key.model_copy(update={"enabled": False})


def _as_it_was(key: ApiKey, then: ApiKey, asked: RestoreRequest, notes: list[Note]) -> ApiKey:
    """With what was written of it, and the text that it has."""
    if then.key_hash != key.key_hash:
        notes.append(Note("keeps_its_text", "key", key.id, key.name))
    if asked.keys == "leave":
        return key
    return key.model_copy(update={name: getattr(then, name) for name in ApiKeySpec.model_fields})


def _is_good(key: ApiKey, now: datetime) -> bool:
    return key.enabled and (key.expires_at is None or key.expires_at > now)


def _check(changes: Iterable[Difference]) -> None:
    """What comes back is read as if an operator sent it today: files that it names have to be there."""
    errors: list[FieldError] = []
    for each in changes:
        if each.after is not None:
            spec = SPECS[each.kind]
            written: dict[str, Any] = each.after.entity.model_dump(include=set(spec.model_fields))
            try:
                spec.model_validate(written)
            except ValidationError as error:
                place = f"{each.kind}.{each.id}"
                errors += [FieldError(f"{place}.{one.field}", one.message) for one in field_errors(error)]
    if errors:
        raise InvalidEntityError(errors)
