"""From one routing table to another in one step, where nothing needs a place among what was there before it."""

from collections.abc import Mapping
from typing import TypeVar

from microgateway.control_plane.routing_table import RoutingTable
from microgateway.core.circuit import CircuitPolicy
from microgateway.snapshot import SnapshotChange, Upstream, change_of_route
from microgateway.snapshot.rules import PlacedRule

E = TypeVar("E")


def change_between(before: RoutingTable, after: RoutingTable, defaults: CircuitPolicy) -> SnapshotChange | None:
    """What leads from one to the other. None where something is added: the older of two routes wins, so it has a place
    among the others, and they have to be compiled anew.
    """
    kinds = ("services", "routes", "rate_limits")
    if any(getattr(after, kind).keys() - getattr(before, kind).keys() for kind in kinds):
        return None
    routes = [
        change_of_route(before.routes[route_id], route, before.ages[route_id])
        for route_id, route in _different(before.routes, after.routes).items()
    ]
    return SnapshotChange(
        upstreams={
            service_id: None if service is None else Upstream.of_service(service, defaults)
            for service_id, service in _different(before.services, after.services).items()
        },
        limits={
            rule_id: None if rule is None else PlacedRule.of(rule)
            for rule_id, rule in _different(before.rate_limits, after.rate_limits).items()
        },
        gone=tuple(gone for each in routes for gone in each.gone),
        routes=tuple(rule for each in routes for rule in each.routes),
    )


def _different(before: Mapping[str, E], after: Mapping[str, E]) -> dict[str, E | None]:
    """What is another one afterwards, or, with None, is not there."""
    return {key: after.get(key) for key, entity in before.items() if after.get(key) is not entity}
