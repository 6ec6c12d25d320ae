"""The services and routes that are configured, as one immutable value."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from microgateway.core.circuit import CircuitPolicy
from microgateway.entities import Route, Service
from microgateway.errors import ConfigurationError, ConflictError, NotFoundError
from microgateway.snapshot import Snapshot

ROUTES_NAMED = 5


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """Services and routes by id, the oldest first."""

    services: Mapping[str, Service] = field(default_factory=dict)
    routes: Mapping[str, Route] = field(default_factory=dict)

    def service(self, service_id: str) -> Service:
        if service_id not in self.services:
            raise NotFoundError("service", service_id)
        return self.services[service_id]

    def route(self, route_id: str) -> Route:
        if route_id not in self.routes:
            raise NotFoundError("route", route_id)
        return self.routes[route_id]

    def check_services(self, wanted: Iterable[str], known: Iterable[str] = ()) -> None:
        """Raises `ConfigurationError` where one is not there and not `known`: a service that a key names may go."""
        unknown = set(wanted) - self.services.keys() - set(known)
        if unknown:
            raise ConfigurationError(f"There is no service with the id {min(unknown)!r}.", field="services")

    def with_service(self, service: Service) -> "RoutingTable":
        return RoutingTable({**self.services, service.id: service}, self.routes)

    def with_route(self, route: Route) -> "RoutingTable":
        if route.service_id not in self.services:
            raise ConfigurationError(f"There is no service with the id {route.service_id!r}.", field="service_id")
        return RoutingTable(self.services, {**self.routes, route.id: route})

    def without_service(self, service_id: str) -> "RoutingTable":
        """Raises `ConflictError` while routes use it."""
        service = self.service(service_id)
        users = [route for route in self.routes.values() if route.service_id == service_id]
        if users:
            raise service_in_use(service, users)
        return RoutingTable({key: value for key, value in self.services.items() if key != service_id}, self.routes)

    def without_route(self, route_id: str) -> "RoutingTable":
        self.route(route_id)
        return RoutingTable(self.services, {key: value for key, value in self.routes.items() if key != route_id})

    def compiled(self, base: Snapshot, defaults: CircuitPolicy) -> Snapshot:
        """`base` with these services and routes."""
        return base.with_table(self.services.values(), self.routes.values(), defaults)


def service_in_use(service: Service, users: list[Route]) -> ConflictError:
    if not users:  # the database knows of routes that this process does not
        return ConflictError(f"The service {service.name!r} is still used by routes.", field="routes")
    names = ", ".join(f"{route.path} ({route.id})" for route in users[:ROUTES_NAMED])
    more = f" and {len(users) - ROUTES_NAMED} more" if len(users) > ROUTES_NAMED else ""
    return ConflictError(f"The service {service.name!r} is still used by the routes {names}{more}.", field="routes")
