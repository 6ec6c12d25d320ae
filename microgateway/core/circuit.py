"""The circuit breaker: trusts a service until it fails, then leaves it alone, then asks a few times before trusting it
again.

    CLOSED     every request passes; too many failures, by the policy's `trip` → OPEN
    OPEN       nothing passes; after `recovery_timeout` seconds → HALF_OPEN, at the next request
    HALF_OPEN  at most `half_open_max_calls` probes pass, finished and in flight together;
               as many successes → CLOSED; one failure → OPEN

Too many are, with `consecutive`, `failure_threshold` in a row; with `rate`, a share of the calls of the last seconds,
once there were enough of them to judge by. An answer that took too long is a failure in a row and a failed probe; for a
rate it has a share of its own. An operator may take the decision over: `forced_open` passes nothing, `disabled`
everything, and neither listens to what comes of it.

Every change of state begins a new *generation*. A permit carries the generation that gave it, and a report from an
earlier one changes nothing: an answer that was asked for before a trip says nothing of the service after it. A permit
is given back exactly once, with `succeeded`, `failed`, `answered` (which is one of the two, by the status) or
`abandoned`; the last frees a probe's place without a verdict, so that a client that hangs up can't wedge the circuit.

Nearly every report is a success that changes nothing. `hears_all` says whether the circuit has a use for successes; as
long as it hasn't, they need not be reported. What is unsatisfactory: with `consecutive`, a service that fails every
other request never trips; that is what `rate` is for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import Literal, Protocol

from microgateway.core.outcome_window import OutcomeWindow

Trip = Literal["consecutive", "rate"]
Mode = Literal["auto", "forced_open", "disabled"]
SERVER_ERRORS = frozenset(range(500, 600))
OPERATOR = "operator"


class CircuitState(Enum):
    """See the module's head for what each lets pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class CircuitPolicy:
    """When a circuit trips and how it recovers.

    `recovery_timeout`, `window_seconds` and `slow_call_seconds` are seconds; with a `slow_call_seconds` of 0 no answer
    is slow. `failure_rate` and `slow_call_rate` are between 0 and 1.
    """

    failure_threshold: int = 5
    recovery_timeout: float = 30.0
    half_open_max_calls: int = 3
    trip: Trip = "consecutive"
    window_seconds: float = 10.0
    minimum_calls: int = 20
    failure_rate: float = 0.5
    failure_statuses: frozenset[int] = SERVER_ERRORS
    slow_call_seconds: float = 0.0
    slow_call_rate: float = 1.0
    mode: Mode = "auto"

    @property
    def needs_successes(self) -> bool:
        """Whether a closed circuit must be told of every answer."""
        return self.mode == "auto" and (self.trip == "rate" or self.slow_call_seconds > 0)


class Breaker(Protocol):
    """Who gives permits, and takes them back: a circuit of this process, or one that several share."""

    @property
    def hears_all(self) -> bool: ...
    def try_acquire(self, now: float) -> "Permit | Refusal": ...
    def answered(self, permit: "Permit", status: int, now: float, waited: float = 0.0) -> None: ...
    def succeeded(self, permit: "Permit", now: float, *, slow: bool = False) -> None: ...
    def failed(self, permit: "Permit", now: float, cause: str = "", *, slow: bool = False) -> None: ...
    def abandoned(self, permit: "Permit") -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class Permit:
    """Leave to send one request, from the state that the circuit has in this generation."""

    circuit: Breaker
    generation: int
    state: CircuitState


@dataclass(frozen=True, slots=True)
class Refusal:
    """The circuit does not trust the service. `retry_after`: seconds until it may ask again."""

    retry_after: float


