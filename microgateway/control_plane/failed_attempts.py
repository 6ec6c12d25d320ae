"""Whoever fails too often has to wait. Nobody can guess a key; this keeps nobody busy with those who try."""

from microgateway.control_plane.problems import TooManyAttemptsError
from microgateway.core.token_bucket import NANOSECONDS, Limit, TokenBucket

MOST_ADDRESSES = 4_096


class FailedAttempts:
    """Failures by client address, each with a bucket of its own. Successes cost nothing."""

    def __init__(self, *, limit: Limit = Limit(per_minute=60, burst=20)) -> None:  # noqa: B008  immutable
        self._limit = limit
        self._buckets: dict[str, TokenBucket] = {}

    def check(self, address: str, now: float) -> None:
        """Raises `TooManyAttemptsError` for an address whose failures have used its bucket up."""
        bucket = self._buckets.get(address)
        if bucket is None:
            return
        grant = bucket.peek(int(now * NANOSECONDS))
        if not grant.admitted:
            seconds = -(-grant.retry_after // NANOSECONDS)
            raise TooManyAttemptsError(f"Too many wrong credentials came from this address; try again in {seconds} s.")

    def note(self, address: str, now: float) -> None:
        """One failure. Too many addresses, and all begin anew: who can have so many is not held up by this."""
        instant = int(now * NANOSECONDS)
        if address not in self._buckets:
            if len(self._buckets) >= MOST_ADDRESSES:
                self._buckets.clear()
            self._buckets[address] = TokenBucket(self._limit, instant)
        self._buckets[address].take(instant)
