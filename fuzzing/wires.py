"""The real data plane on connections without a kernel: what was written is kept, and nothing happens before its turn.

Sockets can't be made to deliver these bytes, then that reset, then this timeout, again and again in the same order;
this can. Everything between the two ends of the wire is the gateway's own code. What an event loop would call later
waits in `turns`, in order.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from microgateway.core.base_urls import BaseUrl
from microgateway.data_plane.downstream import Downstream
from microgateway.data_plane.forwarding import Forwarding
from microgateway.data_plane.options import Options
from microgateway.data_plane.pipeline import State
from microgateway.data_plane.plane import Plane
from microgateway.data_plane.pool import Pool, Pools
from microgateway.data_plane.problems import UPSTREAM_UNREACHABLE
from microgateway.data_plane.upstream import UpstreamConnection
from microgateway.exchange import Exchange
from microgateway.snapshot import Snapshot
from microgateway.state.limits import MemoryLimiter
from microgateway.state.memory import MemoryCircuits
from microgateway.testing import FakeClock

MOST_TURNS = 100_000  # more, and it goes round in circles

Turn = Callable[[], object]
Writes = Callable[["Wire", bytes], object]


class Wire(asyncio.Transport):
    """One connection. `inbox` holds what the peer sent while reading was paused; `on_write` is the peer's ear.

    `high_water`: how many bytes may wait for a peer that does not read before the protocol is told to pause.
    """

    def __init__(self, turns: deque[Turn], peer: tuple[str, int], on_write: Writes | None = None) -> None:
        super().__init__({"peername": peer, "sockname": ("127.0.0.1", 8080)})
        self._turns = turns
        self._lost = False
        self._on_write = on_write
        self._socket: socket.socket | None = None
        self._waiting = 0
        self._paused = False
        self.high_water: int | None = None
        self.protocol: asyncio.Protocol
        self.written = bytearray()
        self.inbox: list[bytes] = []
        self.reading = True
        self.closing = False
        self.aborted = False
        self.wrote_eof = False

    # -- the gateway's side --------------------------------------------------------------------------------------------

    def write(self, data: Any) -> None:
        if self._lost:
            raise RuntimeError("written to after connection_lost")  # as uvloop does
        if self.closing:
            return
        self.written += data
        if self._on_write is not None:
            self._on_write(self, bytes(data))
        if self.high_water is not None:
            self._waiting += len(data)
            if self._waiting > self.high_water and not self._paused:
                self._paused = True
                self.protocol.pause_writing()

    def writelines(self, pieces: Iterable[Any]) -> None:
        self.write(b"".join(pieces))

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        if not self.reading and not self.closing:
            self.reading = True
            self._turns.append(self._read_inbox)

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self._end(None)

    def abort(self) -> None:
        self.aborted = True
        self._end(None)

    def get_write_buffer_size(self) -> int:
        return self._waiting

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if self._lost:
            raise RuntimeError("ended after connection_lost")  # as uvloop does
        self.wrote_eof = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name != "socket":
            return super().get_extra_info(name, default)
        if self._socket is None:
            self._socket = socket.socket()  # options are set on it, so it must be a real one
        return self._socket

    # -- the peer's side -----------------------------------------------------------------------------------------------

    def read_all(self) -> None:
        """The peer reads what waits for it, and all that will come."""
        self.high_water = None
        self._waiting = 0
        if self._paused:
            self._paused = False
            self._turns.append(self._resume)

    def send(self, data: bytes) -> None:
        """Arrives in its turn, once the gateway reads."""
        self.inbox.append(data)
        self._turns.append(self._read_inbox)

    def send_now(self, data: bytes) -> None:
        """Arrives before anything else has its turn, as the second of two reads in one round of an event loop does."""
        if self.closing or not self.reading:
            raise RuntimeError("nobody reads here")
        self.protocol.data_received(data)

    def send_eof(self) -> None:
        self._turns.append(self._receive_eof)

    def reset(self) -> None:
        self._turns.append(lambda: self._end(ConnectionResetError("reset by the peer")))

    def _resume(self) -> None:
        if not self.closing:
            self.protocol.resume_writing()

    def _receive_eof(self) -> None:
        if not self.closing and not self.protocol.eof_received():
            self.close()

    def _read_inbox(self) -> None:
        while self.inbox and self.reading and not self.closing:
            self.protocol.data_received(self.inbox.pop(0))

    def _end(self, error: Exception | None) -> None:
        if self.closing:
            return
        self.closing = True
        self._turns.append(lambda: self._tell(error))

    def _tell(self, error: Exception | None) -> None:
        self._lost = True
        self.protocol.connection_lost(error)
        if self._socket is not None:
            self._socket.close()


class WirePool(Pool):
    """The gateway's own pool, but for the sockets: a connection is made in its turn, or, as `connects` says, not."""

    def __init__(self, plane: Plane, url: BaseUrl, bench: "Workbench") -> None:
        super().__init__(plane, url, None)
        self._bench = bench
        self._plane_of_pool = plane
        self.waiting: dict[Forwarding, None] = {}

    def connect(self, forwarding: Forwarding) -> None:
        self.opened += 1
        self.waiting[forwarding] = None
        if self._bench.connects:
            self._bench.turns.append(lambda: self.establish(forwarding))

    def cancel(self, forwarding: Forwarding) -> None:
        if forwarding in self.waiting:
            del self.waiting[forwarding]
            self.opened -= 1

    def establish(self, forwarding: Forwarding) -> None:
        if forwarding in self.waiting:
            del self.waiting[forwarding]
            connection = UpstreamConnection(self._plane_of_pool, self)
            wire = Wire(self._bench.turns, ("127.0.0.1", 9000), self._bench.on_upstream_write)
            wire.protocol = connection
            self._bench.upstream_wires.append(wire)
            connection.connection_made(wire)
            connection.connected()
            forwarding.connected(connection)

    def refuse(self, forwarding: Forwarding) -> None:
        del self.waiting[forwarding]
        self.opened -= 1
        forwarding.connection_failed(UPSTREAM_UNREACHABLE)


