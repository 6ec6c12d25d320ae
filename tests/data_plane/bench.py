"""A workbench before a scripted upstream, and the few questions that every test asks of it."""

from dataclasses import dataclass

from fuzzing.configuration import configuration, route, service
from fuzzing.scripted import Answer, ScriptedUpstream, echo
from fuzzing.wires import Wire, Workbench
from microgateway.core.circuit import Circuit, CircuitPolicy, Permit
from microgateway.data_plane.options import Options
from microgateway.exchange import Exchange
from microgateway.snapshot import Snapshot

GET = b"GET /a HTTP/1.1\r\nHost: a.example\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LONG_AFTER = 1_000.0  # seconds: more than any limit


@dataclass(frozen=True, slots=True)
class Scene:
    """One client's connection to a gateway whose route `/` leads to one upstream."""

    bench: Workbench
    upstream: ScriptedUpstream
    client: Wire

    @property
    def exchanges(self) -> list[Exchange]:
        return self.bench.exchanges

    @property
    def answered(self) -> bytes:
        return bytes(self.client.written)

    @property
    def upstream_wire(self) -> Wire:
        """The connection to the upstream that was made last."""
        return self.bench.upstream_wires[-1]

    def send(self, *pieces: bytes) -> None:
        """Each piece is a read of its own, and everything that comes of it happens."""
        for piece in pieces:
            self.client.send(piece)
            self.bench.run()

    def upstream_sends(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.upstream_wire.send(piece)
            self.bench.run()

    def statuses(self) -> list[int]:
        return [exchange.status for exchange in self.exchanges]

    def circuit(self) -> Circuit:
        return self.bench.circuits.snapshot()["plain"]

    def assert_at_rest(self) -> None:
        """Nothing is under way: no request, no connection that is counted and not open, no connection being made."""
        assert not self.bench.turns
        assert self.bench.opened() == self.bench.really_open()
        assert not [wait for pool in self.bench.pools.all() for wait in pool.waiting]
        assert not self.upstream.refused, self.upstream.refused


def silence(_: object) -> list[bytes]:
    """The upstream answers when the test says so."""
    return []


def scene(answer: Answer = echo, *, options: Options | None = None, snapshot: Snapshot | None = None) -> Scene:
    upstream = ScriptedUpstream(answer)
    bench = Workbench(snapshot or configuration(), options=options, on_upstream_write=upstream.heard)
    return Scene(bench, upstream, bench.connect())


def one_service(policy: CircuitPolicy | None = None, **fields: object) -> Snapshot:
    """`/` to one service, `fields` are the route's."""
    return Snapshot().with_table([service("plain")], [route("/", "plain", **fields)], policy or CircuitPolicy())


def half_open(stage: Scene) -> Circuit:
    """Trips the circuit of a scene, and lets the recovery time pass: the next request is a probe."""
    circuit = stage.bench.circuits.of("plain", CircuitPolicy(1, 30.0, 1), stage.bench.clock.now())
    permit = circuit.try_acquire(stage.bench.clock.now())
    assert isinstance(permit, Permit)
    circuit.failed(permit, stage.bench.clock.now())
    stage.bench.clock.advance(31.0)
    return circuit


def assert_takes_a_probe(circuit: Circuit, now: float) -> None:
    """The half-open circuit has a free place, so the last probe was given back."""
    permit = circuit.try_acquire(now)
    assert isinstance(permit, Permit), permit
    circuit.abandoned(permit)
