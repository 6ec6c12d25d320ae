"""One scenario, in real time and in virtual time, request by request.

A limit that is a little below what comes, and a service that fails for a quarter of the time, whose circuit opens, asks
again twice in vain and closes. In real time it is a batch that goes through the gateway's own state, or it comes and
goes over sockets, from a client that keeps the moments and to a service that is a server of its own.

Two runs in virtual time stand against it. In the first every request comes when it is meant to, and is answered when it
is meant to be. The machine is a little late with both, and at a limit's edge or around a circuit's change a request may
find the other verdict. So in the second all come, and are answered, when they really were; then nothing is left that
could differ, and nothing may.
"""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from typing import Any, cast

import uvloop

from microgateway.clock import SystemClock
from microgateway.control_plane.gateway_batches import BatchAnswer, BatchRequest
from microgateway.control_plane.jobs import Progress
from microgateway.data_plane.pipeline import State
from microgateway.exchange import Event, Exchange
from microgateway.process.composition import proxy_options
from microgateway.simulation.scene import Scene, Setting
from microgateway.simulation.upstream_wires import WireConnection, WirePools
from microgateway.simulation.worlds import RealWorld, VirtualWorld
from microgateway.state.limits import MemoryLimiter
from microgateway.state.memory import MemoryCircuits
from microgateway.testing import RunningProxy, serve
from tests.kit.configuration import limit_rule, route, service, settings

BEGAN = 1_000.0  # of every run in virtual time
PER_SECOND = 200
LATENCY = 0.0025  # seconds: an answer comes half-way between two requests, as far from both as can be
ADMITTED_PER_MINUTE = 8_765  # no simple part of what comes, so a token is seldom there at the very moment
CONNECTIONS = 256  # a machine that is late for a second has as many requests under way
PATIENCE = 1.0  # seconds, until all have their answers
LONGEST = 600.0
MILLISECONDS = 1_000.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request: what it was told, when it came and when its answer did (0: never)."""

    status: int
    code: str
    came: float
    answered: float

    @property
    def verdict(self) -> tuple[int, str]:
        return self.status, self.code

    @property
    def is_admitted(self) -> bool:
        return self.answered > 0.0


@dataclass(frozen=True, slots=True)
class Run:
    """All requests in the order in which they came, and the circuit's changes; moments are from the first request."""

    outcomes: list[Outcome]
    changes: list[tuple[float, str]]

    @property
    def admitted(self) -> int:
        return sum(outcome.is_admitted for outcome in self.outcomes)

    @property
    def counts(self) -> Counter[tuple[int, str]]:
        return Counter(outcome.verdict for outcome in self.outcomes)

    def with_status(self, status: int) -> int:
        return sum(outcome.status == status for outcome in self.outcomes)

    @property
    def states(self) -> list[str]:
        return [state for _, state in self.changes]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of a run in real time with the two in virtual time: as it was `meant`, and as it really `came`.

    `batch` is the former as the gateway's own API tells it.
    """

    batch: BatchAnswer
    real: Run
    meant: Run
    came: Run

    @property
    def late(self) -> list[float]:
        """By how many seconds each request came later than it was meant to."""
        return [real.came - meant.came for real, meant in zip(self.real.outcomes, self.meant.outcomes, strict=True)]

    @property
    def other_than_meant(self) -> list[int]:
        """The numbers of the requests that got another verdict."""
        return _differing(self.real, self.meant)

    @property
    def unexplained(self) -> list[int]:
        """Those that still do, when all came as they really did."""
        return _differing(self.real, self.came)

    def from_change(self, number: int) -> float:
        """Seconds from this request to the nearest change of the circuit, which goes on from as meant to as it was."""
        came = self.meant.outcomes[number].came
        spans = [
            (min(meant, real), max(meant, real))
            for (meant, _), (real, _) in zip(self.meant.changes, self.real.changes, strict=True)
        ]
        return min(max(begin - came, came - end, 0.0) for begin, end in spans)


def _differing(one: Run, other: Run) -> list[int]:
    pairs = zip(one.outcomes, other.outcomes, strict=True)
    return [number for number, (this, that) in enumerate(pairs) if this.verdict != that.verdict]


def script(seconds: float) -> dict[str, Any]:
    latency = LATENCY * MILLISECONDS
    failing = {"from_seconds": seconds / 4, "to_seconds": seconds / 2, "error_rate": 1, "latency_ms": latency}
    return {"latency_ms": latency, "phases": [failing]}


def _run(exchanges: Sequence[Exchange], events: Sequence[Event]) -> Run:
    """`events` are on the clock of `Exchange.timestamp`."""
    ordered = sorted(exchanges, key=lambda exchange: exchange.started)
    began, wall = ordered[0].started, ordered[0].timestamp
    outcomes = [
        Outcome(one.status, one.code, one.started - began, max(0.0, one.answered - began) if one.answered else 0.0)
        for one in ordered
    ]
    return Run(outcomes, [(event.at - wall, event.after) for event in events])


@dataclass(slots=True)
class _Gateway:
    """One that runs, and all that it told of its requests."""

    served: RunningProxy
    exchanges: list[Exchange] = field(default_factory=list)

    def run(self) -> Run:
        self.served.recorder.flush()
        return _run(self.exchanges, self.served.circuits.history_of("upstream"))


@asynccontextmanager
async def _gateway(seconds: float, url: str) -> AsyncIterator[_Gateway]:
    exchanges: list[Exchange] = []
    async with serve(
        services=[service(url)],
        routes=[route("/open")],
        rate_limits=[limit_rule("everybody", per_minute=ADMITTED_PER_MINUTE, burst=20)],
        settings=settings(
            circuit_failure_threshold=5,
            circuit_recovery_timeout=seconds / 10,
            circuit_half_open_max_calls=1,
            client_header_timeout=LONGEST,
            client_idle_timeout=LONGEST,
            debug=True,
        ),
        sinks=[exchanges.extend],
    ) as served:
        yield _Gateway(served, exchanges)


# -- in real time ------------------------------------------------------------------------------------------------------


async def _batch(gateway: _Gateway, seconds: float, **fields: Any) -> BatchAnswer:
    asked = BatchRequest.model_validate(
        {
            "requests": [{"path": "/open"}],
            "arrivals": {"per_second": PER_SECOND, "seconds": seconds},
            "upstream": script(seconds),
            **fields,
        }
    )
    return await gateway.served.simulation.batch(asked, gateway.served.listener.snapshot, Progress())


class _Server(asyncio.Protocol):
    """The service: it answers after a while, well or not, by the time that has passed since its first request."""

    def __init__(self, world: RealWorld, seconds: float, began: list[float]) -> None:
        self._world = world
        self._seconds = seconds
        self._began = began

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without saying so

    def data_received(self, data: bytes) -> None:
        if not self._began:
            self._began.append(self._world.now())
        passed = self._world.now() - self._began[0]
        status = 500 if self._seconds / 4 <= passed < self._seconds / 2 else 200
        answer = b"HTTP/1.1 %d Scripted\r\nContent-Length: 0\r\n\r\n" % status
        self._world.later(LATENCY, lambda: self._transport.write(answer))


@asynccontextmanager
async def _service(world: RealWorld, seconds: float) -> AsyncIterator[str]:
    began: list[float] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Server(world, seconds, began), "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


class _Client(asyncio.Protocol):
    """One connection of the client's, which is `free` again when an answer has come: they are all short."""

    def __init__(self, free: list["_Client"]) -> None:
        self._free = free

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._free.append(self)


