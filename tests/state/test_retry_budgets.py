"""What a service may get in retries: one contract over the budgets of one process and those that several share."""

from collections.abc import Iterator

import pytest

from microgateway.core.retry import BUDGET
from microgateway.core.token_bucket import NANOSECONDS
from microgateway.state.interfaces import RetryBudgets
from microgateway.state.memory import MemoryRetryBudgets
from microgateway.state.shared_limits import SharedLimiter
from microgateway.state.shared_retries import SharedRetryBudgets
from tests.state.areas import shared_limits

NOW = 5 * NANOSECONDS


@pytest.fixture(params=["memory", "shared"])
def budgets(request: pytest.FixtureRequest) -> Iterator[RetryBudgets]:
    if request.param == "memory":
        yield MemoryRetryBudgets()
        return
    with shared_limits() as limits:
        yield SharedRetryBudgets(SharedLimiter(limits, process=0))


def spent(budgets: RetryBudgets, service_id: str, now: int, tries: int = BUDGET.burst + 5) -> int:
    return sum(budgets.of(service_id, now).spend(now) for _ in range(tries))


def test_a_service_gets_its_burst_and_then_what_comes_back(budgets: RetryBudgets) -> None:
    assert spent(budgets, "one", NOW) == BUDGET.burst
    assert spent(budgets, "one", NOW + NANOSECONDS) == BUDGET.per_minute // 60


def test_services_do_not_share(budgets: RetryBudgets) -> None:
    spent(budgets, "one", NOW)
    assert spent(budgets, "other", NOW) == BUDGET.burst


def test_one_that_stays_keeps_its_budget(budgets: RetryBudgets) -> None:
    spent(budgets, "one", NOW)
    budgets.keep_only({"one"})
    assert spent(budgets, "one", NOW) == 0


def test_two_workers_draw_from_one_budget() -> None:
    with shared_limits() as limits:
        first, second = (SharedRetryBudgets(SharedLimiter(limits, process=number)) for number in (1, 2))
        assert spent(first, "one", NOW, BUDGET.burst - 3) == BUDGET.burst - 3
        assert spent(second, "one", NOW) == 3
        SharedLimiter(limits, process=0).reclaim(())
        assert spent(first, "one", NOW) == 0, "the room is no rule's, and is not given up"
