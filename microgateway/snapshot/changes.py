"""What one change of the configuration changes in a snapshot, compiled: small, whatever else is configured.

It is made once, by the control process, and applied alike there and in every worker (`Snapshot.with_change`), so what
is in force everywhere is made by the same steps.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from microgateway.core.circuit import CircuitPolicy
from microgateway.core.routing import PathPattern, Rule
from microgateway.entities import RateLimitRule, Route, Service
from microgateway.snapshot.destinations import CompiledRoute, routing_rules
from microgateway.snapshot.key_ring import KeyChange
from microgateway.snapshot.rules import PlacedRule
from microgateway.snapshot.upstreams import Upstream

Gone = tuple[PathPattern, str]
"""Where a route was, and its id."""


class SnapshotChange(NamedTuple):
    """Of services and rate limit rules, by id, what they are from now on; None: they are no more.

    The routes that are `gone` make way for the `routes`. To change one is both. `between` are the versions from which
    and to which it leads, None where they are not known yet.
    """

    keys: KeyChange | None = None
    upstreams: Mapping[str, Upstream | None] = {}
    limits: Mapping[str, PlacedRule | None] = {}
    gone: tuple[Gone, ...] = ()
    routes: tuple[Rule[CompiledRoute], ...] = ()
    between: tuple[int, int] | None = None


def change_of_service(service: Service, defaults: CircuitPolicy) -> SnapshotChange:
    """One that is created or changed."""
    return SnapshotChange(upstreams={service.id: Upstream.of_service(service, defaults)})


def change_of_route(before: Route | None, after: Route | None, age: int) -> SnapshotChange:
    """From this one to that one, None: there is none. Of two that match equally well, that of the lower `age` wins."""
    gone = () if before is None else ((PathPattern.parse(before.path, before.match), before.id),)
    rules: Iterable[Rule[CompiledRoute]] = ()
    if after is not None and after.enabled:
        rules = routing_rules(after, age)
    return SnapshotChange(gone=gone, routes=tuple(rules))


def change_of_rate_limit(rule: RateLimitRule) -> SnapshotChange:
    """One that is created or changed."""
    return SnapshotChange(limits={rule.id: PlacedRule.of(rule)})
