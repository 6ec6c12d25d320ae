"""What is in force: the configuration as operators made it, and compiled; and how the next one takes its place.

A step is worked out before anything is written, so that what makes no sense is refused; it is taken when the database
has it. Only what changes is compiled; everything is, when a database is loaded.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from microgateway.control_plane.routing_table import RoutingTable
from microgateway.control_plane.table_changes import change_between
from microgateway.core.circuit import CircuitPolicy
from microgateway.entities import RateLimitRule, Route, Service, TokenIssuer
from microgateway.persistence.repository import Repository
from microgateway.snapshot import (
    KeyChange,
    Snapshot,
    SnapshotChange,
    change_of_rate_limit,
    change_of_route,
    change_of_service,
)

MOST_IN_ONE_STEP = 100  # changes: more of them take this loop too long
Publish = Callable[[Snapshot, SnapshotChange | None], Awaitable[None]]


class Step(NamedTuple):
    """What is in force next. `change` is what there is new in it, None where that may be everything."""

    change: SnapshotChange | None
    snapshot: Snapshot
    table: RoutingTable


class InForce:
    """`table` and `issuers` are what operators made, but for keys; `snapshot` is all of it, compiled.

    `publish` puts a snapshot in force, and returns when it is. `circuit_defaults` are for services that say nothing.
    """

    def __init__(self, *, repository: Repository, publish: Publish, circuit_defaults: CircuitPolicy) -> None:
        self._repository = repository
        self._publish = publish
        self.circuit_defaults = circuit_defaults
        self.table = RoutingTable()
        self.snapshot = Snapshot()
        self.issuers: Mapping[str, TokenIssuer] = {}

    async def load(self) -> None:
        """Takes over what the database holds. Raises `DatabaseUnavailableError` and `UnreadableRowError`."""
        repository = self._repository
        await repository.history.load()
        services = {service.id: service for service in await repository.services.fold(list)}
        routes = {route.id: route for route in await repository.routes.fold(list)}
        limits = {rule.id: rule for rule in await repository.rate_limits.fold(list)}
        table = RoutingTable.of(services, routes, limits)
        snapshot = await self.compiled(table, await repository.keys.fold(self.snapshot.with_keys))
        self.issuers = {issuer.id: issuer for issuer in await repository.token_issuers.fold(list)}
        await self.take(Step(None, snapshot.with_issuers(self.issuers.values()), table))

    async def compiled(self, table: RoutingTable, base: Snapshot) -> Snapshot:
        """`base` with this table, made in a thread: 10 000 routes take some hundred milliseconds, and this loop may
        carry traffic too.
        """
        return await asyncio.to_thread(table.compiled, base, self.circuit_defaults)

    def step(self, change: SnapshotChange, table: RoutingTable | None = None) -> Step:
        """By this change; without `table`, to nothing but keys or issuers."""
        return Step(change, self.snapshot.with_change(change), table or self.table)

    def step_to_service(self, service: Service) -> Step:
        """With this service new, or in place of what it was."""
        return self.step(change_of_service(service, self.circuit_defaults), self.table.with_service(service))

    def step_to_route(self, before: Route | None, route: Route) -> Step:
        """With this route new, or in place of what it was `before`. Raises `ConfigurationError`."""
        table = self.table.with_route(route)
        return self.step(change_of_route(before, route, table.ages[route.id]), table)

    def step_to_rate_limit(self, rule: RateLimitRule) -> Step:
        """With this rule new, or in place of what it was. Raises `ConfigurationError`."""
        return self.step(change_of_rate_limit(rule), self.table.with_rate_limit(rule))

    async def step_to_table(self, table: RoutingTable, keys: KeyChange, *, changes: int) -> Step:
        """To this table and these keys, which so many `changes` lead to: few are one change, where nothing is added;
        otherwise everything is compiled anew, and routes are as old as they stand in the table.
        """
        if changes <= MOST_IN_ONE_STEP and (change := change_between(self.table, table, self.circuit_defaults)):
            return self.step(change._replace(keys=keys), table)
        anew = RoutingTable.of(table.services, table.routes, table.rate_limits)
        base = self.snapshot.with_change(SnapshotChange(keys=keys))
        return Step(None, await self.compiled(anew, base), anew)

    async def take(self, step: Step) -> None:
        """Publishes it, as the version that the history has of it."""
        before, version = self.snapshot.version, self._repository.history.version
        change = None if step.change is None else step.change._replace(between=(before, version))
        self.snapshot, self.table = step.snapshot.numbered(version), step.table
        await self._publish(self.snapshot, change)

    async def adopt_issuers(self, issuers: Mapping[str, TokenIssuer]) -> None:
        """These and no others are believed from now on."""
        self.issuers = issuers
        await self.take(self.step(self.snapshot.change_of_issuers(issuers.values())))