async def _over_sockets(gateway: _Gateway, seconds: float, world: RealWorld) -> None:
    """Every request at its moment, on a connection that is free."""
    loop = asyncio.get_running_loop()
    free: list[_Client] = []
    clients = [
        (await loop.create_connection(lambda: _Client(free), "127.0.0.1", gateway.served.port))[1]
        for _ in range(CONNECTIONS)
    ]
    free.extend(clients)
    began = world.now() + 0.1
    moments = [began + number / PER_SECOND for number in range(int(seconds * PER_SECOND))]
    for moment in moments:
        await _until(world, moment)
        free.pop().transport.write(b"GET /open HTTP/1.1\r\nHost: gateway\r\n\r\n")
    while len(free) < len(clients):
        await _until(world, world.now() + LATENCY)
    for client in clients:
        client.transport.close()


async def _until(world: RealWorld, moment: float) -> None:
    come = asyncio.get_running_loop().create_future()
    world.later(moment - world.now(), lambda: come.set_result(None))
    await come


# -- in virtual time ---------------------------------------------------------------------------------------------------

Answers = Callable[[int, float], tuple[int, float]]
"""The status with which the service answers this request, which reaches it at this moment, and when."""


def _as_meant(seconds: float) -> Answers:
    def answer(number: int, moment: float) -> tuple[int, float]:
        return 500 if seconds / 4 <= moment < seconds / 2 else 200, moment + LATENCY

    return answer


def _as_before(outcomes: Sequence[Outcome]) -> Answers:
    def answer(number: int, moment: float) -> tuple[int, float]:
        outcome = outcomes[number]
        assert outcome.is_admitted, f"request {number} went to its service, and in real time it did not"
        return outcome.status, outcome.answered

    return answer


