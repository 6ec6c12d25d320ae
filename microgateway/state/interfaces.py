"""What the data plane shares among requests, whoever keeps it: this process's memory, or that of several processes."""

from collections.abc import Collection, Sequence
from typing import Protocol

from microgateway.core.token_bucket import Grant, Limit
from microgateway.state.limits import Claim


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

    def peek(self, claims: Sequence[Claim], now: float) -> list[Grant]:
        """What `take_all` would find, with nothing taken and nothing counted."""
        ...

    def room(self, space: str) -> RoomView: ...

    def sweep(self, now: float) -> None:
        """Called every now and then: forgets some of the buckets that are full."""
        ...

    def keep_only(self, spaces: Collection[str]) -> None:
        """Forgets the buckets of rules that are not among these."""
        ...
