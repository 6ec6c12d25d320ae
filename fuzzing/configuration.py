"""A gateway's configuration with one route for every way of writing a head."""

from datetime import UTC, datetime

from microgateway.core.circuit import CircuitPolicy
from microgateway.entities import Route, RouteSpec, Service, ServiceSpec
from microgateway.snapshot import Snapshot

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
NEVER_TRIPS = CircuitPolicy(failure_threshold=1_000_000_000)


def configuration() -> Snapshot:
    """`/` goes on as it is; `/x` loses its prefix, gets a base path and keeps Host; `/xx` keeps credentials."""
    services = [service("plain"), service("based", base_url="http://127.0.0.1:9001/base/path", preserve_host=True)]
    routes = [
        route("/", "plain"),
        route("/x", "based", strip_prefix=True),
        route("/xx", "plain", forward_credentials=True),
    ]
    return Snapshot().with_table(services, routes, NEVER_TRIPS)


def service(name: str, **fields: object) -> Service:
    spec = ServiceSpec.model_validate({"name": name, "base_url": "http://127.0.0.1:9000", **fields})
    return Service(**spec.model_dump(), id=name, created_at=WHEN, updated_at=WHEN)


def route(path: str, service_id: str, **fields: object) -> Route:
    spec = RouteSpec.model_validate({"path": path, "service_id": service_id, "auth": "none", **fields})
    return Route(**spec.model_dump(), id=path, created_at=WHEN, updated_at=WHEN)
