"""The two clocks: one for durations, one for the calendar. The core never reads either; it is given `now`."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the composition root hands to whoever needs the time."""

    def now(self) -> float:
        """Seconds on a clock that never goes back; only differences mean anything."""
        ...

    def wall(self) -> float:
        """Seconds since the Unix epoch, for what people read and for expiry dates."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()


def utc(seconds: float) -> datetime:
    """Seconds since the epoch as a date with its time zone."""
    return datetime.fromtimestamp(seconds, UTC)