class WirePools(Pools):
    def __init__(self, plane: Plane, bench: "Workbench") -> None:
        super().__init__(plane)
        self._pools: dict[BaseUrl, WirePool] = {}
        self._bench = bench

    def of(self, url: BaseUrl) -> WirePool:
        if url not in self._pools:
            self._pools[url] = WirePool(self._bench.plane, url, self._bench)
        return self._pools[url]

    def all(self) -> list[WirePool]:
        return list(self._pools.values())


class Workbench:
    """A data plane under a clock that one sets. `on_upstream_write` is called with what reaches an upstream.

    `exchanges` are those recorded, in order. `connects` False leaves connections unmade until `establish` or `refuse`.
    """

    def __init__(
        self, snapshot: Snapshot, *, options: Options | None = None, on_upstream_write: Writes | None = None
    ) -> None:
        self.clock = FakeClock()
        self.turns: deque[Turn] = deque()
        self.exchanges: list[Exchange] = []
        self.upstream_wires: list[Wire] = []
        self.on_upstream_write = on_upstream_write
        self.connects = True
        self.circuits = MemoryCircuits()
        self.plane = Plane(
            options=options or Options(),
            snapshot=snapshot,
            state=State(MemoryLimiter(), self.circuits),
            recorder=self,
            now=self.clock.now,
            wall=self.clock.wall,
        )
        self.plane.random.seed(0)
        self.pools = WirePools(self.plane, self)
        self.plane.pools = self.pools

    def record(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)

    def connect(self, ip: str = "203.0.113.7") -> Wire:
        """A client's connection, just accepted."""
        wire = Wire(self.turns, (ip, 40_000))
        wire.protocol = Downstream(self.plane)
        wire.protocol.connection_made(wire)
        return wire

    def run(self) -> None:
        """Everything that is due, and what comes of it, until nothing is."""
        for _ in range(MOST_TURNS):
            if not self.turns:
                return
            self.turns.popleft()()
        raise AssertionError("it never comes to rest")

    def sweep(self, seconds: float = 0.0) -> None:
        """Time passes, and the periodic pass finds what is overdue."""
        self.clock.advance(seconds)
        now = self.plane.now()
        for downstream in tuple(self.plane.downstreams):
            downstream.sweep(now)
        for pool in self.pools.all():
            pool.close_idle(now - self.plane.options.upstream_idle_timeout)
        self.run()

    def opened(self) -> int:
        """Upstream connections that the pools count."""
        return sum(pool.opened for pool in self.pools.all())

    def really_open(self) -> int:
        return sum(not wire.closing for wire in self.upstream_wires)
