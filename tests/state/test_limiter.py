"""What every limiter keeps: one contract over the one in this process's memory and the one in shared memory."""

import random
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microgateway.core.limit_rules import Condition, CountBy, LimitRule
from microgateway.core.token_bucket import NANOSECONDS, TOKEN, Grant, Limit, TokenBucket
from microgateway.snapshot import Principal
from microgateway.state.interfaces import Limiter
from microgateway.state.limits import Claim, MemoryLimiter
from microgateway.state.shared_limits import SharedLimiter
from tests.state.areas import shared_limits

SIXTY = Limit(per_minute=60, burst=3)
LATER = 1_000.0


def rule(name: str, limit: Limit, *, enforced: bool = True) -> LimitRule:
    return LimitRule(
        id=name, name=name, limit=limit, when=Condition(), count_by=CountBy.ADDRESS, header=b"", enforced=enforced
    )


def principal(name: str, limit: Limit) -> Principal:
    return Principal(id=name, name=name, limit=limit, policy_field=b"")


@pytest.fixture(params=["memory", "shared"])
def limiter(request: pytest.FixtureRequest) -> Iterator[Limiter]:
    if request.param == "memory":
        yield MemoryLimiter(most_subjects=20, most_keys=200)
        return
    with shared_limits() as limits:
        yield SharedLimiter(limits, process=0, most_subjects=20)


def told(grant: Grant) -> tuple[bool, int, int, int]:
    return grant.admitted, grant.remaining, grant.retry_after, grant.reset


class TestOneKey:
    def test_a_burst_is_admitted_and_not_one_more(self, limiter: Limiter) -> None:
        assert [limiter.take("anna", SIXTY, 5.0).admitted for _ in range(4)] == [True] * 3 + [False]

    def test_a_second_brings_a_token_back(self, limiter: Limiter) -> None:
        for _ in range(4):
            limiter.take("anna", SIXTY, 5.0)
        assert not limiter.take("anna", SIXTY, 5.9).admitted
        assert limiter.take("anna", SIXTY, 6.0).admitted

    def test_a_copy_of_a_bucket_says_what_the_bucket_would(self, limiter: Limiter) -> None:
        for _ in range(3):
            limiter.take("anna", SIXTY, 5.0)
        copy = limiter.look(principal("anna", SIXTY), "anna", 5.0)
        assert not copy.take(int(5.0 * NANOSECONDS)).admitted
        assert copy.take(int(6.0 * NANOSECONDS)).admitted

    def test_keys_do_not_share(self, limiter: Limiter) -> None:
        for _ in range(3):
            limiter.take("anna", SIXTY, 5.0)
        assert limiter.take("otto", SIXTY, 5.0).admitted

    def test_what_was_used_stays_used_when_the_limit_changes(self, limiter: Limiter) -> None:
        for _ in range(2):
            limiter.take("anna", SIXTY, 5.0)
        assert told(limiter.take("anna", Limit(60, 10), 5.0)) == (True, 7, 0, 3 * NANOSECONDS)
        assert not limiter.take("anna", Limit(60, 1), 5.0).admitted

    def test_an_earlier_time_brings_nothing(self, limiter: Limiter) -> None:
        for _ in range(3):
            limiter.take("anna", SIXTY, 5.0)
        assert not limiter.take("anna", SIXTY, 1.0).admitted
        assert not limiter.take("anna", SIXTY, 5.0).admitted

    def test_the_largest_limit_there_is_can_be_counted(self, limiter: Limiter) -> None:
        huge = Limit(1_000_000_000, 1_000_000_000)
        for left in range(3):
            assert limiter.take("anna", huge, 5.0).remaining == huge.burst - 1 - left
        assert limiter.take("anna", huge, LATER).remaining == huge.burst - 1


