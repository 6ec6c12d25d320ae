"""The configuration as it was: every version that the history still knows, compiled as it was when it was in force.

It is found from the one in force, by what has changed since. Where something was deleted, the routes are compiled anew,
which takes time; so versions between which only keys were changed share them.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

from microgateway.control_plane.gateway_batches import ProposedConfiguration
from microgateway.control_plane.mint import IssuedKey, Mint
from microgateway.control_plane.proposals import proposed_keys, proposed_table
from microgateway.control_plane.routing_table import RoutingTable
from microgateway.control_plane.table_changes import change_between
from microgateway.core.circuit import CircuitPolicy
from microgateway.entities import (
    ApiKey,
    ApiKeySpec,
    RateLimitRule,
    RateLimitRuleSpec,
    Route,
    RouteSpec,
    Service,
    ServiceSpec,
    TokenIssuer,
)
from microgateway.persistence.configuration_history import EVERYTHING, PastChange, to_undo
from microgateway.persistence.entity_table import EntityTable
from microgateway.persistence.repository import Repository
from microgateway.snapshot import Snapshot

MOST_TABLES = 4  # compiled ones that are kept
TABLE_KINDS = frozenset(("service", "route", "rate_limit", EVERYTHING))

E = TypeVar("E", bound=BaseModel)
Kept = TypeVar("Kept", Service, Route, RateLimitRule, ApiKey)


@dataclass(frozen=True, slots=True)
class Edition:
    """One version of the configuration: what operators made, and what came of it."""

    table: RoutingTable
    issuers: Mapping[str, TokenIssuer]
    snapshot: Snapshot


class Editions:
    """Those of one configuration. `latest` is that in force when this was made; `defaults` are the circuits'.

    Methods raise `DatabaseUnavailableError`.
    """

    def __init__(self, *, latest: Edition, repository: Repository, mint: Mint, defaults: CircuitPolicy) -> None:
        self._latest = latest
        self._repository = repository
        self._mint = _SameIds(mint)
        self._defaults = defaults
        self._tables: dict[int | None, Edition] = {}
        self._changes: list[PastChange] = []
        self._changes_from: int | None = None  # the version from which on they are all there

    @property
    def latest(self) -> Edition:
        """That which was in force when this was made."""
        return self._latest

    async def at(self, version: int) -> Edition:
        """This version. Raises `VersionNotKeptError`."""
        if version == self._latest.snapshot.version:
            return self._latest
        changes = await self._since(version)
        first = next((change.number for change in changes if change.kind in TABLE_KINDS), None)
        edition = self._tables.get(first) or await self._compiled(first, changes)
        snapshot = self._with_keys(edition.snapshot, changes)
        issuers = await self._undone("token_issuer", self._latest.issuers, changes)
        if issuers != self._latest.issuers:
            snapshot = snapshot.with_issuers(issuers.values())
        return Edition(edition.table, issuers, snapshot.numbered(version))

    async def proposed(self, version: int, change: ProposedConfiguration) -> Snapshot:
        """This version with a change. What is new has the same ids in each.

        Raises `VersionNotKeptError`, and `InvalidEntityError` or `ConfigurationError` where that makes no sense.
        """
        edition = await self.at(version)
        table = proposed_table(edition.table, change, self._mint)
        snapshot = await asyncio.to_thread(table.compiled, edition.snapshot, self._defaults)
        if change.keys or "keys" in change.whole:
            keys = await self._repository.keys.fold(lambda all_of_them: {key.id: key for key in all_of_them})
            known = await self._undone("key", keys, await self._since(version))
            valid = {key.id: key for key in known.values() if not key.is_revoked()}
            for key in proposed_keys(valid, change, table.services, self._mint):
                snapshot = snapshot.with_key(key)
        return snapshot.numbered(version)

    async def _since(self, version: int) -> list[PastChange]:
        """What was changed since. What has been read is kept: who goes through a log asks for one after the other."""
        if self._changes_from is None or version < self._changes_from or version > self._latest.snapshot.version:
            self._changes = await self._repository.history.since(version)
            self._changes_from = version
        return [change for change in self._changes if change.number >= version]

    async def _compiled(self, first: int | None, changes: Sequence[PastChange]) -> Edition:
        """With the keys and issuers in force. `first` is the number of the first change since that is undone here."""
        latest = self._latest
        if first is None:
            return latest
        table = RoutingTable.of(
            await self._undone("service", latest.table.services, changes),
            await self._undone("route", latest.table.routes, changes),
            await self._undone("rate_limit", latest.table.rate_limits, changes),
        )
        change = change_between(latest.table, table, self._defaults)
        if change is not None:
            snapshot = latest.snapshot.apart().with_change(change)
        else:
            snapshot = await asyncio.to_thread(table.compiled, latest.snapshot, self._defaults)
        while len(self._tables) >= MOST_TABLES:
            del self._tables[next(iter(self._tables))]
        self._tables[first] = edition = Edition(table, latest.issuers, snapshot)
        return edition

    async def _undone(self, kind: str, present: Mapping[str, E], changes: Iterable[PastChange]) -> Mapping[str, E]:
        """What was there, the oldest first: what was deleted since has its place among the others again."""
        is_seeded, befores = to_undo(changes, kind)
        if not befores:
            return {} if is_seeded else present
        table: EntityTable[E] = self._repository.table(kind)
        staying = {} if is_seeded else present
        kept = {entity_id: entity for entity_id, entity in staying.items() if entity_id not in befores}
        columns = {key: before for key, change in befores.items() if (before := change.before) is not None}
        if not columns:
            return kept
        together = kept | {key: table.of_columns(before) for key, before in columns.items()}
        numbers = await table.numbers() | {key: before["number"] for key, before in columns.items()}
        return {key: together[key] for key in sorted(together, key=lambda key: numbers.get(key, 0))}

    def _with_keys(self, snapshot: Snapshot, changes: Iterable[PastChange]) -> Snapshot:
        is_seeded, befores = to_undo(changes, "key")
        if is_seeded:
            return snapshot.with_keys(())  # keys are never deleted: before a seed there were none
        if not befores:
            return snapshot
        past = {
            key_id: None if (before := change.before) is None else self._repository.keys.of_columns(before)
            for key_id, change in befores.items()
        }
        return snapshot.with_past_keys(past)


class _SameIds(Mint):
    """Makes of what has the same name one thing, in whichever version it is made: limits count it once."""

    def __init__(self, mint: Mint) -> None:
        self._mint = mint
        self._ids: dict[tuple[type[BaseModel], str], str] = {}

    def service(self, spec: ServiceSpec) -> Service:
        return self._again(self._mint.service(spec), spec.name)

    def route(self, spec: RouteSpec) -> Route:
        return self._again(self._mint.route(spec), spec.path)

    def rate_limit(self, spec: RateLimitRuleSpec) -> RateLimitRule:
        return self._again(self._mint.rate_limit(spec), spec.name)

    def key(self, spec: ApiKeySpec, text: str | None = None) -> IssuedKey:
        return self._mint.key(spec, text)

    def with_limits(self, spec: Any) -> dict[str, Any]:
        return self._mint.with_limits(spec)

    def _again(self, entity: Kept, name: str) -> Kept:
        same = self._ids.setdefault((type(entity), name), entity.id)
        return entity.model_copy(update={"id": same})
