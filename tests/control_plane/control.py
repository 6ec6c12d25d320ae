"""A whole control plane for tests: a real database, the real configuration and application, and a client."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from fastapi import FastAPI

from microgateway.control_plane.app import create_app
from microgateway.control_plane.configuration import Configuration
from microgateway.control_plane.live_view import Live
from microgateway.core.circuit import CircuitPolicy
from microgateway.core.token_bucket import Limit
from microgateway.data_plane.authentication import Authentication
from microgateway.data_plane.connector import Connector
from microgateway.data_plane.health_checks import HealthChecker
from microgateway.data_plane.options import Options
from microgateway.data_plane.pipeline import State
from microgateway.observability.happenings import Change
from microgateway.observability.live_hub import LiveHub
from microgateway.observability.log_book import LogBook
from microgateway.observability.metrics import Bounds, Metrics
from microgateway.observability.monitoring import Gauges, Monitoring
from microgateway.observability.prometheus import Traffic
from microgateway.observability.recorder import Recorder
from microgateway.observability.usage import Usage
from microgateway.persistence.database import Database, locate_database, locate_log
from microgateway.persistence.migration import REQUEST_LOG
from microgateway.persistence.repository import Repository
from microgateway.persistence.request_log import RequestLog
from microgateway.simulation.explaining import Running
from microgateway.simulation.simulation import Simulation
from microgateway.snapshot import Snapshot, SnapshotChange
from microgateway.state.limits import MemoryLimiter
from microgateway.state.memory import MemoryCircuits
from microgateway.state.targets import MemoryTargets
from microgateway.testing import FakeClock
from microgateway.tokens.key_sources import KeySources
from microgateway.tokens.signing import Signer
from microgateway.tokens.verifying import Verifier
from tests.kit.databases import lay_tables

TOKEN = "an admin token of a test"
SECRET = b"a secret of a test, long enough for HMAC"
METRICS_TOKEN = "a token for figures"
DEFAULT_LIMIT = Limit(per_minute=60, burst=10)
DEFAULT_CIRCUIT = CircuitPolicy(failure_threshold=5, recovery_timeout=30.0, half_open_max_calls=3)


@dataclass(slots=True)
class Control:
    """What runs, and what it has published and told so far. `not_ready` is the reason that /readyz gives."""

    database: Database
    configuration: Configuration
    live: Live
    clock: FakeClock
    published: list[Snapshot]
    changes: list[Change]
    log_database: Database
    not_ready: str | None = None
    app: FastAPI = field(init=False)
    client: httpx2.AsyncClient = field(init=False)

    async def get(self, path: str, status: int = 200, **options: Any) -> Any:
        return await self.ask("GET", path, status, **options)

    async def post(self, path: str, json: object, status: int = 201) -> Any:
        return await self.ask("POST", path, status, json=json)

    async def put(self, path: str, json: object, status: int = 200) -> Any:
        return await self.ask("PUT", path, status, json=json)

    async def patch(self, path: str, json: object, status: int = 200) -> Any:
        return await self.ask("PATCH", path, status, json=json)

    async def delete(self, path: str, status: int = 204) -> Any:
        return await self.ask("DELETE", path, status)

    async def ask(self, method: str, path: str, status: int, **options: Any) -> Any:
        """The answer's JSON; it is a problem if, and only if, the status says so."""
        answer = await self.client.request(method, path, **options)
        assert answer.status_code == status, answer.text
        assert (answer.headers.get("content-type") == "application/problem+json") == (status >= 400)
        return answer.json() if answer.content else None

    async def service(self, name: str = "users", **fields: object) -> Any:
        return await self.post("/api/services", {"name": name, "base_url": "http://127.0.0.1:9000", **fields})

    async def route(self, service_id: str, path: str = "/users", **fields: object) -> Any:
        return await self.post("/api/routes", {"path": path, "service_id": service_id, **fields})

    async def rate_limit(self, name: str = "busy", **fields: object) -> Any:
        limits = {"requests_per_minute": 60, "burst_size": 5}
        return await self.post("/api/rate-limits", {"name": name, **limits, **fields})

    async def key(self, name: str = "demo", **fields: object) -> Any:
        return await self.post("/api/keys", {"name": name, **fields})