class TestSeveralLimits:
    def test_a_refused_request_takes_nothing_from_any(self, limiter: Limiter) -> None:
        narrow, wide = rule("narrow", Limit(60, 1)), principal("anna", Limit(60, 5))
        claims: list[Claim] = [(narrow, "1.2.3.4"), (wide, "anna")]
        assert all(grant.admitted for grant in limiter.take_all(claims, 5.0))
        assert [grant.admitted for grant in limiter.take_all(claims, 5.0)] == [False, True]
        assert limiter.take("anna", wide.limit, 5.0).remaining == 3

    def test_one_that_is_not_enforced_hinders_nobody(self, limiter: Limiter) -> None:
        shadow, real = rule("shadow", Limit(60, 1), enforced=False), rule("real", Limit(60, 5))
        claims = [(shadow, "1.2.3.4"), (real, "1.2.3.4")]
        assert [limiter.take_all(claims, 5.0)[1].remaining for _ in range(3)] == [4, 3, 2]
        assert (limiter.room("shadow").admitted, limiter.room("shadow").shadowed) == (1, 2)
        assert (limiter.room("real").admitted, limiter.room("real").refused) == (3, 0)

    def test_a_refusal_is_counted_where_it_was_made(self, limiter: Limiter) -> None:
        narrow, wide = rule("narrow", Limit(60, 1)), rule("wide", Limit(60, 5))
        for _ in range(3):
            limiter.take_all([(narrow, "1.2.3.4"), (wide, "1.2.3.4")], 5.0)
        assert (limiter.room("narrow").admitted, limiter.room("narrow").refused) == (1, 2)
        assert (limiter.room("wide").admitted, limiter.room("wide").refused) == (1, 0)

    def test_peeking_takes_nothing_and_counts_nothing(self, limiter: Limiter) -> None:
        claims = [(rule("narrow", Limit(60, 1)), "1.2.3.4")]
        assert [limiter.peek(claims, 5.0)[0].admitted for _ in range(3)] == [True] * 3
        limiter.take_all(claims, 5.0)
        assert not limiter.peek(claims, 5.0)[0].admitted
        assert (limiter.room("narrow").admitted, limiter.room("narrow").refused) == (1, 0)

    def test_looking_finds_what_peeking_finds_and_leaves_no_trace(self, limiter: Limiter) -> None:
        narrow = rule("narrow", Limit(60, 2))
        assert limiter.look(narrow, "1.2.3.4", 5.0).level == narrow.limit.capacity
        assert limiter.room("narrow").subjects == 0
        limiter.take_all([(narrow, "1.2.3.4")], 5.0)
        for now in (5.0, 5.5, 9.0):
            seen, peeked = limiter.look(narrow, "1.2.3.4", now), limiter.peek([(narrow, "1.2.3.4")], now)[0]
            assert seen.peek(int(now * NANOSECONDS)).level == peeked.level
        limiter.look(narrow, "1.2.3.4", 5.0).take(int(5.0 * NANOSECONDS))
        assert limiter.peek([(narrow, "1.2.3.4")], 5.0)[0].remaining == 1

    def test_looking_under_another_limit_changes_nothing_for_those_who_take(self, limiter: Limiter) -> None:
        before, after = principal("anna", Limit(60, 3)), principal("anna", Limit(600, 10))
        for _ in range(3):
            limiter.take("anna", before.limit, 5.0)
        assert limiter.look(after, "anna", 5.0).peek(int(5.0 * NANOSECONDS)).remaining == 7
        assert not limiter.take("anna", before.limit, 5.5).admitted

    def test_text_and_bytes_are_not_the_same_subject(self, limiter: Limiter) -> None:
        one = rule("one", Limit(60, 1))
        assert limiter.take_all([(one, "a")], 5.0)[0].admitted
        assert limiter.take_all([(one, b"a")], 5.0)[0].admitted
        assert limiter.room("one").subjects == 2


