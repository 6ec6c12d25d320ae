"""Whether a failed attempt may be repeated, and why or why not.

A request may reach a service twice only when nobody can tell the difference: when it was never sent, or when its method
is idempotent (RFC 9110, 9.2.2) and every byte of it can be sent again. It is repeated only while nothing of an answer
has gone to the client, within the route's retries, its deadline, and the service's retry budget. A budget bounds what a
failing service gets on top of its traffic: without one, every layer of retries multiplies the load of those who can
least bear it.

One case costs the service nothing and so counts against neither retries nor budget: a connection from the pool that
turns out to have been closed by the other side. Such a request is repeated once, on a fresh connection.
"""

from enum import Enum
from typing import Protocol

from microgateway.core.token_bucket import Limit, TokenBucket

IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))  # RFC 9110, 9.2.2
BUDGET = Limit(per_minute=600, burst=20)  # a service's retries: ten a second, twenty at once


class Fault(Enum):
    """How an attempt ended without an answer."""

    NOT_CONNECTED = "not_connected"  # refused, unreachable, or too slow to accept: nothing was sent
    STALE = "stale_connection"  # a reused connection that closed before a byte of an answer
    LOST = "connection_lost"  # closed or reset after the request, or part of it, was sent
    MALFORMED = "malformed_answer"  # what came is not HTTP
    TIMED_OUT = "timed_out"  # nothing came in time


class Verdict(Enum):
    """May it be repeated? The value is the reason, as it stands in records."""

    REPEAT_UNSENT = "repeated: nothing had been sent"
    REPEAT_STALE = "repeated: the pooled connection had gone stale"
    REPEAT_IDEMPOTENT = "repeated: the method is idempotent"
    ANSWER_BEGUN = "not repeated: part of the answer has gone to the client"
    BODY_GONE = "not repeated: the body was not kept"
    NOT_IDEMPOTENT = "not repeated: the method is not idempotent"
    NOT_HTTP = "not repeated: the service answers, but not with HTTP"
    NO_RETRIES_LEFT = "not repeated: no retries left"
    NO_TIME_LEFT = "not repeated: no time left"
    NO_BUDGET_LEFT = "not repeated: the service's retry budget is used up"

    @property
    def repeats(self) -> bool:
        return self in _REPEATS


_REPEATS = frozenset((Verdict.REPEAT_UNSENT, Verdict.REPEAT_STALE, Verdict.REPEAT_IDEMPOTENT))


class Budget(Protocol):
    """What one service may get in retries. `now` is nanoseconds."""

    def spend(self, now: int) -> bool:
        """Takes one retry, if there is one."""
        ...


class RetryBudget:
    """A budget in this process's memory."""

    __slots__ = ("_bucket",)

    def __init__(self, now: int, limit: Limit = BUDGET) -> None:
        self._bucket = TokenBucket(limit, now)

    def spend(self, now: int) -> bool:
        """Takes one retry, if there is one."""
        return self._bucket.take(now).admitted


def judge(
    fault: Fault,
    *,
    method: bytes,
    replayable: bool,
    answer_begun: bool,
    was_stale_before: bool,
    retries_left: int,
    seconds_left: float,
    budget: Budget,
    now: int,
) -> Verdict:
    """The verdict on one failed attempt. Spends one of the budget's retries where it says that it may be repeated."""
    if answer_begun:
        return Verdict.ANSWER_BEGUN
    if fault is Fault.MALFORMED:
        return Verdict.NOT_HTTP
    if not replayable:
        return Verdict.BODY_GONE
    if fault is not Fault.NOT_CONNECTED and method not in IDEMPOTENT:
        return Verdict.NOT_IDEMPOTENT
    if seconds_left <= 0:
        return Verdict.NO_TIME_LEFT
    if fault is Fault.STALE and not was_stale_before:
        return Verdict.REPEAT_STALE
    if retries_left <= 0:
        return Verdict.NO_RETRIES_LEFT
    if not budget.spend(now):
        return Verdict.NO_BUDGET_LEFT
    return Verdict.REPEAT_UNSENT if fault is Fault.NOT_CONNECTED else Verdict.REPEAT_IDEMPOTENT
