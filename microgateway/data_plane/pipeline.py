"""The gateway's judgement: may this request pass, where does it go, is the service trusted. One straight line, no I/O,
no clock.

The answers keep the order 401, 429, 404/405, 503, though the route is looked up first: a public route needs no key, and
a stranger is told nothing about routes.
"""

import math

from microgateway.core.circuit import Permit, Refusal
from microgateway.core.requests import RequestHead
from microgateway.core.routing import NotRouted
from microgateway.core.token_bucket import NANOSECONDS, Grant
from microgateway.data_plane.authentication import Authentication
from microgateway.exchange import Judgement, Problem
from microgateway.snapshot import Destination, Principal, Snapshot, Upstream
from microgateway.state.memory import MemoryCircuits, MemoryLimiter, MemoryRetryBudgets

NO_ROUTE = Problem(404, "Not Found", "route_not_found", "router", "No route takes this path.")
SERVICE_DISABLED = Problem(
    503, "Service Unavailable", "service_disabled", "router", "The service behind this route is switched off."
)


class State:
    """What judgement shares among requests."""

    __slots__ = ("authentication", "circuits", "limiter", "retry_budgets")

    def __init__(
        self, limiter: MemoryLimiter, circuits: MemoryCircuits, authentication: Authentication | None = None
    ) -> None:
        self.authentication = authentication or Authentication()
        self.limiter = limiter
        self.circuits = circuits
        self.retry_budgets = MemoryRetryBudgets()


def decide(head: RequestHead, snapshot: Snapshot, state: State, now: float, wall: float) -> Judgement:
    """The judgement on one request at `now` (monotonic seconds), which is `wall` seconds since the epoch.

    A permit in the outcome is the caller's to give back, exactly once.
    """
    match = snapshot.routes.match(head.method, head.host, head.path)
    if isinstance(match, Destination) and not match.auth_required:
        return Judgement(_trust(match.upstream, state.circuits, now), None, None, match)
    principal = state.authentication.authenticate(head.section, snapshot.keys, wall)
    if not isinstance(principal, Principal):
        return Judgement(principal)
    grant = state.limiter.take(principal.id, principal.limit, now)
    if not grant.admitted:
        return Judgement(_too_many(grant), principal, grant)
    if isinstance(match, NotRouted):
        return Judgement(_not_routed(match), principal, grant)
    return Judgement(_trust(match.upstream, state.circuits, now), principal, grant, match)


def whole_seconds(nanoseconds: int) -> int:
    """Seconds, rounded up: whoever waits that long has waited long enough."""
    return -(-nanoseconds // NANOSECONDS)


def _trust(upstream: Upstream, circuits: MemoryCircuits, now: float) -> Permit | Problem:
    if not upstream.enabled:
        return SERVICE_DISABLED
    permit = circuits.of(upstream.id, upstream.circuit, now).try_acquire(now)
    return _open_circuit(permit) if isinstance(permit, Refusal) else permit


def _too_many(grant: Grant) -> Problem:
    seconds = whole_seconds(grant.retry_after)
    return Problem(
        429,
        "Too Many Requests",
        "rate_limited",
        "rate_limit",
        f"The limit of {grant.limit.per_minute} requests per minute is used up; one more is admitted in {seconds} s.",
        b"Retry-After: %d\r\n" % seconds,
    )


def _not_routed(miss: NotRouted) -> Problem:
    if not miss.allowed:
        return NO_ROUTE
    methods = b", ".join(miss.allowed)
    detail = f"The routes for this path take {methods.decode()}."
    return Problem(405, "Method Not Allowed", "method_not_allowed", "router", detail, b"Allow: %b\r\n" % methods)


def _open_circuit(refusal: Refusal) -> Problem:
    seconds = max(1, math.ceil(refusal.retry_after))
    detail = f"The service has failed too often; it is asked again in {seconds} s."
    return Problem(
        503, "Service Unavailable", "circuit_open", "circuit_breaker", detail, b"Retry-After: %d\r\n" % seconds
    )
