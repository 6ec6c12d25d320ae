"""The parts that judge: token bucket and circuit breaker, by example and by property."""

from hypothesis import given
from hypothesis import strategies as st

from microgateway.core.circuit import Circuit, CircuitPolicy, CircuitState, Permit, Refusal
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

    @given(
        st.lists(
            st.tuples(st.sampled_from(("ask", "succeed", "fail", "abandon", "wait")), st.integers(0, 50)), max_size=300
        ),
        st.builds(
            CircuitPolicy,
            failure_threshold=st.integers(1, 5),
            recovery_timeout=st.floats(0.1, 30.0),
            half_open_max_calls=st.integers(1, 5),
        ),
    )
    def test_it_never_admits_more_probes_than_allowed_and_never_wedges(
        self, steps: list[tuple[str, int]], policy: CircuitPolicy
    ) -> None:
        circuit, now, held = Circuit(policy, 0.0), 0.0, list[Permit]()
        for action, number in steps:
            if action == "wait":
                now += number
            elif action == "ask":
                verdict = circuit.try_acquire(now)
                if isinstance(verdict, Permit):
                    held.append(verdict)
            elif held:
                permit = held.pop(number % len(held))
                if action == "succeed":
                    circuit.succeeded(permit, now)
                elif action == "fail":
                    circuit.failed(permit, now)
                else:
                    circuit.abandoned(permit)
            if circuit.state is CircuitState.HALF_OPEN:
                assert sum(p.generation == circuit.generation for p in held) <= policy.half_open_max_calls
        for permit in held:
            circuit.abandoned(permit)
        assert isinstance(circuit.try_acquire(now + policy.recovery_timeout + 0.001), Permit)
