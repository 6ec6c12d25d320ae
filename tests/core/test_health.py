"""Whether a target is well: what checks and traffic say of it, in virtual time."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgateway.core.health import CheckPolicy, EjectionPolicy, TargetHealth, TargetStatus, overall

POLICY = CheckPolicy(interval=10.0, healthy_threshold=2, unhealthy_threshold=3, jitter=0.0)
EJECTION = EjectionPolicy(consecutive_failures=3, seconds=10.0, longest=35.0)
UNKNOWN, HEALTHY, UNHEALTHY, EJECTED = TargetStatus


def checked(health: TargetHealth, results: str, policy: CheckPolicy = POLICY) -> list[TargetStatus]:
    """The status after each of these checks: `+` passed, `-` failed."""
    statuses = []
    for result in results:
        health.checked(policy, passed=result == "+")
        statuses.append(health.status(0.0))
    return statuses


class TestChecks:
    @pytest.mark.parametrize(
        ("results", "statuses"),
        [
            ("+", [HEALTHY]),
            ("---", [UNKNOWN, UNKNOWN, UNHEALTHY]),
            ("--+--", [UNKNOWN, UNKNOWN, HEALTHY, HEALTHY, HEALTHY]),
            ("+---", [HEALTHY, HEALTHY, HEALTHY, UNHEALTHY]),
            ("+--+--+", [HEALTHY] * 7),
            ("---+-++", [UNKNOWN, UNKNOWN, UNHEALTHY, UNHEALTHY, UNHEALTHY, UNHEALTHY, HEALTHY]),
        ],
    )
    def test_a_status_changes_after_so_many_that_disagree_in_a_row(
        self, results: str, statuses: list[TargetStatus]
    ) -> None:
        assert checked(TargetHealth(), results) == statuses

    @given(st.integers(1, 10), st.integers(1, 10), st.floats(0.1, 1_000))
    def test_a_change_is_decided_within_one_interval_of_its_first_sign(
        self, healthy: int, unhealthy: int, interval: float
    ) -> None:
        policy = CheckPolicy(interval=interval, healthy_threshold=healthy, unhealthy_threshold=unhealthy, jitter=0.0)
        health = TargetHealth()
        health.checked(policy, passed=True)
        for passed, wanted in ((False, UNHEALTHY), (True, HEALTHY)):
            health.checked(policy, passed=passed)
            spent = 0.0
            while health.status(0.0) is not wanted:
                spent += health.next_check_in(policy, 0.5)
                health.checked(policy, passed=passed)
            assert spent <= interval * 1.000001
            assert health.next_check_in(policy, 0.5) == interval

    def test_jitter_spreads_the_checks(self) -> None:
        policy = replace(POLICY, jitter=0.2)
        assert [TargetHealth().next_check_in(policy, chance) for chance in (0.0, 0.5, 1.0)] == [8.0, 10.0, 12.0]


class TestEjection:
    def fail(self, health: TargetHealth) -> list[bool]:
        return [health.failed(EJECTION) for _ in range(EJECTION.consecutive_failures)]

    def test_failures_in_a_row_are_enough_and_a_success_forgives(self) -> None:
        health = TargetHealth()
        health.failed(EJECTION)
        health.failed(EJECTION)
        health.succeeded(0.0)
        assert self.fail(health) == [False, False, True]

    def test_it_is_back_when_its_time_is_over(self) -> None:
        health = TargetHealth()
        health.eject(EJECTION, 100.0)
        assert [health.status(now) for now in (100.0, 109.9, 110.0)] == [EJECTED, EJECTED, UNKNOWN]

    def test_each_time_it_is_longer_up_to_a_limit(self) -> None:
        health = TargetHealth()
        assert [health.eject(EJECTION, 0.0) for _ in range(5)] == [10.0, 20.0, 35.0, 35.0, 35.0]
        for _ in range(2_000):
            health.eject(EJECTION, 0.0)
        assert health.eject(EJECTION, 0.0) == 35.0
        assert health.away == 35.0

    def test_the_past_is_forgotten_once_it_did_well_for_as_long_as_it_was_away(self) -> None:
        health = TargetHealth()
        health.eject(EJECTION, 0.0)
        health.eject(EJECTION, 10.0)
        health.returned()
        health.succeeded(49.9)
        assert health.eject(EJECTION, 50.0) == 35.0
        health.returned()
        health.succeeded(50.0 + 35.0 + 35.0)
        assert health.eject(EJECTION, 200.0) == 10.0


@pytest.mark.parametrize(
    ("statuses", "service"),
    [
        ([UNKNOWN, UNKNOWN], "unknown"),
        ([UNKNOWN, HEALTHY], "healthy"),
        ([HEALTHY, UNHEALTHY], "degraded"),
        ([UNKNOWN, EJECTED], "degraded"),
        ([UNHEALTHY, EJECTED], "unhealthy"),
    ],
)
def test_a_service_is_what_its_targets_are(statuses: list[TargetStatus], service: str) -> None:
    assert overall(statuses) == service
