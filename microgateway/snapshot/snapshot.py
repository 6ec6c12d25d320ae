"""The snapshot itself: the whole configuration, made from the one before it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from microgateway.core.circuit import CircuitPolicy
from microgateway.core.routing import Router
from microgateway.entities import ApiKey, RateLimitRule, Route, Service, TokenIssuer
from microgateway.snapshot.destinations import Destination, Rules, limit_rule, routing_rules
from microgateway.snapshot.key_ring import KeyRing
from microgateway.snapshot.principals import Issuer
from microgateway.snapshot.upstreams import Upstream


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a request's fate depends on besides the request, the shared state and the time."""

    version: int = 0
    keys: KeyRing = field(default_factory=lambda: KeyRing({}, {}))
    upstreams: Mapping[str, Upstream] = field(default_factory=dict)
    routes: Router[Destination] = field(default_factory=lambda: Router(()))
    unrouted_rules: Rules | None = None
    """The rate limit rules for requests that no route takes."""
    rule_ids: frozenset[str] = frozenset()
    """Of all rate limit rules, those that are off too: their buckets are kept."""
    has_cors: bool = False

    def with_key(self, key: ApiKey) -> "Snapshot":
        """This one with a key created, changed or revoked."""
        return self._next(keys=self.keys.with_key(key))

    def with_keys(self, keys: Iterable[ApiKey]) -> "Snapshot":
        return self._next(keys=KeyRing.of_keys(keys, self.keys.issuers))

    def with_issuers(self, issuers: Iterable[TokenIssuer]) -> "Snapshot":
        """This one with these token issuers; one that is off is left out, and one that has not changed stays."""
        before = {issuer.id: issuer for issuer in self.keys.issuers.values()}
        compiled = [Issuer.of_entity(entity) for entity in issuers if entity.enabled]
        kept = [before[new.id] if new.id in before and _same(before[new.id], new) else new for new in compiled]
        return self._next(keys=self.keys.with_issuers(kept))

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
        limits = [(rule, limit_rule(rule)) for rule in limit_rules if rule.enabled]
        rules = [
            rule
            for age, route in enumerate(routes)
            if route.enabled and route.service_id in upstreams
            for rule in routing_rules(route, upstreams[route.service_id], age, limits)
        ]
        anywhere = Rules.of(own for rule, own in limits if rule.route_id is None and rule.service_id is None)
        table = self._next(upstreams=upstreams, routes=Router(rules))
        return replace(
            table,
            unrouted_rules=anywhere,
            rule_ids=frozenset(rule.id for rule in limit_rules),
            has_cors=any(rule.target.cors is not None for rule in rules),
        )

    def _next(
        self,
        *,
        keys: KeyRing | None = None,
        upstreams: Mapping[str, Upstream] | None = None,
        routes: Router[Destination] | None = None,
    ) -> "Snapshot":
        return replace(
            self,
            version=self.version + 1,
            keys=self.keys if keys is None else keys,
            upstreams=self.upstreams if upstreams is None else upstreams,
            routes=self.routes if routes is None else routes,
        )


def _same(one: Issuer, other: Issuer) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in Issuer.__slots__)
