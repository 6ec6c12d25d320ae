"""The parts that judge: token bucket and circuit breaker, by example and by property."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from microgateway.core.circuit import Circuit, CircuitPolicy, CircuitState, Permit, Refusal, Transition
from microgateway.core.outcome_window import OutcomeWindow
from microgateway.core.token_bucket import NANOSECONDS, Limit, TokenBucket

SECOND = NANOSECONDS
limits = st.builds(Limit, per_minute=st.integers(1, 1_000_000), burst=st.integers(1, 1_000))
gaps = st.lists(st.integers(0, 5 * SECOND), max_size=200)


class TestTokenBucket:
    def test_a_full_bucket_admits_its_burst_and_not_one_more(self) -> None:
        bucket = TokenBucket(Limit(per_minute=60, burst=10), 0)
        assert [bucket.take(0).admitted for _ in range(11)] == [True] * 10 + [False]

    def test_a_second_brings_one_token_at_sixty_a_minute(self) -> None:
        bucket = TokenBucket(Limit(per_minute=60, burst=1), 0)
        assert bucket.take(0).admitted
        assert not bucket.take(SECOND - 1).admitted
        assert bucket.take(SECOND).admitted

    def test_a_long_rest_fills_it_to_its_burst_and_no_further(self) -> None:
        bucket = TokenBucket(Limit(per_minute=600, burst=5), 0)
        admitted = [bucket.take(3_600 * SECOND).admitted for _ in range(6)]
        assert admitted == [True] * 5 + [False]

    def test_a_refused_request_takes_nothing(self) -> None:
        bucket = TokenBucket(Limit(per_minute=60, burst=1), 0)
        bucket.take(0)
        for instant in range(0, SECOND, SECOND // 100):
            assert not bucket.take(instant).admitted
        assert bucket.take(SECOND).admitted

    def test_a_verdict_tells_what_is_left_and_how_long_to_wait(self) -> None:
        bucket = TokenBucket(Limit(per_minute=60, burst=2), 0)
        first, second, third = bucket.take(0), bucket.take(0), bucket.take(SECOND // 2)
        assert (first.remaining, first.retry_after, first.reset) == (1, 0, SECOND)
        assert (second.remaining, second.retry_after, second.reset) == (0, SECOND, 2 * SECOND)
        assert (third.admitted, third.retry_after, third.reset) == (False, SECOND // 2, 3 * SECOND // 2)

    def test_peeking_takes_nothing(self) -> None:
        bucket = TokenBucket(Limit(per_minute=60, burst=1), 0)
        assert bucket.peek(0).admitted
        assert bucket.take(0).admitted
        assert not bucket.peek(0).admitted

    def test_an_edited_limit_keeps_what_was_used(self) -> None:
        bucket = TokenBucket(Limit(per_minute=60, burst=10), 0)
        for _ in range(4):
            bucket.take(0)
        bucket.change_limit(Limit(per_minute=60, burst=6), 0)
        assert bucket.peek(0).remaining == 2
        bucket.change_limit(Limit(per_minute=60, burst=3), 0)
        assert bucket.peek(0).remaining == 0

    def test_a_clock_that_goes_back_brings_nothing(self) -> None:
        bucket = TokenBucket(Limit(per_minute=60, burst=1), 10 * SECOND)
        assert bucket.take(10 * SECOND).admitted
        assert not bucket.take(0).admitted
        assert not bucket.take(10 * SECOND).admitted

    @given(limit=limits, gaps=gaps)
    def test_no_arrival_pattern_gets_more_than_rate_times_time_plus_burst(self, limit: Limit, gaps: list[int]) -> None:
        bucket, now, arrivals = TokenBucket(limit, 0), 0, []
        for gap in gaps:
            now += gap
            if bucket.take(now).admitted:
                arrivals.append(now)
        for first in range(len(arrivals)):
            for last in range(first, len(arrivals)):
                span = arrivals[last] - arrivals[first]
                assert (last - first + 1 - limit.burst) * 60 * SECOND <= limit.per_minute * span

    @given(limit=limits, gaps=gaps)
    def test_whoever_waits_as_told_is_admitted(self, limit: Limit, gaps: list[int]) -> None:
        bucket, now = TokenBucket(limit, 0), 0
        for gap in gaps:
            now += gap
            grant = bucket.take(now)
            assert 0 <= grant.remaining <= limit.burst
            if not grant.admitted:
                assert grant.retry_after > 0
                assert not bucket.peek(now + grant.retry_after - 1).admitted
                assert bucket.peek(now + grant.retry_after).admitted
            assert bucket.peek(now + grant.reset).remaining == limit.burst


POLICY = CircuitPolicy(failure_threshold=3, recovery_timeout=10.0, half_open_max_calls=2)


RATE = replace(POLICY, trip="rate", window_seconds=20.0, minimum_calls=4, failure_rate=0.5)
steps = st.lists(
    st.tuples(st.sampled_from(("ask", "succeed", "fail", "abandon", "wait", "edit")), st.integers(0, 50)), max_size=300
)
policies = st.builds(
    CircuitPolicy,
    failure_threshold=st.integers(1, 5),
    recovery_timeout=st.floats(0.1, 30.0),
    half_open_max_calls=st.integers(1, 5),
    trip=st.sampled_from(("consecutive", "rate")),
    window_seconds=st.floats(1.0, 60.0),
    minimum_calls=st.integers(1, 10),
    failure_rate=st.floats(0.1, 1.0),
)


def permit_of(circuit: Circuit, now: float) -> Permit:
    permit = circuit.try_acquire(now)
    assert isinstance(permit, Permit)
    return permit


def refusal_of(circuit: Circuit, now: float) -> Refusal:
    refusal = circuit.try_acquire(now)
    assert isinstance(refusal, Refusal)
    return refusal


def state_of(circuit: Circuit) -> CircuitState:
    """A call, so that the type checker does not take a state that was just asserted for one that stays."""
    return circuit.state


def report(circuit: Circuit, permit: Permit, action: str, now: float) -> None:
    if action == "succeed":
        circuit.succeeded(permit, now)
    elif action == "fail":
        circuit.failed(permit, now)
    else:
        circuit.abandoned(permit)


def tripped(now: float = 0.0) -> Circuit:
    circuit = Circuit(POLICY, now)
    for _ in range(POLICY.failure_threshold):
        circuit.failed(permit_of(circuit, now), now)
    assert state_of(circuit) is CircuitState.OPEN
    return circuit


class TestCircuitBreaker:
    def test_it_opens_at_the_threshold_and_not_before(self) -> None:
        circuit = Circuit(POLICY, 0.0)
        for _ in range(2):
            circuit.failed(permit_of(circuit, 0.0), 0.0)
        assert state_of(circuit) is CircuitState.CLOSED
        circuit.failed(permit_of(circuit, 0.0), 0.0)
        assert state_of(circuit) is CircuitState.OPEN

    def test_a_success_forgives_the_failures_before_it(self) -> None:
        circuit = Circuit(POLICY, 0.0)
        for _ in range(10):
            circuit.failed(permit_of(circuit, 0.0), 0.0)
            circuit.failed(permit_of(circuit, 0.0), 0.0)
            circuit.succeeded(permit_of(circuit, 0.0), 0.0)
        assert state_of(circuit) is CircuitState.CLOSED

    def test_open_refuses_and_says_for_how_long(self) -> None:
        assert refusal_of(tripped(), 4.0).retry_after == 6.0

    def test_after_the_recovery_timeout_only_so_many_probes_pass(self) -> None:
        circuit = tripped()
        verdicts = [circuit.try_acquire(10.0) for _ in range(200)]
        assert sum(isinstance(verdict, Permit) for verdict in verdicts) == POLICY.half_open_max_calls
        assert state_of(circuit) is CircuitState.HALF_OPEN

    def test_enough_successes_close_it(self) -> None:
        circuit = tripped()
        probes = [permit_of(circuit, 10.0), permit_of(circuit, 10.0)]
        circuit.succeeded(probes[0], 11.0)
        assert state_of(circuit) is CircuitState.HALF_OPEN
        circuit.succeeded(probes[1], 11.0)
        assert state_of(circuit) is CircuitState.CLOSED

    def test_one_failed_probe_opens_it_again_for_the_whole_timeout(self) -> None:
        circuit = tripped()
        circuit.failed(permit_of(circuit, 10.0), 12.0)
        assert state_of(circuit) is CircuitState.OPEN
        assert refusal_of(circuit, 12.0).retry_after == POLICY.recovery_timeout

    def test_a_failed_probe_takes_the_successes_before_it_along(self) -> None:
        circuit = tripped()
        circuit.succeeded(permit_of(circuit, 10.0), 10.0)
        circuit.failed(permit_of(circuit, 10.0), 12.0)
        circuit.succeeded(permit_of(circuit, 22.0), 22.0)
        assert state_of(circuit) is CircuitState.HALF_OPEN

    def test_an_abandoned_probe_gives_its_place_back(self) -> None:
        circuit = tripped()
        probes = [permit_of(circuit, 10.0), permit_of(circuit, 10.0)]
        refusal_of(circuit, 10.0)
        circuit.abandoned(probes[0])
        permit_of(circuit, 10.0)

    def test_a_late_report_from_before_the_trip_changes_nothing(self) -> None:
        circuit = Circuit(POLICY, 0.0)
        early = permit_of(circuit, 0.0)
        for _ in range(3):
            circuit.failed(permit_of(circuit, 0.0), 0.0)
        circuit.succeeded(early, 1.0)
        assert state_of(circuit) is CircuitState.OPEN
        permit_of(circuit, 10.0)
        circuit.failed(early, 10.0)
        assert state_of(circuit) is CircuitState.HALF_OPEN

    def test_a_reset_trusts_at_once(self) -> None:
        circuit = tripped()
        circuit.reset(1.0)
        assert state_of(circuit) is CircuitState.CLOSED
        permit_of(circuit, 1.0)

    def test_statuses_count_as_the_policy_says(self) -> None:
        circuit = Circuit(replace(POLICY, failure_threshold=1, failure_statuses=frozenset((429,))), 0.0)
        circuit.answered(permit_of(circuit, 0.0), 500, 0.0)
        assert state_of(circuit) is CircuitState.CLOSED
        circuit.answered(permit_of(circuit, 0.0), 429, 0.0)
        assert state_of(circuit) is CircuitState.OPEN

    def test_a_slow_answer_is_a_failure_in_a_row(self) -> None:
        told: list[Transition] = []
        circuit = Circuit(replace(POLICY, slow_call_seconds=2.0), 0.0, told.append)
        for waited in (2.0, 2.5, 1.9, 2.0, 2.0, 4.25):
            assert state_of(circuit) is CircuitState.CLOSED
            circuit.answered(permit_of(circuit, 0.0), 200, 0.0, waited)
        assert state_of(circuit) is CircuitState.OPEN
        assert told[0].reason == "3 failures in a row: it answered after 4.25 s"

    def test_a_slow_probe_has_failed(self) -> None:
        circuit = Circuit(replace(RATE, slow_call_seconds=2.0), 0.0)
        for _ in range(4):
            circuit.answered(permit_of(circuit, 0.0), 500, 0.0)
        circuit.answered(permit_of(circuit, 10.0), 200, 13.0, 3.0)
        assert state_of(circuit) is CircuitState.OPEN

    def test_it_tells_every_transition_and_why(self) -> None:
        told: list[Transition] = []
        circuit = Circuit(POLICY, 0.0, told.append)
        for cause in ("500", "503", "upstream_timeout"):
            circuit.failed(permit_of(circuit, 0.0), 0.0, cause)
        circuit.answered(permit_of(circuit, 10.0), 502, 11.0)
        for _ in range(2):
            circuit.answered(permit_of(circuit, 21.0), 200, 21.0)
        circuit.reset(22.0)
        assert [(change.before.value, change.after.value, change.reason, change.by) for change in told] == [
            ("closed", "open", "3 failures in a row: upstream_timeout", ""),
            ("open", "half_open", "10 s have passed", ""),
            ("half_open", "open", "a probe failed: 502", ""),
            ("open", "half_open", "10 s have passed", ""),
            ("half_open", "closed", "2 probes succeeded", ""),
            ("closed", "closed", "reset by hand", "operator"),
        ]

    def test_forced_open_passes_nothing_however_long_one_waits(self) -> None:
        circuit = Circuit(POLICY, 0.0)
        circuit.change_policy(replace(POLICY, mode="forced_open"), 1.0)
        for now in (1.0, 1_000.0, 1_000_000.0):
            assert refusal_of(circuit, now).retry_after == POLICY.recovery_timeout
            assert circuit.retry_after(now) == POLICY.recovery_timeout
        circuit.reset(2.0)
        assert state_of(circuit) is CircuitState.OPEN, "the mode is configuration: a reset does not overrule it"
        circuit.change_policy(POLICY, 3.0)
        permit_of(circuit, 3.0)

    def test_disabled_passes_everything_and_hears_nothing(self) -> None:
        circuit = tripped()
        circuit.change_policy(replace(POLICY, mode="disabled"), 1.0)
        for _ in range(100):
            circuit.failed(permit_of(circuit, 1.0), 1.0)
        assert (state_of(circuit), circuit.failures) == (CircuitState.CLOSED, 0)
        circuit.change_policy(POLICY, 2.0)
        for _ in range(POLICY.failure_threshold):
            circuit.failed(permit_of(circuit, 2.0), 2.0)
        assert state_of(circuit) is CircuitState.OPEN

    def test_an_edit_that_asks_for_fewer_probes_does_not_wedge_it(self) -> None:
        circuit = tripped()
        circuit.succeeded(permit_of(circuit, 10.0), 10.0)
        circuit.change_policy(replace(POLICY, half_open_max_calls=1), 10.0)
        assert state_of(circuit) is CircuitState.CLOSED

    def test_an_edited_recovery_timeout_counts_for_an_open_circuit(self) -> None:
        circuit = tripped()
        circuit.change_policy(replace(POLICY, recovery_timeout=4.0), 1.0)
        assert refusal_of(circuit, 1.0).retry_after == 3.0

    def test_it_hears_successes_only_when_they_matter(self) -> None:
        circuit = Circuit(POLICY, 0.0)
        heard = [circuit.hears_all]
        circuit.failed(permit_of(circuit, 0.0), 0.0)
        heard.append(circuit.hears_all)
        circuit.succeeded(permit_of(circuit, 0.0), 0.0)
        heard.append(circuit.hears_all)
        circuit.change_policy(RATE, 0.0)
        heard.append(circuit.hears_all)
        for policy in (replace(RATE, mode="disabled"), replace(POLICY, slow_call_seconds=0.5), POLICY):
            circuit.change_policy(policy, 0.0)
            heard.append(circuit.hears_all)
        assert heard == [False, True, False, True, False, True, False]

    @given(steps, policies, policies)
    def test_it_never_admits_more_probes_than_allowed_and_never_wedges(
        self, steps: list[tuple[str, int]], policy: CircuitPolicy, other: CircuitPolicy
    ) -> None:
        circuit, now, held = Circuit(policy, 0.0), 0.0, list[Permit]()
        admitted: dict[int, int] = {}  # probes by generation, less those that were given back without a verdict
        for action, number in steps:
            if action == "wait":
                now += number
            elif action == "edit":
                circuit.change_policy(other if number % 2 else policy, now)
            elif action == "ask":
                verdict = circuit.try_acquire(now)
                if isinstance(verdict, Permit):
                    held.append(verdict)
                    admitted[verdict.generation] = admitted.get(verdict.generation, 0) + 1
            elif held:
                permit = held.pop(number % len(held))
                report(circuit, permit, action, now)
                if action == "abandon":
                    admitted[permit.generation] -= 1
            if state_of(circuit) is CircuitState.HALF_OPEN and action == "ask":
                most = max(policy.half_open_max_calls, other.half_open_max_calls)
                assert admitted.get(circuit.generation, 0) <= most
        for permit in held:
            circuit.abandoned(permit)
        circuit.change_policy(policy, now)
        assert isinstance(circuit.try_acquire(now + 60.0), Permit)

    @given(steps, policies)
    def test_whoever_skips_the_reports_that_it_does_not_hear_sees_the_same(
        self, steps: list[tuple[str, int]], policy: CircuitPolicy
    ) -> None:
        told, sparing = Circuit(policy, 0.0), Circuit(policy, 0.0)
        now = 0.0
        for action, number in steps:
            now += number if action == "wait" else 0
            ours, theirs = told.try_acquire(now), sparing.try_acquire(now)
            if not isinstance(ours, Permit) or not isinstance(theirs, Permit):
                assert ours == theirs
            elif action == "fail":
                told.failed(ours, now)
                sparing.failed(theirs, now)
            else:
                told.succeeded(ours, now)
                if sparing.hears_all:
                    sparing.succeeded(theirs, now)
            assert (told.state, told.failures) == (sparing.state, sparing.failures)


class TestCircuitByRate:
    def answers(self, circuit: Circuit, *statuses: int, spacing: float = 0.0, start: float = 0.0) -> list[CircuitState]:
        states = []
        for number, status in enumerate(statuses):
            now = start + number * spacing
            circuit.answered(permit_of(circuit, now), status, now)
            states.append(circuit.state)
        return states

    def test_a_service_that_fails_every_other_request_trips(self) -> None:
        circuit = Circuit(RATE, 0.0)
        states = self.answers(circuit, 500, 200, 500, 200)
        assert states == [*[CircuitState.CLOSED] * 3, CircuitState.OPEN]

    def test_below_the_rate_it_stays_closed_for_ever(self) -> None:
        circuit = Circuit(RATE, 0.0)
        assert set(self.answers(circuit, *[200, 200, 500] * 200, spacing=0.1)) == {CircuitState.CLOSED}

    def test_too_few_calls_are_not_judged(self) -> None:
        assert self.answers(Circuit(RATE, 0.0), 500, 500, 500)[-1] is CircuitState.CLOSED

    def test_what_is_older_than_the_window_is_forgotten(self) -> None:
        circuit = Circuit(RATE, 0.0)
        assert set(self.answers(circuit, *[500] * 20, spacing=RATE.window_seconds / 3 + 1)) == {CircuitState.CLOSED}

    def test_another_window_begins_without_a_past(self) -> None:
        circuit = Circuit(RATE, 0.0)
        self.answers(circuit, 500, 500, 500)
        circuit.change_policy(replace(RATE, window_seconds=30.0), 0.0)
        assert self.answers(circuit, 500, 200, 500, 500)[2:] == [CircuitState.CLOSED, CircuitState.OPEN]

    def test_slow_answers_have_a_rate_of_their_own(self) -> None:
        told: list[Transition] = []
        circuit = Circuit(replace(RATE, slow_call_seconds=1.0, slow_call_rate=0.75), 0.0, told.append)
        for waited in (1.0, 0.2, 3.0, 3.0):
            circuit.answered(permit_of(circuit, 0.0), 200, 0.0, waited)
        assert state_of(circuit) is CircuitState.OPEN
        assert told[-1].reason == "3 of 4 calls were slow"

    def test_after_a_recovery_the_past_is_forgotten(self) -> None:
        circuit = Circuit(RATE, 0.0)
        self.answers(circuit, 500, 500, 500, 500)
        self.answers(circuit, 200, 200, start=10.0)
        assert state_of(circuit) is CircuitState.CLOSED
        assert circuit.window.calls == 0

    @given(st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.booleans()), max_size=200))
    def test_the_window_counts_as_a_list_would(self, calls: list[tuple[int, bool, bool]]) -> None:
        window, now, past = OutcomeWindow(10.0, 0.0), 0, list[tuple[int, bool, bool]]()
        for gap, failed, slow in calls:
            now += gap
            window.count(now, failed=failed, slow=slow)
            past.append((now, failed, slow))
            inside = [call for call in past if call[0] > now - 10]  # buckets are a second wide, and so are the gaps
            counted = (window.calls, window.failures, window.slow)
            assert counted == (len(inside), sum(call[1] for call in inside), sum(call[2] for call in inside))
