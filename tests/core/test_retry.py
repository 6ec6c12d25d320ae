"""Whether a failed attempt may be repeated: each reason by example, and what holds for all of them."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgateway.core.retry import BUDGET, IDEMPOTENT, Fault, RetryBudget, Verdict, judge
from microgateway.core.token_bucket import NANOSECONDS

SECOND = NANOSECONDS


@dataclass(frozen=True)
class Attempt:
    """A failed attempt that may be repeated, unless a test says otherwise."""

    fault: Fault = Fault.LOST
    method: bytes = b"GET"
    replayable: bool = True
    answer_begun: bool = False
    was_stale_before: bool = False
    retries_left: int = 1
    seconds_left: float = 10.0

    def judged(self, budget: RetryBudget | None = None, now: int = 0) -> Verdict:
        return judge(
            self.fault,
            method=self.method,
            replayable=self.replayable,
            answer_begun=self.answer_begun,
            was_stale_before=self.was_stale_before,
            retries_left=self.retries_left,
            seconds_left=self.seconds_left,
            budget=budget or RetryBudget(now),
            now=now,
        )


ATTEMPTS = st.builds(
    Attempt,
    fault=st.sampled_from(Fault),
    method=st.sampled_from((*sorted(IDEMPOTENT), b"POST", b"PATCH", b"LOCK")),
    replayable=st.booleans(),
    answer_begun=st.booleans(),
    was_stale_before=st.booleans(),
    retries_left=st.integers(-1, 3),
    seconds_left=st.floats(-1, 10),
)


@pytest.mark.parametrize(
    ("attempt", "verdict"),
    [
        (Attempt(), Verdict.REPEAT_IDEMPOTENT),
        (Attempt(fault=Fault.TIMED_OUT), Verdict.REPEAT_IDEMPOTENT),
        (Attempt(fault=Fault.NOT_CONNECTED), Verdict.REPEAT_UNSENT),
        (Attempt(fault=Fault.NOT_CONNECTED, method=b"POST"), Verdict.REPEAT_UNSENT),
        (Attempt(fault=Fault.STALE, retries_left=0), Verdict.REPEAT_STALE),
        (Attempt(fault=Fault.STALE, retries_left=0, was_stale_before=True), Verdict.NO_RETRIES_LEFT),
        (Attempt(fault=Fault.STALE, method=b"POST"), Verdict.NOT_IDEMPOTENT),
        (Attempt(method=b"POST"), Verdict.NOT_IDEMPOTENT),
        (Attempt(method=b"get"), Verdict.NOT_IDEMPOTENT),
        (Attempt(answer_begun=True), Verdict.ANSWER_BEGUN),
        (Attempt(replayable=False), Verdict.BODY_GONE),
        (Attempt(fault=Fault.MALFORMED), Verdict.NOT_HTTP),
        (Attempt(retries_left=0), Verdict.NO_RETRIES_LEFT),
        (Attempt(fault=Fault.NOT_CONNECTED, retries_left=0), Verdict.NO_RETRIES_LEFT),
        (Attempt(seconds_left=0.0), Verdict.NO_TIME_LEFT),
        (Attempt(seconds_left=0.1), Verdict.REPEAT_IDEMPOTENT),
    ],
)
def test_each_reason(attempt: Attempt, verdict: Verdict) -> None:
    assert attempt.judged() is verdict


def test_a_service_gets_no_more_than_its_budget() -> None:
    budget = RetryBudget(0)
    verdicts = [Attempt().judged(budget) for _ in range(BUDGET.burst + 5)]
    assert verdicts == [Verdict.REPEAT_IDEMPOTENT] * BUDGET.burst + [Verdict.NO_BUDGET_LEFT] * 5
    assert Attempt().judged(budget, now=SECOND).repeats


def test_a_stale_connection_costs_no_budget() -> None:
    budget = RetryBudget(0)
    for _ in range(10 * BUDGET.burst):
        assert Attempt(fault=Fault.STALE).judged(budget) is Verdict.REPEAT_STALE
    assert Attempt().judged(budget) is Verdict.REPEAT_IDEMPOTENT


@given(ATTEMPTS)
def test_nobody_can_tell_that_a_request_was_repeated(attempt: Attempt) -> None:
    if attempt.judged().repeats:
        assert not attempt.answer_begun
        assert attempt.replayable
        assert attempt.seconds_left > 0
        assert attempt.fault is Fault.NOT_CONNECTED or attempt.method in IDEMPOTENT
        assert attempt.retries_left > 0 or attempt.fault is Fault.STALE


@given(ATTEMPTS)
def test_a_refusal_spends_nothing(attempt: Attempt) -> None:
    budget = RetryBudget(0)
    if not attempt.judged(budget).repeats:
        left = [replace(Attempt()).judged(budget).repeats for _ in range(BUDGET.burst)]
        assert all(left)