def make_configuration(
    database: Database,
    publish: Callable[[Snapshot, SnapshotChange | None], Awaitable[None]],
    clock: FakeClock | None = None,
    told: Callable[[Change], None] | None = None,
) -> Configuration:
    return Configuration(
        repository=Repository(database),
        publish=publish,
        clock=clock or FakeClock(),
        default_limit=DEFAULT_LIMIT,
        circuit_defaults=DEFAULT_CIRCUIT,
        told=told or (lambda change: None),
    )


@asynccontextmanager
async def running_control(folder: Path) -> AsyncIterator[Control]:
    """One over the SQLite file in this folder, as after a start."""
    published: list[Snapshot] = []

    clock, targets = FakeClock(), MemoryTargets()
    connector = Connector(now=clock.now, dns_ttl=30.0, timeout=5.0)
    checker = HealthChecker(connector=connector, targets=targets, now=clock.now, wall=clock.wall)
    limiter, circuits, usage = MemoryLimiter(), MemoryCircuits(), Usage()
    monitoring = quiet_monitoring(clock, usage)
    sources = [Traffic(monitoring, key_labels=False)]
    verifier = Verifier(signer=Signer(secret=SECRET, lifetime=3_600.0), sources=KeySources(now=clock.now))
    running = Running(
        options=Options(),
        state=State(limiter, circuits, Authentication(verifier=verifier), targets),
        recorder=Recorder(usage),
        snapshot=lambda: published[-1],
        verifier=verifier,
        clock=clock,
        port=lambda: 8080,
    )
    hub = LiveHub(boot="boot", wall=clock.wall)
    live = Live(usage, circuits, monitoring, limiter, targets, checker, Simulation(running), hub, sources)

    async def publish(snapshot: Snapshot, change: SnapshotChange | None) -> None:
        published.append(snapshot)
        checker.apply(snapshot.upstreams)

    lay_tables(folder)
    database = Database(locate_database(None, folder))
    await database.open()
    changes: list[Change] = []

    def told(change: Change) -> None:
        changes.append(change)
        hub.note_change(change)

    configuration = make_configuration(database, publish, clock, told)
    log_database = Database(locate_log(locate_database(None, folder), folder), REQUEST_LOG)  # opened by who needs it
    control = Control(database, configuration, live, clock, published, changes, log_database)
    control.app = create_app(
        configuration=configuration,
        live=live,
        log=LogBook(reader=RequestLog(control.log_database, now=clock.now), feed=None, flush=_nothing),
        clock=clock,
        admin_token=TOKEN,
        verifier=verifier,
        metrics_token=METRICS_TOKEN,
        readiness=lambda: control.not_ready,
        largest_body=100_000,
    )
    control.client = client_for(control.app, TOKEN)
    try:
        await configuration.load()
        async with control.client:
            yield control
    finally:
        await checker.stop()
        await configuration.settle()
        await database.close()
        await log_database.close()


def quiet_monitoring(clock: FakeClock, usage: Usage) -> Monitoring:
    """Of a gateway without a proxy port: what it counts, a test hands to `metrics.count`."""
    gauges = Gauges(in_flight=lambda: 0, connections=lambda: 0, upstream_connections=lambda: 0)
    metrics = Metrics(bounds=Bounds(series=20), now=clock.wall(), usage=usage)
    return Monitoring(metrics=metrics, gauges=gauges, flush=lambda: None, wall=clock.wall)


def client_for(app: FastAPI, token: str | None) -> httpx2.AsyncClient:
    """A client within this event loop. An error that nobody expected is answered, as a server would."""
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url="http://control.test", headers=headers)


async def _nothing() -> None: ...
