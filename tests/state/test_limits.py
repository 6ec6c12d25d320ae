"""The rooms of buckets: what is remembered, what is forgotten, and that forgetting gives nobody more than the limit."""

from collections import defaultdict
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgateway.core.limit_rules import Condition, CountBy, LimitRule
from microgateway.core.token_bucket import Grant, Limit
from microgateway.state import limits
from microgateway.state.limits import MemoryLimiter

KEEPS_THREE = 3


def rule(rule_id: str = "rule", *, per_minute: int = 60, burst: int = 2, enforced: bool = True) -> LimitRule:
    limit = Limit(per_minute, burst)
    return LimitRule(
        id=rule_id, name=rule_id, limit=limit, when=Condition(), count_by=CountBy.ADDRESS, enforced=enforced
    )


def ask(limiter: MemoryLimiter, limiting: LimitRule, subject: str, now: float) -> Grant:
    (grant,) = limiter.take_all([(limiting, subject)], now)
    return grant


class TestForgetting:
    def test_a_full_bucket_is_forgotten_and_one_in_use_is_not(self) -> None:
        limiter = MemoryLimiter()
        ask(limiter, rule(), "early", 0.0)
        ask(limiter, rule(), "late", 1.0)
        limiter.sweep(0.999)
        assert set(limiter.room("rule").buckets) == {"early", "late"}
        limiter.sweep(1.0)
        assert set(limiter.room("rule").buckets) == {"late"}
        assert ask(limiter, rule(), "late", 1.0).remaining == 0

    def test_the_buckets_of_keys_are_forgotten_too(self) -> None:
        limiter, limit = MemoryLimiter(), Limit(60, 2)
        limiter.take("ada", limit, 0.0)
        limiter.sweep(1.0)
        assert [limiter.take("ada", limit, 1.0).admitted for _ in range(3)] == [True, True, False]
        limiter.sweep(1.5)
        assert not limiter.take("ada", limit, 1.5).admitted

    def test_a_sweep_looks_at_a_few_and_the_next_goes_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "SWEPT_AT_A_TIME", 10)
        limiter = MemoryLimiter()
        for room in ("one", "two"):
            for number in range(25):
                ask(limiter, rule(room), str(number), 0.0)
        left = []
        for _ in range(6):
            limiter.sweep(100.0)
            left.append(len(limiter.room("one").buckets) + len(limiter.room("two").buckets))
        assert left == [40, 30, 20, 10, 0, 0]

    def test_a_deleted_rule_leaves_nothing_behind(self) -> None:
        limiter = MemoryLimiter()
        for name in ("kept", "gone"):
            ask(limiter, rule(name, burst=1), "a", 0.0)
        limiter.take("ada", Limit(60, 1), 0.0)
        limiter.keep_only({"kept"})
        assert not ask(limiter, rule("kept", burst=1), "a", 0.0).admitted
        assert ask(limiter, rule("gone", burst=1), "a", 0.0).admitted
        assert not limiter.take("ada", Limit(60, 1), 0.0).admitted

    def test_a_refused_request_leaves_no_buckets_with_others(self) -> None:
        limiter = MemoryLimiter()
        ask(limiter, rule("narrow", burst=1), "all", 0.0)
        for number in range(100):
            claims = [(rule("narrow", burst=1), "all"), (rule("wide"), str(number))]
            assert [grant.admitted for grant in limiter.take_all(claims, 0.0)] == [False, True]
        assert len(limiter.room("wide").buckets) == 0


class TestTheBound:
    def test_those_who_find_no_room_share_one_bucket(self) -> None:
        limiter = MemoryLimiter(most_subjects=KEEPS_THREE)
        assert [ask(limiter, rule(), subject, 0.0).admitted for subject in "abcdefgh"] == [True] * 5 + [False] * 3
        room = limiter.room("rule")
        assert (set(room.buckets), room.overflowed) == (set("abc"), 2)
        assert ask(limiter, rule(), "a", 0.0).admitted

    def test_who_has_a_bucket_again_begins_with_what_the_shared_one_has_left(self) -> None:
        limiter = MemoryLimiter(most_subjects=KEEPS_THREE)
        for subject in "abcdd":
            ask(limiter, rule(), subject, 0.0)
        limiter.sweep(1.0)
        assert [ask(limiter, rule(), "d", 1.0).admitted for _ in range(2)] == [True, False]

    def test_once_the_shared_one_is_full_again_it_is_over(self) -> None:
        limiter = MemoryLimiter(most_subjects=KEEPS_THREE)
        for subject in "abcdd":
            ask(limiter, rule(), subject, 0.0)
        limiter.sweep(2.0)
        assert [ask(limiter, rule(), "d", 2.0).admitted for _ in range(3)] == [True, True, False]

    def test_keys_are_bounded_in_the_same_way(self) -> None:
        limiter, limit = MemoryLimiter(most_keys=1), Limit(60, 2)
        assert [limiter.take(key, limit, 0.0).admitted for key in ("a", "b", "c", "d", "a")] == [True] * 3 + [
            False,
            True,
        ]

    @settings(max_examples=300)
    @given(
        per_minute=st.integers(1, 600),
        burst=st.integers(1, 4),
        steps=st.lists(st.tuples(st.sampled_from("abcdefs"), st.integers(0, 8)), max_size=120),
    )
    def test_nobody_ever_gets_more_than_rate_times_time_plus_burst(
        self, per_minute: int, burst: int, steps: list[tuple[str, int]]
    ) -> None:
        """However subjects come and go in a room that is too small for them. `s` is a sweep."""
        limiter, limiting, now = MemoryLimiter(most_subjects=2), rule(per_minute=per_minute, burst=burst), 0.0
        admitted: dict[str, list[float]] = defaultdict(list)
        for subject, eighths in steps:
            now += eighths / 8
            if subject == "s":
                limiter.sweep(now)
            elif ask(limiter, limiting, subject, now).admitted:
                admitted[subject].append(now)
        for moments in admitted.values():
            for first, begin in enumerate(moments):
                for count, end in enumerate(moments[first:], 1):
                    assert count <= burst + Fraction(end - begin) * per_minute / 60


class TestSeveral:
    def test_peeking_takes_nothing_and_counts_nothing(self) -> None:
        limiter = MemoryLimiter()
        assert [limiter.peek([(rule(burst=1), "a")], 0.0)[0].admitted for _ in range(3)] == [True] * 3
        room = limiter.room("rule")
        assert (len(room.buckets), room.admitted, room.refused) == (0, 0, 0)

    def test_a_limit_that_only_watches_hinders_nobody(self) -> None:
        limiter = MemoryLimiter()
        claims = [(rule("watching", burst=1, enforced=False), "a"), (rule("real", burst=2), "a")]
        seen = [[grant.admitted for grant in limiter.take_all(claims, 0.0)] for _ in range(3)]
        assert seen == [[True, True], [False, True], [False, False]]
        room = limiter.room("watching")
        assert (room.admitted, room.refused, room.shadowed) == (1, 0, 2)

    def test_an_edited_limit_keeps_what_was_used_by_each(self) -> None:
        limiter = MemoryLimiter()
        for _ in range(2):
            ask(limiter, rule(burst=4), "a", 0.0)
        assert ask(limiter, rule(burst=3), "a", 0.0).remaining == 0
        assert ask(limiter, rule(burst=3), "b", 0.0).remaining == 2
