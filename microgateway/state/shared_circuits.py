"""Circuits in shared memory: exact across all processes that share it.

The rules are those of `core/circuit.py`, and its very code: a circuit takes its numbers from the memory, applies a rule
to them, and puts them back, all under its lock. What nearly every request asks, whether a closed circuit is closed
still, is answered by one look at the circuit's head, without a lock.

Every process knows the policies; only the one that is `in_charge` applies changes of them, so that each is applied
once. What it has applied lies in the memory too: should it start again, it finds what is in force.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from struct import Struct
from typing import TypeVar

from microgateway.core.circuit import Circuit, CircuitPolicy, CircuitState, Mode, Numbers, Permit, Refusal, Transition
from microgateway.core.outcome_window import BUCKETS, OutcomeWindow
from microgateway.exchange import Event, EventListener
from microgateway.state.circuit_table import NUMBERS, CircuitTable
from microgateway.state.memory import LONGEST_HISTORY
from microgateway.state.shared_memory import WORD, SharedMemory

T = TypeVar("T")

_STATES = (CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN)
_MODES: tuple[Mode, ...] = ("auto", "forced_open", "disabled")
_HEARS = 1  # the head's lowest bit; above it are the state and the generation
_STATE_SHIFT, _GENERATION_SHIFT = 1, 3
_COPY_WORDS = NUMBERS.size // WORD
_FIRST_OF_WINDOW, _FIRST_OF_POLICY = 5, 6 + 3 * BUCKETS
_FAILURES = 2
_WINDOW = Struct(f"{1 + 3 * BUCKETS}q")
_NO_HEAD = -2


class SharedCircuit:
    """One service's circuit, as one process sees it. What is read of it is as old as the last `look`.

    Where the memory has no room for it, it is this process's own.
    """

    __slots__ = (
        "_applied",
        "_closed",
        "_counts",
        "_first",
        "_inner",
        "_memory",
        "_number",
        "_permit",
        "_process",
        "_table",
        "_tell",
        "_told",
        "_words",
    )

    def __init__(
        self,
        policy: CircuitPolicy,
        now: float,
        *,
        name: str,
        memory: SharedMemory,
        table: CircuitTable,
        process: int,
        tell: Callable[[Transition], None],
    ) -> None:
        self._tell = tell
        self._told: list[Transition] = []
        self._inner = Circuit(policy, now, self._told.append)
        self._table = table
        self._memory = memory
        self._words = memory.words
        self._process = process
        self._applied: tuple[int, float, float] = _applied(policy)
        self._permit = Permit(self, -1, CircuitState.CLOSED)
        self._closed = _NO_HEAD
        self._number, is_new = table.obtain(name, self._as_kept())
        if not is_new:
            self._told.clear()
        if self._number is not None:
            self._counts, self._first = table.place_of_copies(self._number)
        self._under_lock(self._inner.numbers)
        self._tell_all()

    @property
    def policy(self) -> CircuitPolicy:
        return self._inner.policy

    @property
    def hears_all(self) -> bool:
        """Whether successes have to be told, as of this moment."""
        if self._number is None:
            return self._inner.hears_all
        words = self._words
        return bool(words[self._first + _COPY_WORDS * words[self._counts]] & _HEARS)

    def try_acquire(self, now: float) -> Permit | Refusal:
        """Leave to send one request now, or how long to wait."""
        if self._number is not None:
            words = self._words
            head = words[self._first + _COPY_WORDS * words[self._counts]]
            if head | _HEARS == self._closed:
                return self._permit
        verdict = self._under_lock(lambda: self._inner.try_acquire(now))
        self._tell_all()
        return verdict if isinstance(verdict, Refusal) else self._permit

    def answered(self, permit: Permit, status: int, now: float, waited: float = 0.0) -> None:
        if permit is self._permit and self._number is not None and self._counted(self._number, status, now, waited):
            return
        self._settle(permit, lambda own: self._inner.answered(own, status, now, waited))

    def succeeded(self, permit: Permit, now: float, *, slow: bool = False) -> None:
        self._settle(permit, lambda own: self._inner.succeeded(own, now, slow=slow))

    def failed(self, permit: Permit, now: float, cause: str = "", *, slow: bool = False) -> None:
        self._settle(permit, lambda own: self._inner.failed(own, now, cause, slow=slow))

    def abandoned(self, permit: Permit) -> None:
        self._settle(permit, self._inner.abandoned)

    def reset(self, now: float) -> None:
        self._under_lock(lambda: self._inner.reset(now))
        self._tell_all()

    def follow(self, policy: CircuitPolicy, now: float) -> None:
        """Obeys this policy from now on; who is in charge has applied it, or will."""
        if self._number is None:
            self._inner.change_policy(policy, now)
        self._inner.policy = policy

    def change_policy(self, policy: CircuitPolicy, now: float) -> None:
        """Puts this policy in force for every process, as `Circuit.change_policy` does for one."""

        def change() -> None:
            mode, recovery_timeout, window_seconds = self._applied
            self._inner.policy = replace(
                policy, mode=_MODES[mode], recovery_timeout=recovery_timeout, window_seconds=window_seconds
            )
            self._inner.change_policy(policy, now)
            self._applied = _applied(policy)

        self._under_lock(change)
        self._tell_all()

    # -- to look at ----------------------------------------------------------------------------------------------------

    def look(self) -> "SharedCircuit":
        """Takes up what is in the memory now."""
        if self._number is not None:
            self._take_up(self._number)
        return self

    @property
    def state(self) -> CircuitState:
        return self._inner.state

    @property
    def failures(self) -> int:
        return self._inner.failures

    @property
    def trips(self) -> int:
        return self._inner.trips

    @property
    def window(self) -> OutcomeWindow:
        return self._inner.window

    @property
    def generation(self) -> int:
        return self._inner.generation

    def retry_after(self, now: float) -> float:
        return self._inner.retry_after(now)

    def numbers(self) -> Numbers:
        return self._inner.numbers()

    # -- the memory ----------------------------------------------------------------------------------------------------

    def _settle(self, permit: Permit, settle: Callable[[Permit], None]) -> None:
        def act() -> None:
            if permit.generation == self._inner.generation:
                settle(self._inner.permit)

        self._under_lock(act)
        self._tell_all()

    def _counted(self, number: int, status: int, now: float, waited: float) -> bool:
        """Counts what nearly every answer is in a rate's window: no failure, not slow, and no reason to judge anew.

        That is one word more, which is stored at once and in place. False where anything is otherwise.
        """
        policy = self._inner.policy
        if policy.trip != "rate" or status in policy.failure_statuses or 0.0 < policy.slow_call_seconds <= waited:
            return False
        words = self._words
        self._table.locks.acquire(number)
        try:
            first = self._first + _COPY_WORDS * words[self._counts]
            if words[first] != self._closed or words[first + _FAILURES] or self._applied != _applied(policy):
                return False
            newest, *counts = _WINDOW.unpack_from(self._memory.bytes, (first + _FIRST_OF_WINDOW) * WORD)
            if newest != int(now / (policy.window_seconds / BUCKETS)):
                return False
            calls, failures, slow = (sum(counts[at : at + BUCKETS]) for at in range(0, 3 * BUCKETS, BUCKETS))
            if calls + 1 >= policy.minimum_calls and (
                failures >= policy.failure_rate * (calls + 1)
                or (policy.slow_call_seconds and slow >= policy.slow_call_rate * (calls + 1))
            ):
                return False
            words[first + _FIRST_OF_WINDOW + 1 + newest % BUCKETS] += 1
            return True
        finally:
            self._table.locks.release(number)

    def _under_lock(self, act: Callable[[], T]) -> T:
        number = self._number
        if number is None:
            outcome = act()
            self._renew_permit()
            return outcome
        self._table.locks.acquire(number)
        try:
            kept = self._take_up(number)
            generation, probes = self._inner.generation, self._inner.numbers().probes
            outcome = act()
            self._put_back(number, kept, generation, probes)
        finally:
            self._table.locks.release(number)
        return outcome

    def _take_up(self, number: int) -> tuple[float, ...]:
        kept = self._table.read(number)
        head = int(kept[0])
        generation = head >> _GENERATION_SHIFT
        state = _STATES[head >> _STATE_SHIFT & 3]
        probes = 0 if state is CircuitState.CLOSED else self._table.probes(number, generation)
        window = [int(each) for each in kept[_FIRST_OF_WINDOW:_FIRST_OF_POLICY]]
        mode, recovery_timeout, window_seconds = kept[_FIRST_OF_POLICY:]
        self._applied = (int(mode), recovery_timeout, window_seconds)
        if window_seconds != self._inner.window.seconds:
            self._inner.window = OutcomeWindow(window_seconds, 0.0)
        reopens_at, failures, trips, successes = kept[1], int(kept[2]), int(kept[3]), int(kept[4])
        self._inner.restore(Numbers(generation, state, reopens_at, failures, trips, successes, probes, window))
        self._renew_permit()
        return kept

    def _put_back(self, number: int, kept: tuple[float, ...], generation: int, probes: int) -> None:
        """What was changed; the probes last, so that a death between the two leaves one too many, which is given back
        with those of the dead.
        """
        own = self._as_kept()
        if own != kept:
            self._table.write(number, own)
        more = self._inner.numbers().probes - (probes if generation == self._inner.generation else 0)
        if more:
            self._table.add_probes(number, self._inner.generation, self._process, more)
        self._renew_permit()

    def _as_kept(self) -> tuple[float, ...]:
        own = self._inner.numbers()
        head = own.generation << _GENERATION_SHIFT | _STATES.index(own.state) << _STATE_SHIFT | self._inner.hears_all
        return (head, own.reopens_at, own.failures, own.trips, own.successes, *own.window, *self._applied)

    def _renew_permit(self) -> None:
        inner = self._inner
        if self._permit.generation != inner.generation:
            self._permit = Permit(self, inner.generation, inner.state)
            is_closed = inner.state is CircuitState.CLOSED
            self._closed = inner.generation << _GENERATION_SHIFT | _HEARS if is_closed else _NO_HEAD

    def _tell_all(self) -> None:
        """Once the lock is free."""
        told, self._told[:] = list(self._told), []
        for transition in told:
            self._tell(transition)


class SharedCircuits:
    """One circuit per service, as one process uses them; see `MemoryCircuits`."""

    def __init__(
        self,
        memory: SharedMemory,
        table: CircuitTable,
        *,
        process: int,
        in_charge: bool = False,
        wall: Callable[[], float] = time.time,
        listeners: Sequence[EventListener] = (),
    ) -> None:
        self._memory = memory
        self._table = table
        self._process = process
        self._in_charge = in_charge
        self._wall = wall
        self._listeners = listeners
        self._circuits: dict[str, SharedCircuit] = {}
        self._histories: dict[str, deque[Event]] = {}

    def of(self, service_id: str, policy: CircuitPolicy, now: float) -> SharedCircuit:
        """The service's circuit, under this policy."""
        circuit = self._circuits.get(service_id)
        if circuit is None:
            circuit = self._circuits[service_id] = self._open(service_id, policy, now)
        if circuit.policy is not policy:
            if self._in_charge:
                circuit.change_policy(policy, now)
            else:
                circuit.follow(policy, now)
        return circuit

    def state_of(self, service_id: str) -> CircuitState:
        """A service that no request has reached yet is trusted."""
        circuit = self.snapshot().get(service_id)
        return CircuitState.CLOSED if circuit is None else circuit.state

    def history_of(self, service_id: str) -> Sequence[Event]:
        """The circuit's latest transitions that this process has heard of, the oldest first."""
        return tuple(self._histories.get(service_id, ()))

    def snapshot(self) -> Mapping[str, SharedCircuit]:
        """The circuits there are, to look at."""
        return _Looking(self._circuits)

    def reset(self, service_id: str, now: float) -> None:
        circuit = self._circuits.get(service_id)
        if circuit is not None:
            circuit.reset(now)

    def adopt(self, policies: Mapping[str, CircuitPolicy], now: float) -> None:
        """Has all services' policies obeyed. Who is in charge puts them in force, and forgets services not named."""
        for service_id in self._circuits.keys() - policies.keys():
            del self._circuits[service_id]
            self._histories.pop(service_id, None)
        if self._in_charge:
            self._table.keep_only(policies.keys())
        for service_id, policy in policies.items():
            if self._in_charge or service_id in self._circuits:
                self.of(service_id, policy, now)

    def hear(self, event: Event) -> None:
        """Another process's circuit has changed."""
        self._histories.setdefault(event.service_id, deque(maxlen=LONGEST_HISTORY)).append(event)
        for listener in self._listeners:
            listener(event)

    def _open(self, service_id: str, policy: CircuitPolicy, now: float) -> SharedCircuit:
        def tell(change: Transition) -> None:
            before, after = change.before.value, change.after.value
            self.hear(Event("circuit", service_id, "", before, after, self._wall(), change.reason, change.by))

        circuit = SharedCircuit(
            policy,
            now,
            name=service_id,
            memory=self._memory,
            table=self._table,
            process=self._process,
            tell=tell,
        )
        if self._in_charge:
            circuit.change_policy(policy, now)
        return circuit


class _Looking(Mapping[str, SharedCircuit]):
    """Each circuit as it is when it is asked for."""

    def __init__(self, circuits: Mapping[str, SharedCircuit]) -> None:
        self._circuits = circuits

    def __getitem__(self, service_id: str) -> SharedCircuit:
        return self._circuits[service_id].look()

    def __iter__(self) -> Iterator[str]:
        return iter(self._circuits)

    def __len__(self) -> int:
        return len(self._circuits)


def _applied(policy: CircuitPolicy) -> tuple[int, float, float]:
    """What of a policy changes a circuit when it changes itself."""
    return _MODES.index(policy.mode), policy.recovery_timeout, policy.window_seconds
