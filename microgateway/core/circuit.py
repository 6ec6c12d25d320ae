"""The circuit breaker: trusts a service until it fails, then leaves it alone, then asks a few times before trusting it
again.

    CLOSED     every request passes; `failure_threshold` failures in a row → OPEN
    OPEN       nothing passes; after `recovery_timeout` seconds → HALF_OPEN, at the next request
    HALF_OPEN  at most `half_open_max_calls` probes pass, finished and in flight together;
               as many successes → CLOSED; one failure → OPEN

Every change of state begins a new *generation*. A permit carries the generation that gave it, and a report from an
earlier one changes nothing: an answer that was asked for before a trip says nothing of the service after it. A permit
is given back exactly once, with `succeeded`, `failed` or `abandoned`; the last frees a probe's place without a verdict,
so that a client that hangs up can't wedge the circuit. What is unsatisfactory: successes in a row forgive everything,
so a service that fails every other request never trips here.
"""

from dataclasses import dataclass
from enum import Enum


class CircuitState(Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class CircuitPolicy:
    """When a circuit trips and how it recovers. `recovery_timeout` is seconds."""

    failure_threshold: int = 5
    recovery_timeout: float = 30.0
    half_open_max_calls: int = 3


@dataclass(frozen=True, slots=True, eq=False)
class Permit:
    """Leave to send one request, from the state that the circuit has in this generation."""

    circuit: "Circuit"
    generation: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """The circuit does not trust the service. `retry_after`: seconds until it may ask again."""

    retry_after: float


class Circuit:
    """One service's breaker. `now` is seconds on a clock that never goes back."""

    __slots__ = ("_permit", "_probes", "_successes", "changed_at", "failures", "policy", "state", "trips")

    def __init__(self, policy: CircuitPolicy, now: float) -> None:
        self.policy = policy
        self.state = CircuitState.CLOSED
        self.failures = 0
        self.trips = 0
        self.changed_at = now
        self._permit = Permit(
            self, 0
        )  # the current generation's, shared by all its requests: nothing is allocated per request
        self._probes = 0
        self._successes = 0

    def try_acquire(self, now: float) -> Permit | Refusal:
        """Leave to send one request now, or how long to wait."""
        if self.state is CircuitState.CLOSED:
            return self._permit
        if self.state is CircuitState.OPEN:
            wait = self.changed_at + self.policy.recovery_timeout - now
            if wait > 0:
                return Refusal(wait)
            self._enter(CircuitState.HALF_OPEN, now)
        if self._probes + self._successes >= self.policy.half_open_max_calls:
            return Refusal(1.0)  # the probes under way decide; there is no better guess of when
        self._probes += 1
        return self._permit

    def retry_after(self, now: float) -> float:
        """Seconds until a request may pass, as far as is known; changes nothing."""
        if self.state is not CircuitState.OPEN:
            return 0.0
        return max(0.0, self.changed_at + self.policy.recovery_timeout - now)

    def succeeded(self, permit: Permit, now: float) -> None:
        """The service answered as a working service does."""
        if permit is not self._permit:
            return
        if self.state is CircuitState.CLOSED:
            self.failures = 0
            return
        self._probes -= 1
        self._successes += 1
        if self._successes >= self.policy.half_open_max_calls:
            self._enter(CircuitState.CLOSED, now)

    def failed(self, permit: Permit, now: float) -> None:
        """The service could not be reached, did not answer in time, or answered that it is broken."""
        if permit is not self._permit:
            return
        self.failures += 1
        if self.state is CircuitState.HALF_OPEN or self.failures >= self.policy.failure_threshold:
            self.trips += 1
            self._enter(CircuitState.OPEN, now)

    def abandoned(self, permit: Permit) -> None:
        """The request ended without saying anything of the service, as when the client went away."""
        if permit is self._permit and self.state is CircuitState.HALF_OPEN:
            self._probes -= 1

    def reset(self, now: float) -> None:
        """Trust the service again at once: an operator's decision."""
        self._enter(CircuitState.CLOSED, now)

    def change_policy(self, policy: CircuitPolicy) -> None:
        """Puts other settings in force; the state, and what is known of the service, stay."""
        self.policy = policy

    @property
    def generation(self) -> int:
        """Grows with every change of state."""
        return self._permit.generation

    def _enter(self, state: CircuitState, now: float) -> None:
        self.state = state
        self.changed_at = now
        self._permit = Permit(self, self._permit.generation + 1)
        self._probes = 0
        self._successes = 0
        if state is CircuitState.CLOSED:
            self.failures = 0
