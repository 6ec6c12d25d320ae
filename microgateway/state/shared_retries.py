"""Retry budgets in shared memory: what a service may get in retries, it gets from all workers together."""

from collections.abc import Collection

from microgateway.core.retry import BUDGET
from microgateway.state.shared_limits import SharedLimiter


class SharedRetryBudget:
    """One service's budget, as one process uses it."""

    __slots__ = ("_limiter", "_service_id")

    def __init__(self, limiter: SharedLimiter, service_id: str) -> None:
        self._limiter = limiter
        self._service_id = service_id

    def spend(self, now: int) -> bool:
        """Takes one retry, if there is one; `now` is nanoseconds."""
        return self._limiter.take_retry(self._service_id, BUDGET, now)


class SharedRetryBudgets:
    """The same as `MemoryRetryBudgets`; the budgets lie in a room of the limiter's, each a bucket like any other."""

    def __init__(self, limiter: SharedLimiter) -> None:
        self._limiter = limiter

    def of(self, service_id: str, now: int) -> SharedRetryBudget:
        """The service's budget, which begins full."""
        return SharedRetryBudget(self._limiter, service_id)

    def keep_only(self, service_ids: Collection[str]) -> None:
        """Nothing: a budget that nobody uses is full soon, and then its bucket is swept."""
