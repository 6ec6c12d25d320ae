"""A service's targets: who is asked, who is left alone, and what survives an edit."""

from random import Random
from typing import Any

import pytest

from microgateway.core.circuit import CircuitPolicy
from microgateway.core.health import CheckResult
from microgateway.exchange import Event
from microgateway.snapshot import Upstream
from microgateway.state.targets import MemoryTargets, TargetGroup
from tests.kit.configuration import service

WALL = 1_700_000_000.0
ONCE = {"unhealthy_threshold": 1, "healthy_threshold": 1}


def upstream(names: str = "abcd", **fields: Any) -> Upstream:
    targets = [{"url": f"http://{name}.example"} for name in names]
    return Upstream.of_service(service("http://base.example", targets=targets, **fields), CircuitPolicy())


def targets(told: list[Event] | None = None) -> MemoryTargets:
    return MemoryTargets(random=Random(0), wall=lambda: WALL, listeners=[] if told is None else [told.append])


def name_of(url: str) -> str:
    return url.removeprefix("http://")[0]


def asked(group: TargetGroup, now: float = 0.0) -> str:
    return "".join(sorted(name_of(member.name) for member in group.asked(now)))


def fail(group: TargetGroup, name: str, times: int = 5, now: float = 0.0) -> None:
    for _ in range(times):
        group.members[f"http://{name}.example"].answered(503, now)


def check(group: TargetGroup, name: str, *, passed: bool, now: float = 0.0) -> None:
    result = CheckResult(passed, WALL, 0.01, 200 if passed else 503, "it answered")
    group.members[f"http://{name}.example"].checked(result, now)


def told_nobody(*change: str) -> None:
    """Is told what becomes of copies."""


class TestEjection:
    def test_one_that_fails_in_a_row_is_left_alone_for_a_while(self) -> None:
        told: list[Event] = []
        group = targets(told).of(upstream())
        fail(group, "b", times=4)
        assert asked(group) == "abcd"
        fail(group, "b", times=1)
        assert asked(group, 29.9) == "acd"
        assert asked(group, 30.0) == "abcd"
        away, back = told
        assert (away.kind, away.service_id, away.target, away.at) == ("target", "upstream", "http://b.example", WALL)
        assert (away.before, away.after) == ("unknown", "ejected")
        assert away.reason == "5 failures in a row: it answered 503; left alone for 30 s"
        assert (back.before, back.after) == ("ejected", "unknown")

    def test_another_process_s_ejection_is_followed_and_not_told_again(self) -> None:
        told: list[Event] = []
        here, there, ours = targets(told), targets(), upstream()
        fail(there.of(ours), "b", now=100.0)
        (ejection,) = there.ejections(100.0)
        assert here.follow(ours, ejection, 100.1)
        assert not here.follow(ours, ejection, 100.2), "it is no news any more"
        assert list(here.ejections(100.2)) == [ejection]
        assert asked(here.of(ours), 129.9) == "acd"
        assert asked(here.of(ours), 130.0) == "abcd"
        assert told == []
        fail(here.of(ours), "b", now=131.0)
        assert told[0].reason.endswith("left alone for 60 s"), "the second time in a row, wherever the first one was"

    def test_another_process_s_ejection_keeps_to_the_share_and_the_policy(self) -> None:
        there, ours = targets(), upstream("ab")
        fail(there.of(ours), "b")
        (ejection,) = there.ejections(0.0)
        here = targets()
        fail(here.of(ours), "a")
        assert not here.follow(ours, ejection, 0.0)
        assert asked(here.of(ours)) == "b"
        assert not targets().follow(upstream("ab", passive_health={"enabled": False}), ejection, 0.0)
        assert not targets().follow(upstream("a"), ejection, 0.0), "it has no such target"
        assert not targets().follow(ours, ejection, 30.0), "it is over"

    def test_a_success_between_forgives(self) -> None:
        group = targets().of(upstream())
        for _ in range(10):
            fail(group, "b", times=4)
            group.members["http://b.example"].answered(404, 0.0)
        assert asked(group) == "abcd"

    def test_at_most_the_share_is_out(self) -> None:
        group = targets().of(upstream("abcde"))
        for name in "abcde":
            fail(group, name, times=50)
        assert asked(group) == "cde"
        group = targets().of(upstream("abcde", passive_health={"largest_share": 0.2}))
        for name in "abcde":
            fail(group, name, times=50)
        assert asked(group) == "bcde"

    def test_those_that_checks_took_out_count_for_the_share(self) -> None:
        group = targets().of(upstream("abcd", health_check=ONCE))
        check(group, "a", passed=False)
        check(group, "b", passed=False)
        fail(group, "c")
        assert asked(group) == "cd"

    def test_an_only_target_is_never_ejected(self) -> None:
        group = targets().of(upstream("a", when_unhealthy="fail"))
        fail(group, "a", times=100)
        assert asked(group) == "a"

    def test_switched_off_nobody_is(self) -> None:
        group = targets().of(upstream(passive_health={"enabled": False}))
        fail(group, "a", times=100)
        assert asked(group) == "abcd"

    def test_one_that_goes_on_failing_stays_away_for_longer(self) -> None:
        group = targets().of(upstream())
        fail(group, "a", now=0.0)
        assert asked(group, 30.0) == "abcd"
        fail(group, "a", now=30.0)
        assert asked(group, 89.9) == "bcd"
        assert asked(group, 90.0) == "abcd"


