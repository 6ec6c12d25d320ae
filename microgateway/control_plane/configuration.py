"""The configuration: in the database, in memory and in force, and always the same in all three.

A change goes validate → compile the next snapshot → write → publish, one change at a time, and returns when it is in
force. Until the write has succeeded nothing has happened. After it there is no way back: the change runs to its end
though whoever asked for it goes away, and should publishing fail, the next snapshot carries it too, as each is whole.
Only what changes is compiled; everything is, when a database is loaded or a seed.
"""

import asyncio
import functools
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from microgateway.clock import Clock
from microgateway.control_plane.change_queue import ChangeQueue
from microgateway.control_plane.differences import Difference, differences
from microgateway.control_plane.editions import Edition, Editions
from microgateway.control_plane.gateway_batches import ProposedConfiguration
from microgateway.control_plane.in_force import InForce, Publish, Step
from microgateway.control_plane.merge_patch import merged
from microgateway.control_plane.mint import IssuedKey, Mint
from microgateway.control_plane.proposals import proposed_keys, proposed_table
from microgateway.control_plane.restoring import Restoration, RestoreRequest, planned, restored_table
from microgateway.control_plane.routing_table import route_in_use, service_in_use
from microgateway.control_plane.seed import NOTHING_SEEDED, Seeded, read_seed
from microgateway.core.circuit import CircuitPolicy
from microgateway.core.token_bucket import Limit
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
    TokenIssuerSpec,
)
from microgateway.errors import ConflictError, StartupError
from microgateway.observability.happenings import Change, ChangeListener
from microgateway.persistence.database import DatabaseUnavailableError
from microgateway.persistence.entity_table import UnreadableRowError
from microgateway.persistence.repository import Repository
from microgateway.snapshot import Snapshot, SnapshotChange, change_of_route

MOST_IN_ONE_STEP = 100  # changes of a restore: more of them are compiled with everything else, in a thread

P = ParamSpec("P")
T = TypeVar("T")
_Method = Callable[Concatenate["Configuration", P], Coroutine[Any, Any, T]]


def _in_turn(method: _Method[P, T]) -> _Method[P, T]:
    """One change after the other, and each to its end."""

    @functools.wraps(method)
    async def wrapper(self: "Configuration", /, *args: P.args, **kwargs: P.kwargs) -> T:
        change = functools.partial(method, self, *args, **kwargs)
        about = next((argument for argument in args if isinstance(argument, str)), "")
        return await self._changes.run(change, method.__name__.strip("_"), about)

    return wrapper


def _nobody(change: Change) -> None:
    """Is not interested."""


