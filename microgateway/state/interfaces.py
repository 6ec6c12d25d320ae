"""What the data plane shares among requests, whoever keeps it: this process's memory, or that of several processes."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from microgateway.core.circuit import Breaker, CircuitPolicy, CircuitState, Numbers, Permit, Refusal
from microgateway.core.limit_rules import Subject
from microgateway.core.outcome_window import OutcomeWindow
from microgateway.core.retry import Budget
from microgateway.core.token_bucket import Grant, Limit, TokenBucket
from microgateway.exchange import Event
from microgateway.state.limits import Claim, Limiting, ToldAgain


class RoomView(Protocol):
    """What one rate limit rule has said, to look at; see `RateLimitAnswer`."""

    @property
    def admitted(self) -> int: ...
    @property
    def refused(self) -> int: ...
    @property
    def shadowed(self) -> int: ...
    @property
    def overflowed(self) -> int: ...
    @property
    def subjects(self) -> int: ...


class Limiter(Protocol):
    """Every token bucket there is. `now` is seconds on a clock that never goes back."""

    def take(self, client: str, limit: Limit, now: float) -> Grant:
        """One token from the bucket of a key's own limit."""
        ...

    def take_all(self, claims: Sequence[Claim], now: float) -> list[Grant]:
        """One token from every bucket, or none from any where an enforced limit's is empty; in the claims' order."""
        ...

    def hold(self, claims: Sequence[Claim]) -> Sequence[Any]:
        """The claims in the form in which `take_again` is quick, which is the limiter's own business."""
        ...

    def take_again(self, held: Sequence[Any], now: float) -> ToldAgain | None:
        """One token from every bucket where that is plain; None, with nothing taken, where `take_all` must be asked."""
        ...

    def peek(self, claims: Sequence[Claim], now: float) -> list[Grant]:
        """What `take_all` would find, with nothing taken and nothing counted."""
        ...

    def look(self, limiting: Limiting, subject: Subject, now: float) -> TokenBucket:
        """A copy of one bucket as it stands under this limit. Unlike `peek` it leaves no trace at all."""
        ...

    def room(self, space: str) -> RoomView: ...

    def sweep(self, now: float) -> None:
        """Called every now and then: forgets some of the buckets that are full."""
        ...

    def keep_only(self, spaces: Collection[str]) -> None:
        """Forgets the buckets of rules that are not among these."""
        ...


class RetryBudgets(Protocol):
    """One retry budget for each service."""

    def of(self, service_id: str, now: int) -> Budget:
        """The service's budget; `now` is nanoseconds."""
        ...

    def keep_only(self, service_ids: Collection[str]) -> None:
        """Forgets the budgets of services that are not among these."""
        ...


class CircuitView(Breaker, Protocol):
    """One service's circuit, to look at and to ask; see `core/circuit.py`."""

    @property
    def policy(self) -> CircuitPolicy: ...
    @property
    def state(self) -> CircuitState: ...
    @property
    def failures(self) -> int: ...
    @property
    def trips(self) -> int: ...
    @property
    def window(self) -> OutcomeWindow: ...
    @property
    def generation(self) -> int: ...
    def try_acquire(self, now: float) -> Permit | Refusal: ...
    def retry_after(self, now: float) -> float: ...
    def numbers(self) -> Numbers: ...


class Circuits(Protocol):
    """One circuit per service, kept across edits of the service, with its latest transitions."""

    def of(self, service_id: str, policy: CircuitPolicy, now: float) -> CircuitView:
        """The service's circuit, under this policy."""
        ...

    def state_of(self, service_id: str) -> CircuitState: ...

    def history_of(self, service_id: str) -> Sequence[Event]:
        """The circuit's latest transitions, the oldest first."""
        ...

    def snapshot(self) -> Mapping[str, CircuitView]:
        """The circuits there are, to look at."""
        ...

    def reset(self, service_id: str, now: float) -> None: ...

    def adopt(self, policies: Mapping[str, CircuitPolicy], now: float) -> None:
        """Puts the policies of all services in force; services that are not named are forgotten."""
        ...
