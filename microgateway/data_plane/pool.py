"""Connections to upstreams: kept open for the next request, the most recently used first."""

import asyncio
import logging
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from microgateway.core.base_urls import BaseUrl
from microgateway.data_plane.connector import Connector, TlsFailedError
from microgateway.data_plane.problems import UPSTREAM_UNREACHABLE
from microgateway.data_plane.resolver import LookUp, NameNotResolvedError
from microgateway.data_plane.tls_upstream import TlsUpstreamConnection
from microgateway.data_plane.upstream import UpstreamConnection
from microgateway.exchange import Problem
from microgateway.snapshot import Address, Endpoint, UpstreamTls

if TYPE_CHECKING:
    from microgateway.data_plane.forwarding import Forwarding
    from microgateway.data_plane.plane import Plane

UPSTREAM_NAME_NOT_RESOLVED = Problem(
    502,
    "Bad Gateway",
    "upstream_name_not_resolved",
    "proxy",
    "The service behind this route can't be found by its name.",
)
UPSTREAM_TLS_FAILED = Problem(
    502, "Bad Gateway", "upstream_tls_failed", "proxy", "No trusted connection to the service could be made."
)


class Pool:
    """The connections to one place. `opened` counts those that are open or being opened, which is bounded.

    `tls` None: without TLS.
    """

    __slots__ = ("_connecting", "_connector", "_plane", "_refused_because", "_tls", "idle", "opened", "url")

    def __init__(
        self, plane: "Plane", url: BaseUrl, tls: UpstreamTls | None, *, connector: Connector | None = None
    ) -> None:
        self._plane = plane
        self._tls = tls
        self._connector = connector or _connector(plane)
        self._refused_because = ""  # what the log was told last: it is told once
        self._connecting: dict[Forwarding, asyncio.Task[None]] = {}
        self.url = url
        self.idle: dict[UpstreamConnection, None] = {}  # in the order in which they became idle
        self.opened = 0

    def is_full(self) -> bool:
        """Whether there are as many connections as there may be."""
        return self.opened >= self._plane.options.upstream_max_connections

    def take(self) -> UpstreamConnection | None:
        """An idle connection, if there is one.

        One that was reset in this round of the loop is idle until the loop tells that it is lost: it is passed over.
        """
        while self.idle:
            connection = self.idle.popitem()[0]
            if not connection.transport.is_closing():
                return connection
        return None

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
        self.idle.pop(connection, None)
        if connection.is_counted:
            connection.is_counted = False
            self.opened -= 1

    def close_idle(self, unused_since: float) -> None:
        """Closes what has been idle since before this time (monotonic seconds)."""
        for connection in [connection for connection in self.idle if connection.idle_since <= unused_since]:
            connection.close()

    def close_moved(self) -> None:
        """Closes idle connections to addresses that the name no longer resolves to, and has an old name looked up.

        Until a name has been found again, what is open stays: a name server that is away stops nobody.
        """
        addresses = self._connector.resolver.known(self.url.host) if self.opened else ()
        if addresses and self.idle:
            names = {f"{address}:{self.url.port}" for address in addresses}
            for connection in [connection for connection in self.idle if connection.name not in names]:
                connection.close()

    def connecting(self) -> int:
        """How many are being opened."""
        return len(self._connecting)

    async def _connect(self, forwarding: "Forwarding", made: list[UpstreamConnection]) -> None:
        def factory() -> UpstreamConnection:
            kind = UpstreamConnection if self._tls is None else TlsUpstreamConnection
            made.append(kind(self._plane, self))
            return made[-1]

        try:
            await self._connector.connect(self.url, self._tls, factory)
        except (NameNotResolvedError, TlsFailedError) as error:
            self._tell_once(str(error))
            self._failed(
                forwarding,
                made,
                UPSTREAM_TLS_FAILED if isinstance(error, TlsFailedError) else UPSTREAM_NAME_NOT_RESOLVED,
            )
        except OSError:
            self._failed(forwarding, made, UPSTREAM_UNREACHABLE)
        else:
            self._refused_because = ""
            made[-1].connected()
            self.close_moved()  # the name may just have been looked up
            forwarding.connected(made[-1])

    def _failed(self, forwarding: "Forwarding", made: list[UpstreamConnection], problem: Problem) -> None:
        self._not_made(made)
        forwarding.connection_failed(problem)

    def _tell_once(self, reason: str) -> None:
        """The client is not told why; whoever runs the gateway is, once for each reason in a row."""
        if reason != self._refused_because:
            self._refused_because = reason
            logging.getLogger("microgateway.data_plane").warning("upstream %s: %s", self.url.text, reason)

    def _connect_ended(
        self, forwarding: "Forwarding", made: list[UpstreamConnection], task: asyncio.Task[None]
    ) -> None:
        if self._connecting.get(forwarding) is task:  # a failed one's request may be at its next attempt
            del self._connecting[forwarding]
        if task.cancelled():  # perhaps before it had begun, so that it could not give the place back itself
            self._not_made(made)

    def _not_made(self, made: list[UpstreamConnection]) -> None:
        """Gives the place back, unless a connection got as far as giving it back itself.

        A connection may have been made and never be told that it is lost: uvloop does so when a connect is cancelled
        after the one and before it returns.
        """
        if all(connection.is_counted for connection in made):
            self.opened -= 1
        for connection in made:
            connection.is_counted = False
            connection.close()


