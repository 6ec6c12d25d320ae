"""What was seen of limits and routes, in an operator's units."""

import math

from microgateway.control_plane.gateway_requests import LimitReading, RouteCandidate
from microgateway.core.token_bucket import NANOSECONDS, TOKEN
from microgateway.simulation.candidates import Candidate
from microgateway.simulation.watching import LimitSeen
from microgateway.snapshot import Principal


def limit_reading(seen: LimitSeen, principal: Principal | None) -> LimitReading:
    """One bucket, in tokens and seconds."""
    rule, grant = seen.rule, seen.grant
    limit = grant.limit
    missing = TOKEN - grant.level % TOKEN
    is_full = grant.level >= limit.capacity
    subject = seen.subject if isinstance(seen.subject, str) else seen.subject.decode("latin-1")
    own_name = "" if principal is None else principal.name
    return LimitReading(
        rule_id=None if rule is None else rule.id,
        name=own_name if rule is None else rule.name,
        counted_as=subject,
        enforced=seen.is_enforced,
        before_auth=rule is not None and rule.before_auth,
        requests_per_minute=limit.per_minute,
        burst_size=limit.burst,
        admitted=grant.admitted,
        tokens_before=round(seen.before / TOKEN, 6),
        tokens_after=round(grant.level / TOKEN, 6),
        next_token_seconds=None if is_full else math.ceil(missing / limit.per_minute / 1_000) / 1e6,
        retry_after_seconds=grant.retry_after / NANOSECONDS,
    )


def candidate_reading(candidate: Candidate) -> RouteCandidate:
    """One route, as an operator has configured it."""
    rule = candidate.rule
    return RouteCandidate(
        route_id=rule.target.id,
        path=rule.target.path,
        match=rule.pattern.match,
        methods=[_text(method) for method in rule.methods],
        hosts=[_text(host) for host in rule.hosts],
        priority=rule.priority,
        service_id=rule.target.service_id,
        preflight=candidate.is_preflight,
        chosen=candidate.chosen,
        failed=list(candidate.failed),
    )


def _text(octets: bytes) -> str:
    return octets.decode("latin-1")
