"""What rate limit rules say of one request: it needs a token from its key's bucket and from every rule's that applies.

Nothing is taken before everything has been asked, so a request that one limit refuses takes nothing from the others,
and whoever waits as long as it was told is admitted. Guards are asked twice for that: before authentication, whether
they would refuse, and then with all others, or alone for a stranger, who is turned away and has used a token up.
"""

from collections.abc import Sequence

from microgateway.core.limit_rules import EVERYBODY, CountBy, LimitRule, Subject, address_subject, value_subject
from microgateway.core.requests import RequestHead
from microgateway.core.token_bucket import NANOSECONDS, Grant
from microgateway.exchange import Judgement, Problem
from microgateway.snapshot import Principal, Rules
from microgateway.state.interfaces import Limiter
from microgateway.state.limits import Claim

_KEY, _ADDRESS, _HEADER, _ALL = CountBy  # names of their own: an enum's members cost a look-up each


Verdict = tuple[Grant | None, Principal | LimitRule | None, tuple[LimitRule, ...]]
"""`grant`, `limited_by` and `shadowed` of a `Judgement`."""
NO_LIMIT: Verdict = (None, None, ())


class Admission:
    """One request before the rules that may apply to it."""

    __slots__ = ("_client_ip", "_guards", "_head", "_limiter", "_now", "_rules")

    def __init__(self, rules: Rules, head: RequestHead, client_ip: str, limiter: Limiter, now: float) -> None:
        self._rules = rules
        self._head = head
        self._client_ip = client_ip
        self._limiter = limiter
        self._now = now
        self._guards = self._claims(rules.guards, None) if rules.guards else []

    def refused_by_guards(self) -> Judgement | None:
        """The judgement where a guard refuses; None where the request may go on to authentication.

        Then nothing is taken yet: what comes after may refuse it.
        """
        guards = self._guards
        if guards:
            grants = self._limiter.peek(guards, self._now)
            if any(guard.enforced and not grant.admitted for (guard, _), grant in zip(guards, grants, strict=True)):
                told, limited_by, shadowed = self._judge(guards)
                if told is not None:
                    return Judgement(too_many(told, limited_by), None, None, told, limited_by, shadowed)
        return None

    def turn_away(self) -> Verdict:
        """Authentication failed: the guards, who are there for that, count it."""
        return self._judge(self._guards)

    def admit(self, principal: Principal | None) -> Verdict:
        """One token from every limit, the key's own among them, or none from any where one refuses."""
        claims = self._guards
        if principal is not None:
            claims = [*claims, (principal, principal.id)]
        if self._rules.others:
            claims = [*claims, *self._claims(self._rules.others, principal)]
        return self._judge(claims)

    def _claims(self, rules: Sequence[LimitRule], principal: Principal | None) -> list[Claim]:
        head = self._head
        return [
            (rule, subject)
            for rule in rules
            if rule.when.takes(head.method, head.path) and (subject := self._subject(rule, principal)) is not None
        ]

    def _subject(self, rule: LimitRule, principal: Principal | None) -> Subject | None:
        """Who is counted, or None where nobody is: then the rule does not apply."""
        count_by = rule.count_by
        if count_by is _KEY:
            return None if principal is None else principal.id
        if count_by is _ADDRESS:
            return address_subject(self._client_ip)
        if count_by is _ALL:
            return EVERYBODY
        value = self._head.header(rule.header)
        return None if value is None else value_subject(value)

    def _judge(self, claims: Sequence[Claim]) -> Verdict:
        """Asks all of them. What the answer tells is the tightest of the verdicts."""
        told: Grant | None = None
        limited_by: Principal | LimitRule | None = None
        shadowed: tuple[LimitRule, ...] = ()
        for (limiting, _), grant in zip(claims, self._limiter.take_all(claims, self._now), strict=True):
            if limiting.enforced:
                if told is None or is_tighter(grant, told):
                    told, limited_by = grant, limiting
            elif not grant.admitted and isinstance(limiting, LimitRule):
                shadowed = (*shadowed, limiting)
        return told, limited_by, shadowed


def is_tighter(one: Grant, other: Grant) -> bool:
    """Whether a client should be told of the first rather than of the second.

    The longest wait among refusals; otherwise the fewest requests left, and then the longest way to a full bucket.
    """
    if one.admitted is not other.admitted:
        return other.admitted
    if not one.admitted:
        return one.retry_after > other.retry_after
    left, other_left = one.remaining, other.remaining
    return left < other_left or (left == other_left and one.reset > other.reset)


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
