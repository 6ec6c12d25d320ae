"""The snapshot itself: the whole configuration, made from the one before it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from microgateway.core.circuit import CircuitPolicy
from microgateway.core.conditions import NOTHING, Asked
from microgateway.core.routing import NotRouted, Router
from microgateway.entities import ApiKey, RateLimitRule, Route, Service, TokenIssuer
from microgateway.snapshot.changes import SnapshotChange
from microgateway.snapshot.destinations import CompiledRoute, Destination, Destinations, routing_rules
from microgateway.snapshot.key_ring import KeyChange, KeyRing
from microgateway.snapshot.principals import Issuer
from microgateway.snapshot.rules import Limits, PlacedRule, Rules, unrouted_rules
from microgateway.snapshot.upstreams import Upstream

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a request's fate depends on besides the request, the shared state and the time.

    `routes` says which route takes a request, and `destinations` what becomes of it there. `cors_routes` counts.
    """

    version: int = 0
    keys: KeyRing = field(default_factory=lambda: KeyRing({}, {}))
    routes: Router[CompiledRoute] = field(default_factory=lambda: Router(()))
    destinations: Destinations = field(default_factory=lambda: Destinations({}, {}))
    unrouted_rules: Rules | None = None
    """The rate limit rules for requests that no route takes."""
    cors_routes: int = 0

    @property
    def upstreams(self) -> Mapping[str, Upstream]:
        return self.destinations.upstreams

    @property
    def limits(self) -> Limits:
        """All rate limit rules, those that are off too: their buckets are kept."""
        return self.destinations.limits

    def match(self, method: bytes, host: bytes, path: bytes, asked: Asked = NOTHING) -> Destination | NotRouted:
        """Where this request goes, as `Router.match` says it."""
        found = self.routes.match(method, host, path, asked)
        return found if isinstance(found, NotRouted) else self.destinations[found]

    def apart(self) -> "Snapshot":
        """The same one for somebody who is not traffic: what traffic has made of it stays as it is."""
        return replace(self, destinations=Destinations(self.upstreams, self.limits))

    def without_keys(self) -> "Snapshot":
        """For another process, which is told of the keys in parts (`KeyRing.in_parts`)."""
        return replace(self, keys=KeyRing({}, {}, {}))

    def with_change(self, change: SnapshotChange) -> "Snapshot":
        """The one after a change that was taken from this one, or from one like it in another process.

        It costs what changes, and a copy of the table of services, rules or keys where one of them does.
        """
        gone = [rule for place, own in change.gone for rule in self.routes.rules_of(place) if rule.target.id == own]
        moves = bool(gone or change.routes)
        for rule in gone:
            self.destinations.pop(rule.target, None)
        destinations = self.destinations
        if change.upstreams or change.limits:
            destinations = Destinations(
                _changed(self.upstreams, change.upstreams), _changed(self.limits, change.limits)
            )
        with_cors = [sum(rule.target.cors is not None for rule in rules) for rules in (gone, change.routes)]
        return replace(
            self,
            version=self.version + 1 if change.between is None else change.between[1],
            keys=self.keys if change.keys is None else self.keys.with_change(change.keys),
            routes=self.routes.changed(gone, change.routes) if moves else self.routes,
            destinations=destinations,
            unrouted_rules=unrouted_rules(destinations.limits) if change.limits else self.unrouted_rules,
            cors_routes=self.cors_routes - with_cors[0] + with_cors[1],
        )

    def change_of_issuers(self, issuers: Iterable[TokenIssuer]) -> SnapshotChange:
        """To these token issuers; one that is off is left out, and one that has not changed stays."""
        return SnapshotChange(keys=KeyChange(issuers=self._kept_issuers(issuers)))

    def _kept_issuers(self, issuers: Iterable[TokenIssuer]) -> dict[str, Issuer]:
        before = {issuer.id: issuer for issuer in self.keys.issuers.values()}
        compiled = [Issuer.of_entity(entity) for entity in issuers if entity.enabled]
        kept = [before[new.id] if new.id in before and _same(before[new.id], new) else new for new in compiled]
        return {issuer.issuer: issuer for issuer in kept}

    def with_issuers(self, issuers: Iterable[TokenIssuer]) -> "Snapshot":
        """This one with these token issuers and no others."""
        return self.with_change(self.change_of_issuers(issuers))

    def change_of_key(self, key: ApiKey) -> SnapshotChange:
        """To this key, created, changed or revoked."""
        return SnapshotChange(keys=self.keys.change_to(key))

    def change_of_keys(self, keys: Iterable[ApiKey], issuers: Iterable[TokenIssuer]) -> KeyChange:
        """To several keys, and to these token issuers."""
        return self.keys.changes_to(keys)._replace(issuers=self._kept_issuers(issuers))

    def with_key(self, key: ApiKey) -> "Snapshot":
        """This one with a key created, changed or revoked."""
        return self.with_change(self.change_of_key(key))

    def with_past_keys(self, past: Mapping[str, ApiKey | None]) -> "Snapshot":
        """This one with these keys as they were, by id; None: there was none yet."""
        return replace(self, version=self.version + 1, keys=self.keys.with_past_keys(past))

    def numbered(self, version: int) -> "Snapshot":
        """This one as the version that the history of the configuration has of it."""
        return replace(self, version=version)

    def with_keys(self, keys: Iterable[ApiKey]) -> "Snapshot":
        """This one with these keys and no others."""
        return replace(self, version=self.version + 1, keys=KeyRing.of_keys(keys, self.keys.issuers))

    def with_table(
        self,
        services: Iterable[Service],
        routes: Iterable[Route],
        defaults: CircuitPolicy,
        limit_rules: Collection[RateLimitRule] = (),
    ) -> "Snapshot":
        """This one with all services, routes and rate limit rules compiled anew.

        A route that is off, or has lost its service, is left out.
        """
        upstreams = {service.id: Upstream.of_service(service, defaults) for service in services}
        limits = {rule.id: PlacedRule.of(rule) for rule in limit_rules}
        rules = [
            rule
            for age, route in enumerate(routes)
            if route.enabled and route.service_id in upstreams
            for rule in routing_rules(route, age)
        ]
        return replace(
            self,
            version=self.version + 1,
            routes=Router(rules),
            destinations=Destinations(upstreams, limits),
            unrouted_rules=unrouted_rules(limits),
            cors_routes=sum(rule.target.cors is not None for rule in rules),
        )


def _changed(before: Mapping[str, T], change: Mapping[str, T | None]) -> Mapping[str, T]:
    """What has changed keeps its place, and what is new comes last."""
    if not change:
        return before
    after = dict(before)
    for name, value in change.items():
        if value is None:
            after.pop(name, None)
        else:
            after[name] = value
    return after


def _same(one: Issuer, other: Issuer) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in Issuer.__slots__)
