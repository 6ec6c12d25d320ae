"""What our own tests stand on, shipped for users' tests too: a clock that one sets, and a data plane on a free port."""

import secrets
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from microgateway.clock import Clock, SystemClock
from microgateway.core.circuit import CircuitPolicy
from microgateway.data_plane.health_checks import HealthChecker
from microgateway.data_plane.listener import Listener
from microgateway.data_plane.pipeline import State
from microgateway.entities import ApiKey, RateLimitRule, Route, Service, TokenIssuer
from microgateway.observability.recorder import Recorder, Sink
from microgateway.observability.usage import Usage
from microgateway.process.composition import authentication, circuit_defaults, proxy_options, verifier
from microgateway.settings import Settings
from microgateway.simulation.explaining import Running
from microgateway.simulation.simulation import Simulation
from microgateway.snapshot import Snapshot
from microgateway.state.limits import MemoryLimiter
from microgateway.state.memory import MemoryCircuits
from microgateway.state.targets import MemoryTargets
from microgateway.tokens.verifying import Verifier


class FakeClock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self, now: float = 1_000.0, wall: float = 1_700_000_000.0) -> None:
        self._now = now
        self._wall = wall

    def now(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._wall

    def advance(self, seconds: float) -> None:
        """So many seconds pass, on both clocks."""
        self._now += seconds
        self._wall += seconds


@dataclass(slots=True)
class RunningProxy:
    """A data plane that listens on `port` of 127.0.0.1, and what it shares among requests."""

    listener: Listener
    limiter: MemoryLimiter
    circuits: MemoryCircuits
    targets: MemoryTargets
    recorder: Recorder
    checker: HealthChecker
    verifier: Verifier
    simulation: Simulation

    @property
    def port(self) -> int:
        return self.listener.port

    @property
    def usage(self) -> Usage:
        """The counters, up to date."""
        self.recorder.flush()
        return self.recorder.usage

    def apply(self, snapshot: Snapshot) -> None:
        """Puts another configuration in force."""
        self.listener.apply(snapshot)
        self.checker.apply(snapshot.upstreams)


@asynccontextmanager
async def serve(
    *,
    services: Iterable[Service] = (),
    routes: Iterable[Route] = (),
    keys: Iterable[ApiKey] = (),
    issuers: Iterable[TokenIssuer] = (),
    rate_limits: Collection[RateLimitRule] = (),
    settings: Settings | None = None,
    clock: Clock | None = None,
    health_checks: bool = False,
    sinks: Sequence[Sink] = (),
) -> AsyncIterator[RunningProxy]:
    """A real data plane on a free port of this event loop, with this configuration in force.

    `health_checks`: services are asked how they are from time to time, too, by the machine's clock. `sinks` are told of
    every exchange, in batches.
    """
    settings = settings or Settings()
    clock = clock or SystemClock()
    snapshot = (
        Snapshot()
        .with_keys(keys)
        .with_issuers(issuers)
        .with_table(services, routes, circuit_defaults(settings), rate_limits)
    )
    limiter, circuits, recorder = MemoryLimiter(), MemoryCircuits(wall=clock.wall), Recorder(Usage(), sinks)
    targets = MemoryTargets(wall=clock.wall)
    tokens = verifier(settings, settings.jwt_secret or secrets.token_urlsafe(), clock)
    options, state = proxy_options(settings), State(limiter, circuits, authentication(settings, tokens), targets)
    listener = Listener(
        options=options, snapshot=snapshot, state=state, recorder=recorder, now=clock.now, wall=clock.wall
    )
    running = Running(
        options=options,
        state=state,
        recorder=recorder,
        snapshot=lambda: listener.snapshot,
        verifier=tokens,
        clock=clock,
        port=lambda: listener.port,
    )
    checker = HealthChecker(connector=listener.connector, targets=targets, now=clock.now, wall=clock.wall)
    checker.apply(snapshot.upstreams)
    await listener.start("127.0.0.1", 0)
    recorder.start()
    if health_checks:
        checker.start()
    try:
        yield RunningProxy(listener, limiter, circuits, targets, recorder, checker, tokens, Simulation(running))
    finally:
        await checker.stop()
        await listener.drain(0.0 if settings.debug else settings.drain_timeout)
        recorder.stop()


__all__ = ["CircuitPolicy", "FakeClock", "RunningProxy", "serve"]
