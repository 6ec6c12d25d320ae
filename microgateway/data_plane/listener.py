"""The proxy port: accepts clients, ends what is overdue, swaps configuration, and drains at the end."""

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Iterable
from typing import Any

from microgateway.background import start_task
from microgateway.data_plane.client_connection import DRAIN_GRACE
from microgateway.data_plane.connector import Connector
from microgateway.data_plane.downstream import Downstream
from microgateway.data_plane.heap_trim import HeapTrim
from microgateway.data_plane.options import Options
from microgateway.data_plane.pipeline import State
from microgateway.data_plane.plane import Now, Plane, Recorder
from microgateway.data_plane.pool import Pools
from microgateway.data_plane.resolver import LookUp
from microgateway.data_plane.shared_port import SharedPort
from microgateway.data_plane.tls import CHECK_INTERVAL, PemPair, ServerCertificates, TlsFileError
from microgateway.data_plane.tls_downstream import TlsDownstream
from microgateway.errors import StartupError
from microgateway.snapshot import Snapshot

SWEEP_INTERVAL = 0.25  # seconds: how late a deadline may be noticed
BACKLOG = 2_048


class Listener:
    """One data plane on one port. Everything happens on the event loop that `start` runs on."""

    def __init__(
        self,
        *,
        options: Options,
        snapshot: Snapshot,
        state: State,
        recorder: Recorder,
        now: Now | None = None,
        wall: Now | None = None,
        look_up: LookUp | None = None,
    ) -> None:
        clocks = {name: clock for name, clock in (("now", now), ("wall", wall)) if clock is not None}
        self._plane = Plane(options=options, snapshot=snapshot, state=state, recorder=recorder, **clocks)
        self._plane.pools = Pools(self._plane, look_up=look_up)
        self._certificates: ServerCertificates | None = None
        self._watching: asyncio.Task[None] | None = None
        self._renewing: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] | list[SharedPort] = []
        self._sweeping: asyncio.TimerHandle | None = None
        self._heap_trim = HeapTrim()
        self._drained: asyncio.Event = asyncio.Event()

    @property
    def port(self) -> int:
        """The port that is listened on, for those who asked for port 0."""
        return int(self._servers[0].sockets[0].getsockname()[1]) if self._servers else 0

    @property
    def is_listening(self) -> bool:
        return any(server.is_serving() for server in self._servers)

    @property
    def is_draining(self) -> bool:
        return self._plane.draining

    @property
    def snapshot(self) -> Snapshot:
        return self._plane.snapshot

    @property
    def connector(self) -> Connector:
        """How connections to services are made."""
        return self._plane.pools.connector

    @property
    def connections(self) -> int:
        """Client connections that are open now."""
        return len(self._plane.downstreams)

    @property
    def in_flight(self) -> int:
        """Requests that are forwarded now, and open tunnels. It looks at every connection."""
        return sum(downstream.is_busy for downstream in self._plane.downstreams)

    @property
    def upstream_connections(self) -> int:
        """Upstream connections that are open or being opened now."""
        return sum(pool.opened for pool in self._plane.pools)

    async def start(self, host: str, port: int) -> None:
        """Listens. Raises `StartupError` where that is not possible."""
        secured = await self._secured()
        try:
            server = await asyncio.get_running_loop().create_server(
                self._accept, host or None, port, backlog=BACKLOG, reuse_address=True, **secured
            )
        except OSError as error:
            raise StartupError(not_listening("MICROGATEWAY_PROXY", host, port, error)) from None
        self._servers = [server]
        self._begin()

    async def start_on(self, listening: Iterable[socket.socket], excess: Callable[[int], int]) -> None:
        """The same on sockets that others listen on too; they are this one's to close. See `SharedPort`."""
        secured = await self._secured()
        self._servers = [
            SharedPort(one, make=self._accept, connections=lambda: self.connections, excess=excess, **secured)
            for one in listening
        ]
        self._begin()

    async def _secured(self) -> dict[str, Any]:
        """What the loop has to know of TLS."""
        options = self._plane.options
        if not options.tls_cert:
            return {}
        self._certificates = await asyncio.to_thread(_load, _pairs(options))
        return {
            "ssl": self._certificates.context,
            "ssl_handshake_timeout": options.client_header_timeout,
            "ssl_shutdown_timeout": options.client_body_timeout,
        }

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweeping = loop.call_later(SWEEP_INTERVAL, self._keep_sweeping)
        self._watching = start_task(self._watch_files(), "watching the files of certificates")
        self._plane.state.authentication.adopt(self._plane.snapshot.keys.issuers.values())

    def renew_files(self) -> None:
        """Reads the files of certificates and keys anew, for connections to come; broken ones change nothing."""
        work = asyncio.to_thread(self._renew_files, only_if_changed=False)
        renewing = start_task(work, "reading the files of certificates anew")
        self._renewing.add(renewing)
        renewing.add_done_callback(self._renewing.discard)

    def apply(self, snapshot: Snapshot) -> None:
        """Puts a configuration in force for every request that begins from now on."""
        plane = self._plane
        if plane.snapshot.limits.keys() - snapshot.limits.keys():
            plane.state.limiter.keep_only(snapshot.limits.keys())
        if plane.snapshot.keys.issuers is not snapshot.keys.issuers:
            plane.state.authentication.adopt(snapshot.keys.issuers.values())
        before, plane.snapshot = plane.snapshot.upstreams, snapshot
        if snapshot.upstreams is before:
            return  # a change of keys: nothing else hangs on it
        plane.state.circuits.adopt({service: one.circuit for service, one in snapshot.upstreams.items()}, plane.now())
        plane.state.retry_budgets.keep_only(snapshot.upstreams.keys())
        plane.state.targets.keep_only(snapshot.upstreams.keys())
        plane.pools.keep_only([t.url for upstream in snapshot.upstreams.values() for t in upstream.targets])

    async def drain(self, limit: float) -> None:
        """Stops accepting, lets what is under way finish for `limit` seconds, then ends the rest. Runs once."""
        plane = self._plane
        plane.draining = True
        plane.idle_timeout = DRAIN_GRACE
        for server in self._servers:
            server.close()
        for downstream in tuple(plane.downstreams):
            downstream.drain()
        try:
            await asyncio.wait_for(self._all_gone(), limit)
        except TimeoutError:
            for downstream in tuple(plane.downstreams):
                downstream.abort()
        if self._sweeping is not None:
            self._sweeping.cancel()
        if self._watching is not None:
            self._watching.cancel()
        plane.pools.close()

    async def _all_gone(self) -> None:
        if self._plane.downstreams:
            await self._drained.wait()

    def _accept(self) -> Downstream:
        return Downstream(self._plane) if self._certificates is None else TlsDownstream(self._plane)

    async def _watch_files(self) -> None:
        while True:
            await asyncio.sleep(CHECK_INTERVAL)
            await asyncio.to_thread(self._renew_files, only_if_changed=True)

    def _renew_files(self, *, only_if_changed: bool) -> None:
        if self._certificates is not None:
            self._certificates.renew(only_if_changed=only_if_changed)
        self._plane.pools.renew_files(only_if_changed=only_if_changed)

    def _keep_sweeping(self) -> None:
        # First, so that a mistake in one connection's sweep, which the loop reports, does not end all sweeping
        self._sweeping = asyncio.get_running_loop().call_later(SWEEP_INTERVAL, self._keep_sweeping)
        self.sweep()

    def sweep(self) -> None:
        """Ends what is overdue. It is done at short intervals anyway."""
        plane = self._plane
        now = plane.now()
        for downstream in tuple(plane.downstreams):
            downstream.sweep(now)
        plane.pools.sweep(now)
        plane.forget_dates()
        plane.state.limiter.sweep(now)
        plane.state.authentication.sweep()
        self._heap_trim.sweep(len(plane.downstreams))
        if plane.draining and not plane.downstreams:
            self._drained.set()


def _pairs(options: Options) -> list[PemPair]:
    return list(zip(options.tls_cert, options.tls_key or (None,) * len(options.tls_cert), strict=True))


def _load(pairs: list[PemPair]) -> ServerCertificates:
    try:
        return ServerCertificates(pairs)
    except TlsFileError as error:
        variable = "MICROGATEWAY_TLS_KEY" if error.holds_key else "MICROGATEWAY_TLS_CERT"
        raise StartupError(f"{variable}: {error}") from None


def not_listening(prefix: str, host: str, port: int, error: OSError) -> str:
    """Why a port can't be listened on, after the variable at fault: `_HOST` where this machine has no such address."""
    is_the_host = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
    reason = error.strerror if isinstance(error, socket.gaierror) or not error.errno else os.strerror(error.errno)
    return f"{prefix}_{'HOST' if is_the_host else 'PORT'}: can't listen on {host}:{port}: {reason or error}"
