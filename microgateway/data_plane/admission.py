"""What rate limit rules ask of one request: a token from its key's bucket, and from that of every rule that applies.

Nothing is taken before everything has been asked, so a request that one limit refuses takes nothing from the others,
and whoever waits as long as it was told is admitted. Guards are asked twice for that: before authentication, whether
they would refuse, and then with all others, or alone for a stranger, who is turned away and has used a token up.
"""

from collections.abc import Iterable, Sequence

from microgateway.core.limit_rules import EVERYBODY, CountBy, LimitRule, Subject, address_subject, value_subject
from microgateway.core.requests import RequestHead
from microgateway.core.token_bucket import NANOSECONDS, Grant
from microgateway.exchange import Decision, Judgement, Problem
from microgateway.snapshot import Principal, Rules
from microgateway.state.interfaces import Limiter
from microgateway.state.limits import Claim, Limiting, Told

_KEY, _ADDRESS, _HEADER, _ = CountBy  # names of their own: an enum's members cost a look-up each

NO_LIMIT: Told = (None, None, ())


def guard_claims(rules: Rules, head: RequestHead, client_ip: str) -> list[Claim]:
    """The buckets of those rules that speak before anybody knows who it is."""
    claims: list[Claim] = []
    _add_claims(claims, rules.guards, head, client_ip, None)
    return claims


def all_claims(
    guards: Sequence[Claim], rules: Rules, head: RequestHead, client_ip: str, principal: Principal | None
) -> list[Claim]:
    """All buckets that the request needs a token from: the guards', its key's own, and those of the other rules."""
    claims = [*guards]
    if principal is not None:
        claims.append((principal, principal.id))
    _add_claims(claims, rules.others, head, client_ip, principal)
    return claims


def refused_by(guards: Sequence[Claim], limiter: Limiter, now: float) -> Decision | None:
    """The decision where a guard refuses; None where the request may go on to authentication.

    Then nothing is taken yet: what comes after may refuse it.
    """
    grants = limiter.peek(guards, now)
    if all(grant.admitted or not guard.enforced for (guard, _), grant in zip(guards, grants, strict=True)):
        return None
    grant, limited_by, shadowed = judge(guards, limiter, now)
    if grant is None or grant.admitted:  # a moment has passed, in which another process may have looked, too
        return None
    return Judgement(too_many(grant, limited_by), None, None, limited_by, shadowed), grant.level


def judge(claims: Sequence[Claim], limiter: Limiter, now: float) -> Told:
    """One token from every limit, or none from any where one refuses. Told is the tightest of the verdicts."""
    told: Grant | None = None
    limited_by: Limiting | None = None
    shadowed: tuple[LimitRule, ...] = ()
    for (limiting, _), grant in zip(claims, limiter.take_all(claims, now), strict=True):
        if limiting.enforced:
            if told is None or is_tighter(grant, told):
                told, limited_by = grant, limiting
        elif not grant.admitted and isinstance(limiting, LimitRule):
            shadowed = (*shadowed, limiting)
    return told, limited_by, shadowed


def is_tighter(one: Grant, other: Grant) -> bool:
    """Whether a client should be told of the first rather than of the second.

    The longest wait among refusals: whoever waits that long passes all of them. Otherwise the fewest requests left, and
    then the longest way to a full bucket.
    """
    if one.admitted is not other.admitted:
        return other.admitted
    if not one.admitted:
        return one.retry_after > other.retry_after
    left, other_left = one.remaining, other.remaining
    return left < other_left or (left == other_left and one.reset > other.reset)


def _add_claims(
    claims: list[Claim], rules: Iterable[LimitRule], head: RequestHead, client_ip: str, principal: Principal | None
) -> None:
    for rule in rules:
        when = rule.when
        if when is not None and not when.takes(head.method, head.path):
            continue
        subject: Subject | None
        count_by = rule.count_by
        if count_by is _ADDRESS:
            subject = address_subject(client_ip)
        elif count_by is _HEADER:
            value = head.header(rule.header)
            subject = None if value is None else value_subject(value)
        elif count_by is _KEY:
            subject = None if principal is None else principal.id
        else:
            subject = EVERYBODY
        if subject is not None:
            claims.append((rule, subject))


def too_many(grant: Grant, limited_by: Principal | LimitRule | None) -> Problem:
    """The answer to a request that a limit refuses."""
    seconds = -(-grant.retry_after // NANOSECONDS)  # rounded up: whoever waits that long has waited long enough
    limit = f"The limit {limited_by.name!r}" if isinstance(limited_by, LimitRule) else "The limit"
    return Problem(
        429,
        "Too Many Requests",
        "rate_limited",
        "rate_limit",
        f"{limit} of {grant.limit.per_minute} requests per minute is used up; one more is admitted in {seconds} s.",
        b"Retry-After: %d\r\n" % seconds,
    )