class _Answering:
    """A service that is told how and when to answer; requests bear their numbers."""

    def __init__(self, world: VirtualWorld, answers: Answers) -> None:
        self._world = world
        self._answers = answers

    def asked(self, connection: WireConnection, head: bytes) -> None:
        number = int(head.partition(b"\r\nX-Number: ")[2].partition(b"\r\n")[0])
        now = self._world.now()
        status, moment = self._answers(number, now - BEGAN)
        octets = b"HTTP/1.1 %d Scripted\r\nContent-Length: 0\r\n\r\n" % status
        self._world.later(BEGAN + moment - now, lambda: connection.wire.send_now(octets))


@dataclass(slots=True)
class _Kept:
    exchanges: list[Exchange] = field(default_factory=list)

    def record(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)


def _virtually(moments: Sequence[float], answers: Answers, served: RunningProxy) -> Run:
    """Every request at its moment, through a data plane with a state of its own."""
    world, kept, events = VirtualWorld(now=BEGAN, wall=BEGAN), _Kept(), list[Event]()
    state = State(MemoryLimiter(), MemoryCircuits(wall=world.wall, listeners=[events.append]))
    options, snapshot = proxy_options(settings()), served.listener.snapshot
    scene = Scene(Setting(world=world, options=options, state=state, snapshot=snapshot, recorder=kept, port=0))
    answering = _Answering(world, answers)
    scene.plane.pools = WirePools(scene.plane, world, lambda _: answering)
    for number, moment in enumerate(moments):
        world.run_until(BEGAN + moment)
        octets = b"GET /open HTTP/1.1\r\nHost: gateway\r\nX-Number: %d\r\n\r\n" % number
        scene.send(octets, "127.0.0.1", lambda exchange, answer: None)
    world.run_until(BEGAN + moments[-1] + PATIENCE)
    scene.close()
    return _run(kept.exchanges, events)


# -- both --------------------------------------------------------------------------------------------------------------


async def compare(seconds: float, *, sockets: bool = False) -> Comparison:
    """Takes so many seconds, and a moment more."""
    with closing(RealWorld(clock=SystemClock(), loop=asyncio.get_running_loop())) as world:
        async with _service(world, seconds) as url, _gateway(seconds, url) as gateway:
            batch = await _batch(gateway, seconds)
            if sockets:
                await _over_sockets(gateway, seconds, world)
            else:
                await _batch(gateway, seconds, clock="real", state="traffic")
            real = gateway.run()
            served = gateway.served
            meant = _virtually([n / PER_SECOND for n in range(len(real.outcomes))], _as_meant(seconds), served)
            came = _virtually([outcome.came for outcome in real.outcomes], _as_before(real.outcomes), served)
    return Comparison(batch, real, meant, came)


def _told(comparison: Comparison) -> Iterator[str]:
    batch, real, meant = comparison.batch, comparison.real, comparison.meant
    late = sorted(comparison.late)
    yield f"In virtual time: {batch.requests} requests in {batch.took_seconds} s of this machine's."
    yield f"Admitted: {real.admitted} in real time, {batch.admitted} in virtual time."
    for status, code in sorted(real.counts | meant.counts):
        yield f"  {status} {code or 'from the service'}: {real.counts[status, code]}, {meant.counts[status, code]}"
    yield "Changes of the circuit, in seconds:"
    for (at, state), (expected, _) in zip(real.changes, meant.changes, strict=False):
        yield f"  {state:9}  {at:9.4f}  {expected:9.4f}  {at - expected:+.4f}"
    shares = ", ".join(f"{late[int(share * (len(late) - 1))] * MILLISECONDS:.2f}" for share in (0.5, 0.99, 1.0))
    yield f"Requests were late by ms (median, 99 of 100, all): {shares}"
    differing = comparison.other_than_meant
    at_change = sum(comparison.from_change(number) <= 1 / PER_SECOND for number in differing)
    yield f"Another verdict than meant: {len(differing)} requests, {at_change} of them while the circuit changed."
    yield f"Another verdict than in virtual time with the moments of the real run: {len(comparison.unexplained)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="that the scenario takes, 600 at most")
    parser.add_argument("--sockets", action="store_true", help="real connections, to a service that is a server")
    arguments = parser.parse_args()
    comparison = uvloop.run(compare(min(arguments.seconds, LONGEST), sockets=arguments.sockets))
    print("\n".join(_told(comparison)))  # noqa: T201
    return bool(comparison.unexplained or comparison.real.states != comparison.meant.states)


if __name__ == "__main__":
    sys.exit(main())
