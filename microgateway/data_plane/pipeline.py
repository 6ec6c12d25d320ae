"""The gateway's judgement: may this request pass, where does it go, is the service trusted. One straight line, no I/O,
no clock.

The answers keep the order 401, 429, 404/405, 403, 503, though the route is looked up first: a public route needs no
key, and a stranger is told nothing about routes.
"""

import math
from collections.abc import Sequence

from microgateway.core.circuit import Permit, Refusal
from microgateway.core.requests import RequestHead
from microgateway.core.routing import UNKNOWN_PATH, NotRouted
from microgateway.data_plane.admission import NO_LIMIT, all_claims, guard_claims, judge, refused_by, too_many
from microgateway.data_plane.authentication import Authentication
from microgateway.data_plane.gates import stopped_at
from microgateway.data_plane.standing import Judgements, Standing
from microgateway.exchange import Decision, Judgement, Postponed, Problem
from microgateway.snapshot import CompiledRoute, Destination, Principal, Snapshot
from microgateway.state.interfaces import Circuits, Limiter, RetryBudgets
from microgateway.state.limits import Claim
from microgateway.state.memory import MemoryRetryBudgets
from microgateway.state.targets import MemoryTargets

NO_ROUTE = Problem(404, "Not Found", "route_not_found", "router", "No route takes this path.")
SERVICE_NOT_ALLOWED = Problem(
    403, "Forbidden", "service_not_allowed", "auth", "This key may not use the service behind this route."
)
SERVICE_DISABLED = Problem(
    503, "Service Unavailable", "service_disabled", "router", "The service behind this route is switched off."
)


class State:
    """What judgement shares among requests."""

    __slots__ = ("authentication", "circuits", "judgements", "limiter", "retry_budgets", "targets")

    def __init__(
        self,
        limiter: Limiter,
        circuits: Circuits,
        authentication: Authentication | None = None,
        targets: MemoryTargets | None = None,
        retry_budgets: RetryBudgets | None = None,
    ) -> None:
        self.authentication = authentication or Authentication()
        self.limiter = limiter
        self.circuits = circuits
        self.retry_budgets = retry_budgets or MemoryRetryBudgets()
        self.targets = targets or MemoryTargets()
        self.judgements = Judgements()


def decide(head: RequestHead, client_ip: str, snapshot: Snapshot, state: State, now: float, wall: float) -> Decision:
    """The judgement on one request at `now` (monotonic seconds), which is `wall` seconds since the epoch.

    A permit in the outcome is the caller's to give back, exactly once.
    """
    standing: Standing | None = head.standing
    if standing is None or standing.snapshot is not snapshot or wall >= standing.until:
        found = snapshot.routes.match(head.method, head.host, head.path, head)
        standing = head.section.standing
        if (
            standing is None
            or standing.snapshot is not snapshot
            or wall >= standing.until
            or isinstance(found, NotRouted)
            or not standing.is_for(head, snapshot.destinations[found])
        ):
            return _judge(found, head, client_ip, snapshot, state, now, wall)
        head.standing = standing
    told = state.limiter.take_again(standing.claims, now)
    if told is None:
        found = snapshot.routes.match(head.method, head.host, head.path, head)
        return _judge(found, head, client_ip, snapshot, state, now, wall)
    level, limited_by = told
    permit = standing.circuit.try_acquire(now)
    judgement = standing.judgement
    if permit is judgement.outcome and limited_by is judgement.limited_by:
        return judgement, level
    if isinstance(permit, Refusal):
        return Judgement(_open_circuit(permit), judgement.principal, judgement.destination, limited_by), level
    standing.judgement = state.judgements.of(permit, judgement.principal, standing.destination, limited_by)
    return standing.judgement, level


def _judge(  # noqa: C901  the straight line: a question after the other, and none that costs a call
    found: CompiledRoute | NotRouted,
    head: RequestHead,
    client_ip: str,
    snapshot: Snapshot,
    state: State,
    now: float,
    wall: float,
) -> Decision:
    """The straight line behind the router."""
    miss, match = UNKNOWN_PATH, None
    if isinstance(found, NotRouted):
        miss, rules = found, snapshot.unrouted_rules
    else:
        match = snapshot.destinations[found]
        rules = match.rules
    guards: Sequence[Claim] = ()
    claims: Sequence[Claim] = ()
    if rules is not None and rules.guards:
        guards = guard_claims(rules, head, client_ip)
        if (refused := refused_by(guards, state.limiter, now)) is not None:
            return refused
    principal: Principal | None = None
    if match is None or match.auth_required:
        who = state.authentication.authenticate(head.section, snapshot.keys, wall)
        if not isinstance(who, Principal):
            return _not_recognised(who, guards, state.limiter, now)
        principal = who
    if rules is not None:
        claims = all_claims(guards, rules, head, client_ip, principal)
        grant, limited_by, shadowed = judge(claims, state.limiter, now)
    elif principal is not None:
        claims = ((principal, principal.id),)
        grant, limited_by, shadowed = state.limiter.take(principal.id, principal.limit, now), principal, ()
    else:
        grant, limited_by, shadowed = NO_LIMIT
    level = 0 if grant is None else grant.level
    if grant is not None and not grant.admitted:
        return Judgement(too_many(grant, limited_by), principal, None, limited_by, shadowed), level
    if match is None:
        return Judgement(_not_routed(miss), principal, None, limited_by, shadowed), level
    if principal is not None and principal.services is not None and match.upstream.id not in principal.services:
        return Judgement(SERVICE_NOT_ALLOWED, principal, match, limited_by, shadowed), level
    outcome = _trust(match, head, client_ip, state.circuits, now)
    if isinstance(outcome, Problem):
        return Judgement(outcome, principal, match, limited_by, shadowed), level
    judgement = state.judgements.of(outcome, principal, match, limited_by)
    section = head.section
    if section.was_judged:  # most come once only
        held = state.limiter.hold(claims)
        head.standing = section.standing = Standing(head, snapshot, match, judgement, held, outcome.circuit)
    section.was_judged = True
    return (Judgement(outcome, principal, match, limited_by, shadowed) if shadowed else judgement), level


def _not_recognised(who: Problem | Postponed, guards: Sequence[Claim], limiter: Limiter, now: float) -> Decision:
    """Guards count a stranger. Of a request that is going to be judged again, nothing is taken yet."""
    if isinstance(who, Postponed):
        return Judgement(who), 0
    grant, limited_by, shadowed = judge(guards, limiter, now)
    return Judgement(who, None, None, limited_by, shadowed), 0 if grant is None else grant.level


def _trust(
    destination: Destination, head: RequestHead, client_ip: str, circuits: Circuits, now: float
) -> Permit | Problem:
    gate, upstream = destination.gate, destination.upstream
    if gate is not None and (stopped := stopped_at(gate, head, client_ip)) is not None:
        return stopped
    if not upstream.enabled:
        return SERVICE_DISABLED
    permit = circuits.of(upstream.id, upstream.circuit, now).try_acquire(now)
    return _open_circuit(permit) if isinstance(permit, Refusal) else permit


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
