"""The other side of the gateway's connections to services: the data plane's own pools, but for the sockets."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from microgateway.core.base_urls import BaseUrl
from microgateway.data_plane.plane import Plane
from microgateway.data_plane.pool import Pool, Pools
from microgateway.data_plane.upstream import UpstreamConnection
from microgateway.simulation.wires import Wire
from microgateway.simulation.worlds import World
from microgateway.snapshot import Address, Endpoint

if TYPE_CHECKING:
    from microgateway.data_plane.forwarding import Forwarding

OUR_ADDRESS = ("127.0.0.1", 0)


class WireConnection(UpstreamConnection):
    """A connection that ends at a `Service`."""

    __slots__ = ("_heard", "_service", "wire")

    def __init__(self, plane: Plane, pool: "WirePool", service: "Service", world: World, place: BaseUrl) -> None:
        super().__init__(plane, pool)
        self._service = service
        self._heard = 0
        self.wire = Wire(world, peer=(place.host, place.port), here=OUR_ADDRESS, heard=self._hear)
        self.wire.protocol = self

    def _hear(self, data: bytes) -> None:
        """The first that is written of a request is its head; its body does not matter here."""
        if self._heard != self.requests:
            self._heard = self.requests
            self._service.asked(self, data)


class Service(Protocol):
    """What answers at the other end."""

    def asked(self, connection: WireConnection, head: bytes) -> None:
        """A request's head has come."""
        ...


ServiceAt = Callable[[Endpoint], Service]


class WirePool(Pool):
    """The connections to one place."""

    __slots__ = ("_plane_of_pool", "_service", "_waiting", "_world")

    def __init__(self, plane: Plane, url: Endpoint, pools: "WirePools", world: World, service: Service) -> None:
        super().__init__(plane, url, url.tls, connector=pools.connector)
        self._plane_of_pool = plane
        self._world = world
        self._service = service
        self._waiting: dict[Forwarding, None] = {}

    def connect(self, forwarding: "Forwarding") -> None:
        self.opened += 1
        self._waiting[forwarding] = None
        self._world.later(0.0, lambda: self._establish(forwarding))

    def cancel(self, forwarding: "Forwarding") -> None:
        if forwarding in self._waiting:
            del self._waiting[forwarding]
            self.opened -= 1

    def connecting(self) -> int:
        return len(self._waiting)

    def _establish(self, forwarding: "Forwarding") -> None:
        if forwarding not in self._waiting:
            return
        del self._waiting[forwarding]
        connection = WireConnection(self._plane_of_pool, self, self._service, self._world, self.url)
        connection.connection_made(connection.wire)
        connection.connected()
        forwarding.connected(connection)


class WirePools(Pools):
    """One pool per address, with what `service_at` says behind it."""

    __slots__ = ("_places", "_plane_of_pools", "_service_at", "_world")

    def __init__(self, plane: Plane, world: World, service_at: ServiceAt) -> None:
        super().__init__(plane)
        self._plane_of_pools = plane
        self._world = world
        self._service_at = service_at
        self._places: dict[Address, WirePool] = {}

    def of(self, url: Endpoint) -> WirePool:
        pool = self._places.get(url.address)
        if pool is None:
            service = self._service_at(url)
            pool = self._places[url.address] = WirePool(self._plane_of_pools, url, self, self._world, service)
        return pool

    def sweep(self, now: float) -> None:
        unused_since = now - self._plane_of_pools.options.upstream_idle_timeout
        for pool in tuple(self._places.values()):
            pool.close_idle(unused_since)