@dataclass(frozen=True, slots=True)
class Numbers:
    """All that a circuit knows, besides its policy. `probes` are under way; `window` is an `OutcomeWindow`'s."""

    generation: int
    state: CircuitState
    reopens_at: float
    failures: int
    trips: int
    successes: int
    probes: int
    window: Sequence[int]


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of state. `by` is who made it, empty where the circuit did."""

    before: CircuitState
    after: CircuitState
    reason: str
    by: str = ""


class Circuit:
    """One service's breaker. `now` is seconds on a clock that never goes back; `tell` hears of every transition."""

    __slots__ = (
        "_permit",
        "_probes",
        "_reopens_at",
        "_successes",
        "_tell",
        "failures",
        "hears_all",
        "policy",
        "state",
        "trips",
        "window",
    )

    def __init__(self, policy: CircuitPolicy, now: float, tell: Callable[[Transition], None] | None = None) -> None:
        self.policy = policy
        self.state = CircuitState.CLOSED
        self.failures = 0
        self.trips = 0
        self.window = OutcomeWindow(policy.window_seconds, now)
        self.hears_all = policy.needs_successes
        self._tell = tell
        self._reopens_at = now
        # The current generation's, shared by all its requests: nothing is allocated per request
        self._permit = Permit(self, 0, CircuitState.CLOSED)
        self._probes = 0
        self._successes = 0
        if policy.mode != "auto":
            self._take_over(now)

    def try_acquire(self, now: float) -> Permit | Refusal:
        """Leave to send one request now, or how long to wait."""
        if self.state is CircuitState.CLOSED:
            return self._permit
        policy = self.policy
        if self.state is CircuitState.OPEN:
            wait = self._reopens_at - now
            if wait > 0:
                return Refusal(policy.recovery_timeout if wait == inf else wait)
            self._enter(CircuitState.HALF_OPEN, now, f"{policy.recovery_timeout:g} s have passed")
        if self._probes + self._successes >= policy.half_open_max_calls:
            return Refusal(1.0)  # the probes under way decide; there is no better guess of when
        self._probes += 1
        return self._permit

    def retry_after(self, now: float) -> float:
        """Seconds until a request may pass, as far as is known; changes nothing."""
        if self.state is not CircuitState.OPEN:
            return 0.0
        wait = self._reopens_at - now
        return self.policy.recovery_timeout if wait == inf else max(0.0, wait)

    def answered(self, permit: Permit, status: int, now: float, waited: float = 0.0) -> None:
        """The service answered with this status, for which it took `waited` seconds."""
        policy = self.policy
        slow = 0.0 < policy.slow_call_seconds <= waited
        if status in policy.failure_statuses:
            self.failed(permit, now, str(status), slow=slow)
        elif slow and (policy.trip == "consecutive" or self.state is CircuitState.HALF_OPEN):
            self.failed(permit, now, f"it answered after {waited:.3g} s", slow=True)
        else:
            self.succeeded(permit, now, slow=slow)

    def succeeded(self, permit: Permit, now: float, *, slow: bool = False) -> None:
        """The service answered as a working service does."""
        policy = self.policy
        if permit is not self._permit or policy.mode != "auto":
            return
        if self.state is CircuitState.CLOSED:
            if self.failures:
                self.failures = 0
                self.hears_all = policy.needs_successes
            if policy.trip == "rate":
                self.window.count(now, failed=False, slow=slow)
                self._judge_rates(now, "")
            return
        self._probes -= 1
        self._successes += 1
        if self._successes >= policy.half_open_max_calls:
            self._enter(CircuitState.CLOSED, now, f"{_counted(self._successes, 'probe')} succeeded")

    def failed(self, permit: Permit, now: float, cause: str = "", *, slow: bool = False) -> None:
        """The service could not be reached, did not answer in time, or answered that it is broken. `cause`: how."""
        policy = self.policy
        if permit is not self._permit or policy.mode != "auto":
            return
        self.failures += 1
        self.hears_all = True
        because = f": {cause}" if cause else ""
        if self.state is CircuitState.HALF_OPEN:
            self._open(now, f"a probe failed{because}")
        elif policy.trip == "rate":
            self.window.count(now, failed=True, slow=slow)
            self._judge_rates(now, because)
        elif self.failures >= policy.failure_threshold:
            self._open(now, f"{_counted(self.failures, 'failure')} in a row{because}")

    def abandoned(self, permit: Permit) -> None:
        """The request ended without saying anything of the service, as when the client went away."""
        if permit is self._permit and self.state is CircuitState.HALF_OPEN:
            self._probes -= 1

    def reset(self, now: float, by: str = OPERATOR) -> None:
        """Trust the service again at once: an operator's decision. One that is forced open stays so."""
        if self.policy.mode == "auto":
            self._enter(CircuitState.CLOSED, now, "reset by hand", by)

    def change_policy(self, policy: CircuitPolicy, now: float) -> None:
        """Puts other settings in force; the state, and what is known of the service, stay.

        An operator's `mode` decides at once, and when it ends the circuit begins anew, closed.
        """
        before, self.policy = self.policy, policy
        if policy.window_seconds != before.window_seconds:
            self.window = OutcomeWindow(policy.window_seconds, now)
        if policy.mode != before.mode:
            self._take_over(now)
        elif self.state is CircuitState.OPEN:
            self._reopens_at += policy.recovery_timeout - before.recovery_timeout
        elif self.state is CircuitState.HALF_OPEN and self._successes >= policy.half_open_max_calls:
            self._enter(CircuitState.CLOSED, now, f"{_counted(self._successes, 'probe')} succeeded")
        self._listen()

    def numbers(self) -> Numbers:
        """For who keeps them elsewhere."""
        return Numbers(
            generation=self._permit.generation,
            state=self.state,
            reopens_at=self._reopens_at,
            failures=self.failures,
            trips=self.trips,
            successes=self._successes,
            probes=self._probes,
            window=self.window.numbers,
        )

    def restore(self, numbers: Numbers) -> None:
        """Knows this from now on. A permit stays good where the generation is the same."""
        self.state = numbers.state
        self._reopens_at = numbers.reopens_at
        self.failures, self.trips = numbers.failures, numbers.trips
        self._successes, self._probes = numbers.successes, numbers.probes
        if numbers.generation != self._permit.generation:
            self._permit = Permit(self, numbers.generation, numbers.state)
        self.window.restore(numbers.window)
        self._listen()

    @property
    def permit(self) -> Permit:
        """That of the present generation, which no request has been given by this."""
        return self._permit

    @property
    def generation(self) -> int:
        """Grows with every change of state."""
        return self._permit.generation

    def _listen(self) -> None:
        self.hears_all = self.policy.needs_successes or self.failures > 0 or self.state is not CircuitState.CLOSED

    def _judge_rates(self, now: float, because: str) -> None:
        policy, window = self.policy, self.window
        if window.calls < policy.minimum_calls:
            return
        if window.failures >= policy.failure_rate * window.calls:
            self._open(now, f"{window.failures} of {_counted(window.calls, 'call')} failed{because}")
        elif policy.slow_call_seconds and window.slow >= policy.slow_call_rate * window.calls:
            self._open(now, f"{window.slow} of {_counted(window.calls, 'call')} were slow{because}")

    def _take_over(self, now: float) -> None:
        """What the policy's mode says, from now on."""
        mode = self.policy.mode
        if mode == "forced_open":
            self._enter(CircuitState.OPEN, now, "forced open", OPERATOR)
            self._reopens_at = inf
        else:
            self._enter(CircuitState.CLOSED, now, "disabled" if mode == "disabled" else "back to automatic", OPERATOR)

    def _open(self, now: float, reason: str) -> None:
        self.trips += 1
        self._enter(CircuitState.OPEN, now, reason)

    def _enter(self, state: CircuitState, now: float, reason: str, by: str = "") -> None:
        before, self.state = self.state, state
        self._reopens_at = now + self.policy.recovery_timeout
        self._permit = Permit(self, self._permit.generation + 1, state)
        self._probes = 0
        self._successes = 0
        if state is CircuitState.CLOSED:
            self.failures = 0
            self.window = OutcomeWindow(self.policy.window_seconds, now)
        self.hears_all = state is not CircuitState.CLOSED or self.policy.needs_successes
        if self._tell is not None and (before is not state or by):
            self._tell(Transition(before, state, reason, by))


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