class TestChecks:
    def test_an_unhealthy_one_is_not_asked_until_it_is_well(self) -> None:
        told: list[Event] = []
        group = targets(told).of(upstream(health_check=ONCE))
        check(group, "c", passed=True)
        check(group, "c", passed=False)
        assert asked(group) == "abd"
        assert {group.choose(b"", (), 0.0) for _ in range(20)} == set(group.asked(0.0))
        check(group, "c", passed=True)
        assert asked(group) == "abcd"
        assert [(event.before, event.after) for event in told] == [
            ("unknown", "healthy"),
            ("healthy", "unhealthy"),
            ("unhealthy", "healthy"),
        ]

    def test_a_check_that_changes_nothing_does_not_begin_the_round_again(self) -> None:
        group = targets().of(upstream("abc"))
        chosen = []
        for _ in range(9):
            member = group.choose(b"", (), 0.0)
            assert member is not None
            chosen.append(member.name)
            for name in "abc":
                check(group, name, passed=True)
        assert {chosen.count(name) for name in chosen} == {3}

    def test_none_healthy_all_are_tried(self) -> None:
        group = targets().of(upstream("ab", health_check=ONCE))
        for name in "ab":
            check(group, name, passed=False)
        assert asked(group) == "ab"
        assert group.health(0.0) == "unhealthy"

    def test_none_healthy_none_is_asked_where_the_service_says_so(self) -> None:
        group = targets().of(upstream("ab", health_check=ONCE | {"interval_seconds": 7}, when_unhealthy="fail"))
        for name in "ab":
            check(group, name, passed=False)
        assert group.choose(b"", (), 0.0) is None
        assert group.retry_after(0.0) == 7.0

    def test_with_checks_switched_off_a_check_by_hand_decides_nothing(self) -> None:
        group = targets().of(upstream(health_check=ONCE | {"enabled": False}))
        check(group, "a", passed=False)
        assert asked(group) == "abcd"
        assert group.health(0.0) == "degraded"

    def test_the_latest_checks_are_kept_and_no_more(self) -> None:
        group = targets().of(upstream("a"))
        for _ in range(100):
            check(group, "a", passed=True)
        (member,) = group.members.values()
        assert len(member.checks) == 20
        assert member.average_seconds == pytest.approx(0.01)


class TestChoice:
    def test_a_retry_goes_to_one_that_was_not_tried(self) -> None:
        group = targets().of(upstream("ab"))
        one, other = group.members.values()
        for _ in range(20):
            assert group.choose(b"", (one.target,), 0.0) is other
        assert group.choose(b"", (one.target, other.target), 0.0) in (one, other)

    def test_two_entries_with_one_url_are_one_target_with_both_weights(self) -> None:
        spec = service("http://base.example", targets=[{"url": "http://a"}, {"url": "http://a/", "weight": 4}])
        (member,) = targets().of(Upstream.of_service(spec, CircuitPolicy())).members.values()
        assert (member.name, member.weight) == ("http://a", 5)


class TestEdits:
    def test_what_is_known_of_a_target_survives_an_edit(self) -> None:
        known = targets()
        group = known.of(upstream("abcd", health_check=ONCE))
        check(group, "a", passed=False)
        fail(group, "b")
        group.members["http://c.example"].in_flight = 3
        edited = known.of(upstream("abce", health_check=ONCE, name="renamed", load_balancing="least_requests"))
        assert edited is not group
        assert asked(edited) == "ce"
        assert edited.members["http://c.example"].in_flight == 3

    def test_a_report_to_an_older_configuration_counts_in_the_new_one(self) -> None:
        known = targets()
        late = known.of(upstream()).members["http://a.example"]
        edited = known.of(upstream())
        for _ in range(5):
            late.failed("upstream_unreachable", 0.0)
        assert asked(edited) == "bcd"

    def test_with_its_service_it_is_forgotten(self) -> None:
        known = targets()
        fail(known.of(upstream()), "a")
        known.keep_only([])
        assert asked(known.of(upstream())) == "abcd"


class TestLooking:
    @pytest.mark.parametrize("method", ["round_robin", "least_requests", "consistent_hash"])
    def test_a_copy_chooses_as_the_group_would_and_leaves_it_as_it_is(self, method: str) -> None:
        every, known = targets(), upstream(load_balancing=method)
        group = every.of(known)
        for number in range(7):
            group.choose(b"%d" % number, (), 0.0)
        fail(group, "b")
        first, second = every.look(known, told_nobody), every.look(known, told_nobody)
        keys = [b"key %d" % number for number in range(20)]
        chosen = [[one.choose(key, (), 1.0) for key in keys] for one in (first, second, group)]
        names = [[member.name for member in members if member is not None] for members in chosen]
        assert names[0] == names[1] == names[2]
        assert "http://b.example" not in names[0]

    def test_what_happens_to_a_copy_happens_to_nobody_else(self) -> None:
        told: list[Event] = []
        every, known = targets(told), upstream()
        assert asked(every.look(known, told_nobody)) == "abcd"
        group = every.of(known)
        fail(every.look(known, told_nobody), "a")
        assert asked(group) == "abcd"
        assert told == []
        assert asked(every.look(upstream("ab"), told_nobody)) == "ab"
        assert every.of(known) is group