class TestTakingAgain:
    """The short way for a request whose claims are known: the verdict of the whole way, or none and nothing taken."""

    def test_it_tells_the_tightest_where_all_admit(self, limiter: Limiter) -> None:
        narrow, wide = rule("narrow", Limit(60, 3)), principal("anna", Limit(60, 5))
        claims: list[Claim] = [(narrow, "1.2.3.4"), (wide, "anna")]
        limiter.take_all(claims, 5.0)
        verdict = limiter.take_again(limiter.hold(claims), 5.0)
        assert verdict == (TOKEN, narrow) or (verdict is None and not isinstance(limiter, MemoryLimiter))
        assert limiter.take_all(claims, 5.0)[0].admitted is True
        assert limiter.peek(claims, 5.0)[1].remaining == 5 - 2 - (verdict is not None)
        assert limiter.room("narrow").admitted == 2 + (verdict is not None)

    def test_a_key_alone_is_told_of_its_own(self, limiter: Limiter) -> None:
        anna = principal("anna", SIXTY)
        limiter.take("anna", SIXTY, 5.0)
        held = limiter.hold([(anna, "anna")])
        left = []
        while (verdict := limiter.take_again(held, 5.0)) is not None:
            assert verdict[1] is anna
            left.append(verdict[0] // TOKEN)
        assert left == [1, 0]
        assert told(limiter.take("anna", SIXTY, 5.0)) == (False, 0, NANOSECONDS, 3 * NANOSECONDS)

    @pytest.mark.parametrize("seed", range(40))
    def test_it_says_what_a_bucket_of_its_own_would_say(self, seed: int) -> None:
        """Whatever came in between: a pause in which it filled up, another way of taking, a sweep, another limit."""
        dice = random.Random(seed)
        limiter = MemoryLimiter()
        limit = Limit(dice.choice((1, 7, 60, 600, 100_000)), dice.randint(1, 4))
        paper, now = TokenBucket(limit, int(5.0 * NANOSECONDS)), 5.0
        limiter.take("anna", limit, now)
        paper.take(int(now * NANOSECONDS))
        held = limiter.hold([(principal("anna", limit), "anna")])
        for _ in range(200):
            now += dice.choice((0.0, 1e-9, 1e-6, 60 / limit.per_minute, 60 / limit.per_minute - 1e-9, 1.0, 300.0))
            if dice.random() < 0.05:
                limiter.sweep(now)
            if dice.random() < 0.05:
                limit = Limit(dice.choice((1, 7, 60, 600, 100_000)), dice.randint(1, 4))
                paper.change_limit(limit, int(now * NANOSECONDS))
                held = limiter.hold([(principal("anna", limit), "anna")])
            grant = paper.take(int(now * NANOSECONDS))
            again = limiter.take_again(held, now) if dice.random() < 0.8 else None
            if again is None:
                mine = limiter.take("anna", limit, now)
                assert (mine.admitted, mine.level) == (grant.admitted, grant.level)
            else:
                assert (True, again[0]) == (grant.admitted, grant.level)

    def test_a_bucket_that_is_not_there_is_left_to_the_whole_way(self, limiter: Limiter) -> None:
        assert limiter.take_again(limiter.hold([(rule("one", SIXTY), "1.2.3.4")]), 5.0) is None
        assert limiter.room("one").subjects == 0


class TestBounds:
    def test_past_its_bound_a_rule_has_its_subjects_share_a_bucket(self, limiter: Limiter) -> None:
        one = rule("one", Limit(60, 2))
        for number in range(20):
            limiter.take_all([(one, f"10.0.0.{number}")], 5.0)
        assert limiter.look(one, "10.0.1.1", 5.0).level == one.limit.capacity
        strangers = [limiter.take_all([(one, f"10.0.1.{number}")], 5.0)[0].admitted for number in range(4)]
        assert strangers == [True, True, False, False]
        assert limiter.look(one, "10.0.1.9", 5.0).level == 0
        assert (limiter.room("one").subjects, limiter.room("one").overflowed) == (20, 2)

    def test_full_buckets_are_forgotten_and_give_nobody_more(self, limiter: Limiter) -> None:
        one = rule("one", Limit(60, 2))
        for number in range(20):
            limiter.take_all([(one, f"10.0.0.{number}")], 5.0)
        for _ in range(3):
            limiter.take_all([(one, "10.0.1.1")], 5.0)
        for _ in range(40):
            limiter.sweep(6.5)  # those of one request are full again; the one that was shared by three is not
        assert limiter.room("one").subjects == 0
        assert told(limiter.take_all([(one, "10.0.1.1")], 6.5)[0])[:2] == (True, 0)
        assert not limiter.take_all([(one, "10.0.1.1")], 6.5)[0].admitted

    def test_a_key_is_swept_only_when_full(self, limiter: Limiter) -> None:
        for _ in range(3):
            limiter.take("anna", SIXTY, 5.0)
        for _ in range(40):
            limiter.sweep(7.9)
        assert [limiter.take("anna", SIXTY, 7.9).admitted for _ in range(3)] == [True, True, False]

    def test_a_rule_that_is_gone_is_forgotten(self, limiter: Limiter) -> None:
        for name in ("one", "other"):
            limiter.take_all([(rule(name, Limit(60, 1)), "1.2.3.4")], 5.0)
        limiter.keep_only({"one"})
        if isinstance(limiter, SharedLimiter):
            limiter.reclaim({"one"})
        assert (limiter.room("one").admitted, limiter.room("other").admitted) == (1, 0)


limits = st.builds(Limit, st.integers(1, 1_000_000), st.integers(1, 50))
gaps = st.integers(0, 30 * NANOSECONDS)
steps = st.lists(st.tuples(gaps, st.sampled_from("ab"), limits), min_size=1, max_size=40)


class TestParity:
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(steps=steps)
    def test_both_decide_alike_and_say_the_same(self, steps: list[tuple[int, str, Limit]]) -> None:
        memory, now = MemoryLimiter(), 0
        with shared_limits(stripes=1, ways=2) as area:
            shared = SharedLimiter(area, process=0)
            for gap, client, limit in steps:
                now += gap
                instant = now / NANOSECONDS
                assert told(shared.take(client, limit, instant)) == told(memory.take(client, limit, instant))

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(limit=limits, waits=st.lists(gaps, min_size=2, max_size=40))
    def test_no_span_admits_more_than_rate_times_time_and_burst(self, limit: Limit, waits: list[int]) -> None:
        now, admitted = 0, []
        with shared_limits(stripes=1, ways=2) as area:
            two = [SharedLimiter(area, process=number) for number in range(2)]
            for turn, wait in enumerate(waits):
                now += wait
                if two[turn % 2].take("anna", limit, now / NANOSECONDS).admitted:
                    admitted.append(int(now / NANOSECONDS * NANOSECONDS))
        assert all(earlier <= later for earlier, later in pairwise(admitted))
        for first in range(len(admitted)):
            for last in range(first, len(admitted)):
                room = limit.burst + (admitted[last] - admitted[first]) * limit.per_minute / (60 * NANOSECONDS)
                assert last - first + 1 <= room
