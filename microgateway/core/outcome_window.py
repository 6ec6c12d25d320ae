"""What came of the calls of the last seconds, counted in a ring of buckets.

The window slides by a tenth of its length at a time, so it holds between nine and ten tenths of what it says. Counting
makes nothing: a bucket is three numbers in lists that are there from the beginning.
"""

from collections.abc import Sequence

BUCKETS = 10


class OutcomeWindow:
    """`seconds` is how far back it looks. `now` is seconds on a clock that never goes back."""

    __slots__ = ("_calls", "_failures", "_newest", "_slow", "_width", "calls", "failures", "seconds", "slow")

    def __init__(self, seconds: float, now: float) -> None:
        self.seconds = seconds
        self._width = seconds / BUCKETS
        self._newest = int(now / self._width)
        self._calls = [0] * BUCKETS
        self._failures = [0] * BUCKETS
        self._slow = [0] * BUCKETS
        self.calls = 0
        self.failures = 0
        self.slow = 0

    def count(self, now: float, *, failed: bool, slow: bool) -> None:
        """One call that has ended."""
        self.forget(now)
        place = self._newest % BUCKETS
        self.calls += 1
        self._calls[place] += 1
        if failed:
            self.failures += 1
            self._failures[place] += 1
        if slow:
            self.slow += 1
            self._slow[place] += 1

    def forget(self, now: float) -> None:
        """Drops what is too old by now."""
        newest = int(now / self._width)
        if newest <= self._newest:
            return
        for number in range(max(self._newest + 1, newest - BUCKETS + 1), newest + 1):
            place = number % BUCKETS
            self.calls -= self._calls[place]
            self.failures -= self._failures[place]
            self.slow -= self._slow[place]
            self._calls[place] = self._failures[place] = self._slow[place] = 0
        self._newest = newest

    @property
    def numbers(self) -> tuple[int, ...]:
        """All that it knows: the newest bucket's number, and of each bucket the calls, the failures, the slow ones."""
        return (self._newest, *self._calls, *self._failures, *self._slow)

    def restore(self, numbers: Sequence[int]) -> None:
        """Knows this from now on, and nothing else."""
        self._newest = numbers[0]
        self._calls = list(numbers[1 : BUCKETS + 1])
        self._failures = list(numbers[BUCKETS + 1 : 2 * BUCKETS + 1])
        self._slow = list(numbers[2 * BUCKETS + 1 : 3 * BUCKETS + 1])
        self.calls, self.failures, self.slow = sum(self._calls), sum(self._failures), sum(self._slow)

    @property
    def failure_rate(self) -> float:
        """Between 0 and 1; 0 without calls."""
        return self.failures / self.calls if self.calls else 0.0

    @property
    def slow_rate(self) -> float:
        """Between 0 and 1; 0 without calls."""
        return self.slow / self.calls if self.calls else 0.0
