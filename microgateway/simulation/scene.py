"""A data plane with clients of ours: its own reader, judgement, forwarding, pools and sweep, in whatever time there is.

Clients keep their connections, as most do: one that is free is used again by the next request from the same address.
"""

from collections.abc import Callable
from dataclasses import dataclass

from microgateway.data_plane.downstream import Downstream
from microgateway.data_plane.listener import SWEEP_INTERVAL
from microgateway.data_plane.options import Options
from microgateway.data_plane.pipeline import State
from microgateway.data_plane.plane import Plane, Recorder
from microgateway.exchange import Exchange, SimulatedExchange
from microgateway.simulation.wires import Wire
from microgateway.simulation.worlds import World
from microgateway.snapshot import Snapshot

CLIENT_PORT = 40_000

Ended = Callable[[Exchange, bytes], object]
"""Is told of a request's record, and of what was written of its answer, when it is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a data plane is made of. `port` is the proxy port's; `recorder` is told of every exchange."""

    world: World
    options: Options
    state: State
    snapshot: Snapshot
    recorder: Recorder
    port: int


class _Client:
    """One connection. At most `most` bytes of an answer are kept, for who wants to see it."""

    __slots__ = ("answer", "ended", "ip", "most", "wire")

    wire: Wire

    def __init__(self, ip: str, most: int) -> None:
        self.ip = ip
        self.most = most
        self.answer = bytearray()
        self.ended: Ended | None = None

    def heard(self, data: bytes) -> None:
        if len(self.answer) < self.most:
            self.answer += data[: self.most - len(self.answer)]


class _SimulatedDownstream(Downstream):
    """The gateway's end of such a connection; its exchanges are marked."""

    __slots__ = ("_client", "_scene")

    def __init__(self, plane: Plane, client: _Client, scene: "Scene") -> None:
        super().__init__(plane)
        self._client = client
        self._scene = scene

    def exchange_ended(self, exchange: Exchange, now: float, keep_alive: bool, request_done: bool) -> None:
        exchange.__class__ = SimulatedExchange
        super().exchange_ended(exchange, now, keep_alive, request_done)
        self._scene.ended(self._client, exchange, is_free=keep_alive and request_done)


class Scene:
    """A stage for requests. `plane.pools` has to be set before the first."""

    def __init__(self, setting: Setting, *, most_kept: int = 0) -> None:
        self._setting = setting
        self._world = setting.world
        self._most_kept = most_kept
        self._free: dict[str, list[_Client]] = {}
        self.under_way = 0
        self.plane = Plane(
            options=setting.options,
            snapshot=setting.snapshot,
            state=setting.state,
            recorder=setting.recorder,
            now=setting.world.now,
            wall=setting.world.wall,
        )
        self._sweeping = False

    def send(self, octets: bytes, client_ip: str, ended: Ended) -> Callable[[], None]:
        """Has a request come. `ended` hears of it once; what is returned hangs up on it."""
        free = self._free.get(client_ip)
        client = free.pop() if free else self._connect(client_ip)
        client.answer.clear()
        client.ended = ended
        self.under_way += 1
        self._sweep_on()
        client.wire.send_now(octets)
        return lambda: client.wire.end(None)

    def close(self) -> None:
        """Hangs up on all."""
        for downstream in tuple(self.plane.downstreams):
            downstream.abort()

    def ended(self, client: _Client, exchange: Exchange, *, is_free: bool) -> None:
        """A client's request is over. `is_free`: its connection takes another."""
        ended, client.ended = client.ended, None
        if ended is None:
            return
        self.under_way -= 1
        if is_free and not client.wire.is_closing():
            self._free.setdefault(client.ip, []).append(client)
        ended(exchange, bytes(client.answer))

    def _connect(self, ip: str) -> _Client:
        client = _Client(ip, self._most_kept)
        secure = bool(self._setting.options.tls_cert)
        here = ("127.0.0.1", self._setting.port)
        client.wire = Wire(self._world, peer=(ip, CLIENT_PORT), here=here, heard=client.heard, secure=secure)
        client.wire.protocol = _SimulatedDownstream(self.plane, client, self)
        client.wire.protocol.connection_made(client.wire)
        return client

    def _sweep_on(self) -> None:
        if not self._sweeping:
            self._sweeping = True
            self._world.later(SWEEP_INTERVAL, self._sweep)

    def _sweep(self) -> None:
        """As the listener's: deadlines, idle connections, full buckets; as long as something is under way."""
        plane = self.plane
        now = plane.now()
        for downstream in tuple(plane.downstreams):
            downstream.sweep(now)
        self._free = {
            ip: kept for ip, some in self._free.items() if (kept := [c for c in some if not c.wire.is_closing()])
        }
        plane.pools.sweep(now)
        plane.state.limiter.sweep(now)
        self._sweeping = False
        if self.under_way:
            self._sweep_on()
