"""The token bucket: `burst` tokens at most, refilled at `per_minute` / 60 a second, one token a request.

Exact: the arithmetic is on integers, so that over any span of t seconds no more than per_minute·t/60 + burst requests
are admitted, without a rounding error that adds up. A token is 60·10⁹ parts, and every nanosecond brings `per_minute`
parts. A refused request takes nothing.
"""

from dataclasses import dataclass, field

NANOSECONDS = 1_000_000_000
TOKEN = 60 * NANOSECONDS
NEVER = 1 << 62  # nanoseconds


@dataclass(frozen=True, slots=True)
class Limit:
    """A rate in requests per minute together with the burst it allows: two numbers that travel together."""

    per_minute: int
    burst: int
    capacity: int = field(init=False, repr=False, compare=False)
    """The full bucket, in parts of a token."""
    per_second: int = field(init=False, repr=False, compare=False)
    """What a second brings, in parts of a token."""
    token_time: int = field(init=False, repr=False, compare=False)
    """Nanoseconds, rounded up, until a token that was taken has come back."""
    after_one: int = field(init=False, repr=False, compare=False)
    """The level that one request leaves a full bucket with, and `told_after_one` what is told of that."""
    told_after_one: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "capacity", self.burst * TOKEN)
        object.__setattr__(self, "per_second", self.per_minute * NANOSECONDS)
        object.__setattr__(self, "token_time", -(-TOKEN // self.per_minute))
        object.__setattr__(self, "after_one", self.capacity - TOKEN)
        object.__setattr__(self, "told_after_one", self.told(self.after_one))

    def told(self, level: int) -> bytes:
        """What a client is told of a bucket with this level: the end of its RateLimit line, and the two lines below.

        That is the whole tokens that are left, and the whole seconds until it is full, rounded up.
        """
        remaining, reset = level // TOKEN, -((level - self.capacity) // self.per_second)
        lines = b";r=%d;t=%d\r\nX-RateLimit-Remaining: %d\r\nX-RateLimit-Reset: %d\r\n"
        return lines % (remaining, reset, remaining, reset)


class Grant:
    """A bucket's verdict on one request, with all that the answer's headers say of it.

    `level` is what is left, in parts of a token.
    """

    __slots__ = ("admitted", "level", "limit")

    def __init__(self, admitted: bool, limit: Limit, level: int) -> None:
        self.admitted = admitted
        self.limit = limit
        self.level = level

    @property
    def remaining(self) -> int:
        """Whole tokens left."""
        return self.level // TOKEN

    @property
    def retry_after(self) -> int:
        """Nanoseconds until one request would be admitted; 0 when one is now."""
        return max(0, -((self.level - TOKEN) // self.limit.per_minute))

    @property
    def reset(self) -> int:
        """Nanoseconds until the bucket is full."""
        return -((self.level - self.limit.capacity) // self.limit.per_minute)


class TokenBucket:
    """One client's bucket. `level` is in parts of a token, as of `updated` (nanoseconds on the caller's clock).

    From `full_at` on it is known to be full, and nothing has to be worked out: most clients ask less than they may.
    """

    __slots__ = ("full_at", "level", "limit", "updated")

    def __init__(self, limit: Limit, now: int) -> None:
        self.limit = limit
        self.level = limit.capacity
        self.updated = now
        self.full_at = now

    def take(self, now: int) -> Grant:
        """Takes one token if there is one. A clock that goes back brings no tokens, and takes none."""
        limit = self.limit
        if now >= self.full_at:
            self.updated, self.full_at = now, now + limit.token_time
            self.level = limit.after_one
            return Grant(True, limit, limit.after_one)
        admitted = self.refill(now) >= TOKEN
        if admitted:
            self.level -= TOKEN
            self.full_at = self.updated + limit.token_time if self.level == limit.after_one else NEVER
        return Grant(admitted, limit, self.level)

    def lower(self, parts: int) -> None:
        """Takes so many parts of a token out, whatever is left."""
        self.level -= parts
        self.full_at = NEVER

    def peek(self, now: int) -> Grant:
        """What `take` would decide, with nothing taken: `remaining` is as it stands."""
        elapsed = max(0, now - self.updated)
        level = min(self.limit.capacity, self.level + elapsed * self.limit.per_minute)
        return Grant(level >= TOKEN, self.limit, level)

    def change_limit(self, limit: Limit, now: int) -> None:
        """Puts another limit in force. What was used stays used: the tokens missing before are missing after."""
        missing = self.limit.capacity - self.refill(now)
        self.limit = limit
        self.level = max(0, limit.capacity - missing)
        self.full_at = NEVER

    def is_full(self, now: int) -> bool:
        """Whether nothing that was used is missing any more: then it is as good as a new one."""
        return self.level + (now - self.updated) * self.limit.per_minute >= self.limit.capacity

    def refill(self, now: int) -> int:
        """What there is by now, in parts of a token."""
        elapsed = now - self.updated
        if elapsed > 0:
            self.level = min(self.limit.capacity, self.level + elapsed * self.limit.per_minute)
            self.updated = now
        return self.level