class Configuration:
    """What operators configure. Reading is the repository's; every change goes through here.

    `publish` puts a snapshot in force, and returns when it is; what has changed since the last one it is told too,
    where not everything may have. `told` hears of every change. Methods raise `NotFoundError`, `ConflictError`,
    `ConfigurationError`, `InvalidEntityError` (for a patch) and `DatabaseUnavailableError`.
    """

    def __init__(
        self,
        *,
        repository: Repository,
        publish: Publish,
        clock: Clock,
        default_limit: Limit,
        circuit_defaults: CircuitPolicy,
        told: ChangeListener = _nobody,
    ) -> None:
        self.repository = repository
        self._mint = Mint(clock=clock, limit=default_limit)
        self._in_force = InForce(repository=repository, publish=publish, circuit_defaults=circuit_defaults)
        self._changes = ChangeQueue(version=lambda: self.snapshot.version, reload=self._in_force.load, told=told)

    @property
    def snapshot(self) -> Snapshot:
        """What is in force."""
        return self._in_force.snapshot

    def editions(self) -> Editions:
        """This configuration and those before it, for one who asks: seen from what is in force now."""
        latest = Edition(self._in_force.table, self._in_force.issuers, self._in_force.snapshot)
        return Editions(
            latest=latest, repository=self.repository, mint=self._mint, defaults=self._in_force.circuit_defaults
        )

    @property
    def services(self) -> Mapping[str, Service]:
        """The services in force, by id, the oldest first."""
        return self._in_force.table.services

    def service(self, service_id: str) -> Service:
        """One that is in force. Raises `NotFoundError`."""
        return self._in_force.table.service(service_id)

    @_in_turn
    async def load(self) -> None:
        """Takes over what the database holds, and publishes it. Raises `StartupError`."""
        try:
            await self._in_force.load()
        except (DatabaseUnavailableError, UnreadableRowError) as error:
            raise StartupError(f"the configuration can't be loaded: {error}") from error

    @_in_turn
    async def seed(self, path: Path) -> Seeded:
        """Loads a seed file, all of it or nothing; nothing when something is configured already.

        Raises `StartupError` with one line for a file that is missing or makes no sense, or when it can't be stored.
        """
        if not await self.repository.is_empty():
            return NOTHING_SEEDED
        seeded = await asyncio.to_thread(read_seed, path, self._mint)
        keys = (issued.key for issued in seeded.keys)
        try:
            await self.repository.add_everything(seeded.services, seeded.routes, keys, seeded.rate_limits)
        except (ConflictError, DatabaseUnavailableError) as error:
            raise StartupError(f"seed file {str(path)!r}: {error}") from error
        await self._in_force.load()
        return seeded

    async def proposed(self, change: ProposedConfiguration | None) -> Snapshot:
        """What would be in force with this change, of which nothing is kept; its version is that which it would change.

        Raises `InvalidEntityError` and `ConfigurationError`.
        """
        snapshot = self._in_force.snapshot
        if change is None:
            return snapshot
        table = proposed_table(self._in_force.table, change, self._mint)
        snapshot = await self._in_force.compiled(table, snapshot)
        if change.keys or "keys" in change.whole:
            known = {key.id: key for key in await self.repository.keys.fold(list) if not key.is_revoked()}
            for key in proposed_keys(known, change, table.services, self._mint):
                snapshot = snapshot.with_key(key)
        return snapshot.numbered(self._in_force.snapshot.version)

    async def differences(self, version: int, other: int | None) -> tuple[list[Difference], int]:
        """What is different in another version, None: that in force; and which that is. Raises `VersionNotKeptError`.

        No change is made meanwhile.
        """
        async with self._changes.pause():
            after = self._in_force.snapshot.version if other is None else other
            return await differences(self.repository, version, after), after

    async def rehearse_restore(self, version: int, asked: RestoreRequest) -> Restoration:
        """What `restore` would do; the snapshot has the number of that in force.

        It raises what that would raise, but where the database itself objects.
        """
        async with self._changes.pause():
            restoration, _ = await self._restoration(version, asked)
            return restoration._replace(snapshot=restoration.snapshot.numbered(self._in_force.snapshot.version))

    @_in_turn
    async def restore(self, version: int, asked: RestoreRequest) -> Restoration:
        """Makes the configuration what it was, as one change; as far as `RestoreRequest` says, for keys.

        Raises `VersionNotKeptError`, and `ConflictError`, `ConfigurationError` or `InvalidEntityError` where it would
        make no sense any more: then nothing is changed.
        """
        restoration, step = await self._restoration(version, asked)
        if step is None:
            return restoration
        await self.repository.restore(version, restoration.put_back())
        self._in_force.issuers = restoration.issuers(self._in_force.issuers)
        await self._in_force.take(step)
        return restoration._replace(snapshot=self._in_force.snapshot)

    async def settle(self) -> None:
        """Returns when no change is under way; called before the database is closed."""
        await self._changes.settle()

    @_in_turn
    async def create_service(self, spec: ServiceSpec) -> Service:
        service = self._mint.service(spec)
        step = self._in_force.step_to_service(service)
        await self.repository.services.add(service)
        await self._in_force.take(step)
        return service

    async def replace_service(self, service_id: str, spec: ServiceSpec) -> Service:
        return await self._revise_service(service_id, lambda current: spec)

    async def merge_service(self, service_id: str, patch: Mapping[str, Any]) -> Service:
        return await self._revise_service(service_id, lambda current: merged(ServiceSpec, current, patch))

    @_in_turn
    async def delete_service(self, service_id: str) -> None:
        service = self._in_force.table.service(service_id)
        step = self._in_force.step(
            SnapshotChange(upstreams={service_id: None}), self._in_force.table.without_service(service_id)
        )
        await self.repository.services.delete(service_id, in_use=service_in_use(service, []))
        await self._in_force.take(step)

    @_in_turn
    async def create_route(self, spec: RouteSpec) -> Route:
        route = self._mint.route(spec)
        step = self._in_force.step_to_route(None, route)
        await self.repository.routes.add(route)
        await self._in_force.take(step)
        return route

    async def replace_route(self, route_id: str, spec: RouteSpec) -> Route:
        return await self._revise_route(route_id, lambda current: spec)

    async def merge_route(self, route_id: str, patch: Mapping[str, Any]) -> Route:
        return await self._revise_route(route_id, lambda current: merged(RouteSpec, current, patch))

    @_in_turn
    async def delete_route(self, route_id: str) -> None:
        route = self._in_force.table.route(route_id)
        step = self._in_force.step(change_of_route(route, None, 0), self._in_force.table.without_route(route_id))
        await self.repository.routes.delete(route_id, in_use=route_in_use(route, []))
        await self._in_force.take(step)

    @_in_turn
    async def create_rate_limit(self, spec: RateLimitRuleSpec) -> RateLimitRule:
        rule = self._mint.rate_limit(spec)
        step = self._in_force.step_to_rate_limit(rule)
        await self.repository.rate_limits.add(rule)
        await self._in_force.take(step)
        return rule

    async def replace_rate_limit(self, rule_id: str, spec: RateLimitRuleSpec) -> RateLimitRule:
        return await self._revise_rate_limit(rule_id, lambda current: spec)

    async def merge_rate_limit(self, rule_id: str, patch: Mapping[str, Any]) -> RateLimitRule:
        return await self._revise_rate_limit(rule_id, lambda current: merged(RateLimitRuleSpec, current, patch))

    @_in_turn
    async def delete_rate_limit(self, rule_id: str) -> None:
        step = self._in_force.step(
            SnapshotChange(limits={rule_id: None}), self._in_force.table.without_rate_limit(rule_id)
        )
        await self.repository.rate_limits.delete(rule_id)
        await self._in_force.take(step)

    @_in_turn
    async def create_token_issuer(self, spec: TokenIssuerSpec) -> TokenIssuer:
        issuer = self._mint.token_issuer(spec)
        await self.repository.token_issuers.add(issuer)
        await self._in_force.adopt_issuers({**self._in_force.issuers, issuer.id: issuer})
        return issuer

    async def replace_token_issuer(self, issuer_id: str, spec: TokenIssuerSpec) -> TokenIssuer:
        return await self._revise_token_issuer(issuer_id, lambda current: spec)

    async def merge_token_issuer(self, issuer_id: str, patch: Mapping[str, Any]) -> TokenIssuer:
        return await self._revise_token_issuer(issuer_id, lambda current: merged(TokenIssuerSpec, current, patch))

    @_in_turn
    async def delete_token_issuer(self, issuer_id: str) -> None:
        await self.repository.token_issuers.delete(issuer_id)
        await self._in_force.adopt_issuers(
            {key: issuer for key, issuer in self._in_force.issuers.items() if key != issuer_id}
        )

    @_in_turn
    async def create_key(self, spec: ApiKeySpec) -> IssuedKey:
        self._in_force.table.check_services(spec.services)
        issued = self._mint.key(spec)
        await self.repository.keys.add(issued.key)
        await self._in_force.take(self._in_force.step(self._in_force.snapshot.change_of_key(issued.key)))
        return issued

    async def replace_key(self, key_id: str, spec: ApiKeySpec) -> ApiKey:
        """The key's text stays what it is."""
        return await self._revise_key(key_id, lambda current: spec)

    async def merge_key(self, key_id: str, patch: Mapping[str, Any]) -> ApiKey:
        return await self._revise_key(key_id, lambda current: merged(ApiKeySpec, current, patch))

    @_in_turn
    async def rotate_key(self, key_id: str, overlap: timedelta) -> IssuedKey:
        """The key with a new text. The one that it has now is good for so long, beside the new one."""
        issued = self._mint.rotated(await self._revisable_key(key_id), overlap)
        await self._put_key(issued.key)
        return issued

    @_in_turn
    async def revoke_key(self, key_id: str) -> None:
        """The key is kept, to tell whose it was, and opens nothing any more. Revoking it again changes nothing."""
        key = await self.repository.keys.get(key_id)
        if not key.is_revoked():
            await self._put_key(key.model_copy(update={"revoked_at": self._mint.moment()}))

    @_in_turn
    async def _revise_service(self, service_id: str, revise: Callable[[Service], ServiceSpec]) -> Service:
        current = self._in_force.table.service(service_id)
        service = self._mint.revised(current, revise(current).model_dump())
        if service is current:
            return current
        step = self._in_force.step_to_service(service)
        await self.repository.services.replace(service_id, service)
        await self._in_force.take(step)
        return service

    @_in_turn
    async def _revise_route(self, route_id: str, revise: Callable[[Route], RouteSpec]) -> Route:
        current = self._in_force.table.route(route_id)
        route = self._mint.revised(current, revise(current).model_dump())
        if route is current:
            return current
        step = self._in_force.step_to_route(current, route)
        await self.repository.routes.replace(route_id, route)
        await self._in_force.take(step)
        return route

    @_in_turn
    async def _revise_rate_limit(
        self, rule_id: str, revise: Callable[[RateLimitRule], RateLimitRuleSpec]
    ) -> RateLimitRule:
        current = self._in_force.table.rate_limit(rule_id)
        rule = self._mint.revised(current, revise(current).model_dump())
        if rule is current:
            return current
        step = self._in_force.step_to_rate_limit(rule)
        await self.repository.rate_limits.replace(rule_id, rule)
        await self._in_force.take(step)
        return rule

    @_in_turn
    async def _revise_token_issuer(
        self, issuer_id: str, revise: Callable[[TokenIssuer], TokenIssuerSpec]
    ) -> TokenIssuer:
        current = await self.repository.token_issuers.get(issuer_id)
        issuer = self._mint.revised(current, self._mint.with_limits(revise(current)))
        if issuer is current:
            return current
        await self.repository.token_issuers.replace(issuer_id, issuer)
        await self._in_force.adopt_issuers({**self._in_force.issuers, issuer_id: issuer})
        return issuer

    @_in_turn
    async def _revise_key(self, key_id: str, revise: Callable[[ApiKey], ApiKeySpec]) -> ApiKey:
        current = await self._revisable_key(key_id)
        spec = revise(current)
        self._in_force.table.check_services(spec.services, current.services)
        key = ApiKey.model_validate(current.model_dump() | self._mint.with_limits(spec))
        if key != current:
            await self._put_key(key)
        return key

    async def _revisable_key(self, key_id: str) -> ApiKey:
        key = await self.repository.keys.get(key_id)
        if key.is_revoked():
            raise ConflictError("This key is revoked, and stays so; create another.", field="revoked_at")
        return key

    async def _put_key(self, key: ApiKey) -> None:
        await self.repository.keys.replace(key.id, key)
        await self._in_force.take(self._in_force.step(self._in_force.snapshot.change_of_key(key)))

    async def _restoration(self, version: int, asked: RestoreRequest) -> tuple[Restoration, Step | None]:
        """What is to be done, and what is in force when it is; None: nothing has to be."""
        if asked.if_version not in (None, self._in_force.snapshot.version):
            why = f"Version {self._in_force.snapshot.version} is in force, and no longer {asked.if_version}."
            raise ConflictError(why, field="if_version")
        restoration = await planned(self.repository, self._in_force.snapshot, self._mint, version, asked)
        if not restoration.changes:
            return restoration, None
        now = self._in_force
        table = await restored_table(self.repository, now.table, restoration.changes)
        keys = now.snapshot.change_of_keys(restoration.keys(), restoration.issuers(now.issuers).values())
        step = await now.step_to_table(table, keys, changes=len(restoration.changes))
        return restoration._replace(snapshot=step.snapshot), step
