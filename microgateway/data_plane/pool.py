"""Connections to upstreams: kept open for the next request, the most recently used first."""

import asyncio
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING

from microgateway.core.base_urls import BaseUrl
from microgateway.data_plane.problems import UPSTREAM_UNREACHABLE
from microgateway.data_plane.upstream import UpstreamConnection

if TYPE_CHECKING:
    from microgateway.data_plane.forwarding import Forwarding
    from microgateway.data_plane.plane import Plane

Address = tuple[str, str, int]


class Pool:
    """The connections to one address. `opened` counts those that are open or being opened, which is bounded."""

    __slots__ = ("_connecting", "_plane", "_tls", "idle", "opened", "url")

    def __init__(self, plane: "Plane", url: BaseUrl, tls: ssl.SSLContext | None) -> None:
        self._plane = plane
        self._tls = tls
        self._connecting: dict[Forwarding, asyncio.Task[None]] = {}
        self.url = url
        self.idle: dict[UpstreamConnection, None] = {}  # in the order in which they became idle
        self.opened = 0

    def is_full(self) -> bool:
        return self.opened >= self._plane.options.upstream_max_connections

    def connect(self, forwarding: "Forwarding") -> None:
        """Opens a connection for this request, which is told when it is there or why it can't be."""
        self.opened += 1
        made: list[UpstreamConnection] = []
        task = asyncio.get_running_loop().create_task(self._connect(forwarding, made))
        self._connecting[forwarding] = task
        task.add_done_callback(lambda task: self._connect_ended(forwarding, made, task))

    def cancel(self, forwarding: "Forwarding") -> None:
        """The request no longer wants the connection that is being opened for it."""
        task = self._connecting.get(forwarding)
        if task is not None:
            task.cancel()

    def gone(self, connection: UpstreamConnection) -> None:
        """A connection was closed, by whomever."""
        self.opened -= 1
        self.idle.pop(connection, None)

    def close_idle(self, unused_since: float) -> None:
        """Closes what has been idle since before this time (monotonic seconds)."""
        for connection in [connection for connection in self.idle if connection.idle_since <= unused_since]:
            connection.close()

    def connecting(self) -> int:
        return len(self._connecting)

    async def _connect(self, forwarding: "Forwarding", made: list[UpstreamConnection]) -> None:
        loop = asyncio.get_running_loop()

        def factory() -> UpstreamConnection:
            made.append(UpstreamConnection(self._plane, self))
            return made[-1]

        try:
            await loop.create_connection(
                factory,
                self.url.host,
                self.url.port,
                ssl=self._tls,
                server_hostname=self.url.host if self._tls else None,
            )
        except (OSError, UnicodeError):  # UnicodeError: a host that can't be a name in the DNS
            self._not_made(made)
            forwarding.connection_failed(UPSTREAM_UNREACHABLE)
        else:
            made[-1].connected()
            forwarding.connected(made[-1])

    def _connect_ended(
        self, forwarding: "Forwarding", made: list[UpstreamConnection], task: asyncio.Task[None]
    ) -> None:
        if self._connecting.get(forwarding) is task:  # a failed one's request may be at its next attempt
            del self._connecting[forwarding]
        if task.cancelled():  # perhaps before it had begun, so that it could not give the place back itself
            self._not_made(made)

    def _not_made(self, made: list[UpstreamConnection]) -> None:
        """Gives the place back, unless a connection got as far as giving it back itself."""
        if not any(connection.was_made for connection in made):
            self.opened -= 1
        for connection in made:
            connection.close()


class Pools:
    """One pool per address, made when it is first needed and dropped when no snapshot names it any more."""

    __slots__ = ("_by_address", "_plane", "_tls")

    def __init__(self, plane: "Plane") -> None:
        self._plane = plane
        self._by_address: dict[Address, Pool] = {}
        self._tls: ssl.SSLContext | None = None

    def of(self, url: BaseUrl) -> Pool:
        address = (url.scheme, url.host, url.port)
        pool = self._by_address.get(address)
        if pool is None:
            pool = self._by_address[address] = Pool(
                self._plane, url, self._context() if url.scheme == "https" else None
            )
        return pool

    def __iter__(self) -> Iterator[Pool]:
        return iter(tuple(self._by_address.values()))

    def keep_only(self, addresses: set[Address]) -> None:
        """Forgets pools that nobody can ask for any more; requests in flight keep theirs until they are done."""
        for address in [address for address in self._by_address if address not in addresses]:
            pool = self._by_address[address]
            pool.close_idle(self._plane.now())
            if pool.opened == 0:
                del self._by_address[address]

    def close(self) -> None:
        for pool in self:
            pool.close_idle(float("inf"))

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls
