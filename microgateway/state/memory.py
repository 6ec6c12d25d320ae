"""Retry budgets and circuits in this process's memory. One event loop uses them, so nothing is locked."""

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence

from microgateway.core.circuit import Circuit, CircuitPolicy, CircuitState, Transition
from microgateway.core.retry import RetryBudget
from microgateway.exchange import Event, EventListener

LONGEST_HISTORY = 50  # transitions of one circuit


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
    """One circuit per service, kept across edits of the service, with its latest transitions.

    `listeners` are told of every transition; `wall` is seconds since the epoch.
    """

    def __init__(self, *, wall: Callable[[], float] = time.time, listeners: Sequence[EventListener] = ()) -> None:
        self._circuits: dict[str, Circuit] = {}
        self._histories: dict[str, deque[Event]] = {}
        self._wall = wall
        self._listeners = listeners

    def of(self, service_id: str, policy: CircuitPolicy, now: float) -> Circuit:
        """The service's circuit, with this policy in force."""
        circuit = self._circuits.get(service_id)
        if circuit is None:
            circuit = self._circuits[service_id] = Circuit(policy, now, lambda change: self._note(service_id, change))
        elif circuit.policy is not policy:
            circuit.change_policy(policy, now)
        return circuit

    def state_of(self, service_id: str) -> CircuitState:
        """A service that no request has reached yet is trusted."""
        circuit = self._circuits.get(service_id)
        return CircuitState.CLOSED if circuit is None else circuit.state

    def history_of(self, service_id: str) -> Sequence[Event]:
        """The circuit's latest transitions, the oldest first."""
        return tuple(self._histories.get(service_id, ()))

    def snapshot(self) -> Mapping[str, Circuit]:
        """The circuits there are, to look at."""
        return self._circuits

    def reset(self, service_id: str, now: float) -> None:
        circuit = self._circuits.get(service_id)
        if circuit is not None:
            circuit.reset(now)

    def adopt(self, policies: Mapping[str, CircuitPolicy], now: float) -> None:
        """Puts the policies of all services in force now, not at the next request: an operator's mode can be seen at
        once. Services that are not named are forgotten.
        """
        for service_id in self._circuits.keys() - policies.keys():
            del self._circuits[service_id]
            self._histories.pop(service_id, None)
        for service_id, policy in policies.items():
            if service_id in self._circuits or policy.mode != "auto":
                self.of(service_id, policy, now)

    def _note(self, service_id: str, change: Transition) -> None:
        event = Event(
            "circuit", service_id, "", change.before.value, change.after.value, self._wall(), change.reason, change.by
        )
        self._histories.setdefault(service_id, deque(maxlen=LONGEST_HISTORY)).append(event)
        for listener in self._listeners:
            listener(event)
