"""What the gateway would do with one request, and why: its whole data plane runs for it once, over copies of its state.

The connection, the pool's sockets and the clock are ours; everything between is what traffic goes through. So there is
nothing to keep in step, and nothing that a request would notice. The head that would go to a service is heard at the
other end of the wire.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from microgateway.clock import Clock
from microgateway.core.fields import HeadError
from microgateway.core.requests import RequestHead
from microgateway.data_plane.authentication import Authentication
from microgateway.data_plane.downstream import Downstream
from microgateway.data_plane.head_reader import HeadReader
from microgateway.data_plane.options import Options
from microgateway.data_plane.pipeline import State
from microgateway.data_plane.plane import Plane, Recorder
from microgateway.exchange import Exchange
from microgateway.persistence.log_stream import LoggedRequest
from microgateway.simulation.asked import Asked
from microgateway.simulation.candidates import Candidate, candidates
from microgateway.simulation.copies import CopiedTargets, copied_verifier
from microgateway.simulation.upstream_wires import WireConnection, WirePools
from microgateway.simulation.watching import (
    Seen,
    WatchedAuthentication,
    WatchedCircuits,
    WatchedCredentials,
    WatchedLimiter,
    WatchedRouter,
)
from microgateway.simulation.wires import Wire
from microgateway.simulation.worlds import VirtualWorld
from microgateway.snapshot import Endpoint, Snapshot
from microgateway.tokens.verifying import Verifier

CLIENT_PORT = 40_000
NOTHING = b"HTTP/1.1 204 No Content\r\n\r\n"


@dataclass(slots=True)
class Explanation:
    """All that is known of one request that was never made.

    `answer` is what a client would get. Where a service would answer, `sent` is the head that would go to it, at the
    place `target`, and `answer` is what the gateway makes of NOTHING. `head` is None for a request that makes no sense.
    """

    snapshot: Snapshot
    octets: bytes
    seen: Seen
    head: RequestHead | None = None
    exchange: Exchange | None = None
    answer: bytes = b""
    sent: bytes = b""
    target: Endpoint | None = None
    candidates: list[Candidate] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The gateway that is asked: what is in force, and the state that traffic changes. `port` is the proxy port's.

    `recorder` is told of requests that go the way of traffic.
    """

    options: Options
    state: State
    recorder: Recorder
    snapshot: Callable[[], Snapshot]
    verifier: Verifier | None
    clock: Clock
    port: Callable[[], int]


class _Listening:
    """Hears a request, and answers with nothing of its own: what a client gets then is the gateway's."""

    def __init__(self, explanation: Explanation) -> None:
        self._explanation = explanation

    def asked(self, connection: WireConnection, head: bytes) -> None:
        self._explanation.sent = head
        connection.wire.send(NOTHING)

    def at(self, url: Endpoint) -> "_Listening":
        self._explanation.target = url
        return self


class _Notebook:
    """The recorder of one exchange."""

    def __init__(self, explanation: Explanation) -> None:
        self._explanation = explanation

    def record(self, exchange: Exchange) -> None:
        if self._explanation.exchange is None:
            self._explanation.exchange = exchange


def explain(asked: Asked, running: Running, row: LoggedRequest | None = None) -> Explanation:
    """What would become of this request at this moment. With a `row` of the log, whose it is is what the row says."""
    snapshot = running.snapshot()
    explanation = Explanation(snapshot, asked.octets(running.options.api_key_header), Seen())
    world = VirtualWorld(now=running.clock.now(), wall=running.clock.wall())
    plane = _plane(explanation, running, world, row)
    wire = _connect(plane, world, asked, running, explanation)
    seen = explanation.seen
    seen.begin()
    wire.send(explanation.octets)
    world.settle()
    seen.lasted("normalise")  # unless a route was looked for, which ended it
    wire.end(None)  # the client leaves: what was reserved is given back, to the copies
    world.settle()
    explanation.head = _head(explanation.octets, running.options, plane)
    if explanation.head is not None:
        explanation.candidates = candidates(snapshot.routes, explanation.head, seen.match)
    return explanation


def _plane(explanation: Explanation, running: Running, world: VirtualWorld, row: LoggedRequest | None) -> Plane:
    seen, options = explanation.seen, running.options
    verifier = None if running.verifier is None else copied_verifier(running.verifier)
    service = _Listening(explanation)
    authentication: Authentication
    if row is None:
        authentication = WatchedAuthentication(seen, api_key_header=options.api_key_header, verifier=verifier)
    else:
        authentication = WatchedCredentials(seen, row)
    plane = Plane(
        options=options,
        snapshot=replace(explanation.snapshot.apart(), routes=WatchedRouter(explanation.snapshot.routes, seen)),
        state=State(
            WatchedLimiter(running.state.limiter, seen),
            WatchedCircuits(running.state.circuits, seen),
            authentication,
            CopiedTargets(running.state.targets),
        ),
        recorder=_Notebook(explanation),
        now=world.now,
        wall=world.wall,
    )
    plane.pools = WirePools(plane, world, service.at)
    return plane


def _connect(plane: Plane, world: VirtualWorld, asked: Asked, running: Running, explanation: Explanation) -> Wire:
    def heard(data: bytes) -> None:
        explanation.answer += data

    secure = bool(running.options.tls_cert)
    wire = Wire(
        world, peer=(asked.client_ip, CLIENT_PORT), here=("127.0.0.1", running.port()), heard=heard, secure=secure
    )
    wire.protocol = Downstream(plane)
    wire.protocol.connection_made(wire)
    return wire


def _head(octets: bytes, options: Options, plane: Plane) -> RequestHead | None:
    """Read once more, by the same reader, for who wants to look at it; None where it can't be read."""
    end = octets.find(b"\r\n\r\n")
    try:
        return HeadReader(options, plane.request_fields).read(octets, end)
    except HeadError:
        return None
