"""The services, routes and rate limit rules that are configured, as one immutable value."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from microgateway.core.circuit import CircuitPolicy
from microgateway.entities import RateLimitRule, Route, Service
from microgateway.errors import ConfigurationError, ConflictError, NotFoundError
from microgateway.snapshot import Snapshot

T = TypeVar("T")
NAMED = 5


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """Services, routes and rate limit rules by id, the oldest first.

    `ages` say which of two routes is older, the lower; a route that is made is given `next_age`.
    """

    services: Mapping[str, Service] = field(default_factory=dict)
    routes: Mapping[str, Route] = field(default_factory=dict)
    rate_limits: Mapping[str, RateLimitRule] = field(default_factory=dict)
    ages: Mapping[str, int] = field(default_factory=dict)
    next_age: int = 0

    @classmethod
    def of(
        cls,
        services: Mapping[str, Service],
        routes: Mapping[str, Route],
        rate_limits: Mapping[str, RateLimitRule],
    ) -> "RoutingTable":
        """All of them, as they are read from the database. What names another one has been checked."""
        ages = {route_id: age for age, route_id in enumerate(routes)}
        return cls(services, routes, rate_limits, ages, len(ages))

    def service(self, service_id: str) -> Service:
        """Raises `NotFoundError`."""
        if service_id not in self.services:
            raise NotFoundError("service", service_id)
        return self.services[service_id]

    def route(self, route_id: str) -> Route:
        """Raises `NotFoundError`."""
        if route_id not in self.routes:
            raise NotFoundError("route", route_id)
        return self.routes[route_id]

    def rate_limit(self, rule_id: str) -> RateLimitRule:
        """Raises `NotFoundError`."""
        if rule_id not in self.rate_limits:
            raise NotFoundError("rate limit rule", rule_id)
        return self.rate_limits[rule_id]

    def check_services(self, wanted: Iterable[str], known: Iterable[str] = ()) -> None:
        """Raises `ConfigurationError` where one is not there and not `known`: a service that a key names may go."""
        unknown = set(wanted) - self.services.keys() - set(known)
        if unknown:
            raise ConfigurationError(f"There is no service with the id {min(unknown)!r}.", field="services")

    def check_route(self, route: Route) -> None:
        """Raises `ConfigurationError` where its service is not there."""
        if route.service_id not in self.services:
            raise ConfigurationError(f"There is no service with the id {route.service_id!r}.", field="service_id")

    def check_rate_limit(self, rule: RateLimitRule) -> None:
        """Raises `ConfigurationError` where what it names is not there."""
        if rule.route_id is not None and rule.route_id not in self.routes:
            raise ConfigurationError(f"There is no route with the id {rule.route_id!r}.", field="route_id")
        if rule.service_id is not None and rule.service_id not in self.services:
            raise ConfigurationError(f"There is no service with the id {rule.service_id!r}.", field="service_id")

    def with_service(self, service: Service) -> "RoutingTable":
        """New, or in place of what it was."""
        return replace(self, services={**self.services, service.id: service})

    def with_route(self, route: Route) -> "RoutingTable":
        """New, or in place of what it was. Raises `ConfigurationError` where its service is not there."""
        self.check_route(route)
        changed = replace(self, routes={**self.routes, route.id: route})
        if route.id in self.ages:
            return changed
        return replace(changed, ages={**self.ages, route.id: self.next_age}, next_age=self.next_age + 1)

    def without_service(self, service_id: str) -> "RoutingTable":
        """Raises `ConflictError` while routes use it."""
        service = self.service(service_id)
        users = [route for route in self.routes.values() if route.service_id == service_id]
        if users:
            raise service_in_use(service, users)
        limits = [rule for rule in self.rate_limits.values() if rule.service_id == service_id]
        if limits:
            raise _limited(f"service {service.name!r}", limits)
        return replace(self, services=_without(self.services, service_id))

    def without_route(self, route_id: str) -> "RoutingTable":
        """Raises `ConflictError` while rate limit rules name it."""
        route = self.route(route_id)
        users = [rule for rule in self.rate_limits.values() if rule.route_id == route_id]
        if users:
            raise route_in_use(route, users)
        return replace(self, routes=_without(self.routes, route_id), ages=_without(self.ages, route_id))

    def with_rate_limit(self, rule: RateLimitRule) -> "RoutingTable":
        """New, or in place of what it was. Raises `ConfigurationError` where what it names is not there."""
        self.check_rate_limit(rule)
        return replace(self, rate_limits={**self.rate_limits, rule.id: rule})

    def without_rate_limit(self, rule_id: str) -> "RoutingTable":
        """Raises `NotFoundError`."""
        self.rate_limit(rule_id)
        return replace(self, rate_limits=_without(self.rate_limits, rule_id))

    def compiled(self, base: Snapshot, defaults: CircuitPolicy) -> Snapshot:
        """`base` with these services, routes and rate limit rules."""
        return base.with_table(self.services.values(), self.routes.values(), defaults, self.rate_limits.values())


def _without(those: Mapping[str, T], key: str) -> Mapping[str, T]:
    kept = dict(those)
    del kept[key]
    return kept


def route_in_use(route: Route, users: list[RateLimitRule]) -> ConflictError:
    """Why a route can't be deleted. Without `users` the database knows of some."""
    return _limited(f"route {route.path}", users)


def _limited(what: str, users: list[RateLimitRule]) -> ConflictError:
    if not users:  # the database knows of rules that this process does not
        return ConflictError(f"The {what} is still named by rate limit rules.", field="rate_limits")
    names = ", ".join(f"{rule.name!r} ({rule.id})" for rule in users[:NAMED])
    more = f" and {len(users) - NAMED} more" if len(users) > NAMED else ""
    return ConflictError(f"The {what} is still named by the rate limit rules {names}{more}.", field="rate_limits")


def service_in_use(service: Service, users: list[Route]) -> ConflictError:
    """Why a service can't be deleted. Without `users` the database knows of some."""
    if not users:  # the database knows of some that this process does not
        return ConflictError(
            f"The service {service.name!r} is still used by routes or rate limit rules.", field="routes"
        )
    names = ", ".join(f"{route.path} ({route.id})" for route in users[:NAMED])
    more = f" and {len(users) - NAMED} more" if len(users) > NAMED else ""
    return ConflictError(f"The service {service.name!r} is still used by the routes {names}{more}.", field="routes")
