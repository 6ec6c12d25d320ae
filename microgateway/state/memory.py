"""Buckets and circuits in this process's memory. One event loop uses them, so nothing is locked."""

from collections.abc import Collection, Mapping

from microgateway.core.circuit import Circuit, CircuitPolicy, CircuitState
from microgateway.core.retry import RetryBudget
from microgateway.core.token_bucket import NANOSECONDS, Grant, Limit, TokenBucket


class MemoryLimiter:
    """One token bucket per client.

    Bounded by the clients there are: keys are revoked, never deleted.
    """

    def __init__(self) -> None:
        self._buckets: dict[str, TokenBucket] = {}

    def take(self, client: str, limit: Limit, now: float) -> Grant:
        """One token from the client's bucket, at `now` seconds.

        A changed limit takes force here; what was used stays used.
        """
        instant = int(now * NANOSECONDS)
        bucket = self._buckets.get(client)
        if bucket is None:
            bucket = self._buckets[client] = TokenBucket(limit, instant)
        elif bucket.limit is not limit and bucket.limit != limit:
            bucket.change_limit(limit, instant)
        return bucket.take(instant)


class MemoryRetryBudgets:
    """One retry budget per service, made at its first retry."""

    def __init__(self) -> None:
        self._budgets: dict[str, RetryBudget] = {}

    def of(self, service_id: str, now: int) -> RetryBudget:
        """The service's budget; `now` is nanoseconds."""
        budget = self._budgets.get(service_id)
        if budget is None:
            budget = self._budgets[service_id] = RetryBudget(now)
        return budget

    def keep_only(self, service_ids: Collection[str]) -> None:
        for service_id in [service_id for service_id in self._budgets if service_id not in service_ids]:
            del self._budgets[service_id]


class MemoryCircuits:
    """One circuit per service, kept across edits of the service."""

    def __init__(self) -> None:
        self._circuits: dict[str, Circuit] = {}

    def of(self, service_id: str, policy: CircuitPolicy, now: float) -> Circuit:
        """The service's circuit, with this policy in force."""
        circuit = self._circuits.get(service_id)
        if circuit is None:
            circuit = self._circuits[service_id] = Circuit(policy, now)
        elif circuit.policy is not policy:
            circuit.change_policy(policy)
        return circuit

    def state_of(self, service_id: str) -> CircuitState:
        """A service that no request has reached yet is trusted."""
        circuit = self._circuits.get(service_id)
        return CircuitState.CLOSED if circuit is None else circuit.state

    def snapshot(self) -> Mapping[str, Circuit]:
        """The circuits there are, to look at."""
        return self._circuits

    def reset(self, service_id: str, now: float) -> None:
        circuit = self._circuits.get(service_id)
        if circuit is not None:
            circuit.reset(now)

    def keep_only(self, service_ids: Collection[str]) -> None:
        for service_id in [service_id for service_id in self._circuits if service_id not in service_ids]:
            del self._circuits[service_id]