class Pools:
    """One pool per address, made when it is first needed and dropped when no snapshot names it any more.

    `look_up` takes the place of the system's way to resolve names.
    """

    __slots__ = ("_connector", "_plane", "by_address")

    def __init__(self, plane: "Plane", *, look_up: LookUp | None = None) -> None:
        self._plane = plane
        self.by_address: dict[Address, Pool] = {}
        self._connector = _connector(plane, look_up)

    def of(self, url: Endpoint) -> Pool:
        """The pool of this address, made where there is none."""
        pool = self.by_address.get(url.address)
        if pool is None:
            pool = self.by_address[url.address] = Pool(self._plane, url, url.tls, connector=self._connector)
        return pool

    @property
    def connector(self) -> Connector:
        """How connections are made, for others who need some: names and certificates are remembered in one place."""
        return self._connector

    def __iter__(self) -> Iterator[Pool]:
        return iter(tuple(self.by_address.values()))

    def sweep(self, now: float) -> None:
        """Called at short intervals: closes what nobody needs, and what leads to where nobody should go."""
        unused_since = now - self._plane.options.upstream_idle_timeout
        for pool in self:
            pool.close_idle(unused_since)
            pool.close_moved()

    def renew_files(self, *, only_if_changed: bool) -> None:
        """Reads the files of certificates anew, for connections to come. Blocks, so it belongs in a thread."""
        self._connector.contexts.renew(only_if_changed=only_if_changed)

    def keep_only(self, urls: Collection[Endpoint]) -> None:
        """Forgets pools that nobody can ask for any more; requests in flight keep theirs until they are done."""
        addresses = {url.address for url in urls}
        self._connector.resolver.keep_only(url.host for url in urls)
        self._connector.contexts.keep_only(frozenset(url.tls for url in urls if url.tls is not None))
        for address in [address for address in self.by_address if address not in addresses]:
            pool = self.by_address[address]
            pool.close_idle(self._plane.now())
            if pool.opened == 0:
                del self.by_address[address]

    def close(self) -> None:
        for pool in self:
            pool.close_idle(float("inf"))
        self._connector.resolver.close()


def _connector(plane: "Plane", look_up: LookUp | None = None) -> Connector:
    options = plane.options
    return Connector(now=plane.now, dns_ttl=options.dns_ttl, timeout=options.upstream_connect_timeout, look_up=look_up)
