"""The time in which something is simulated: the machine's own, or one that stands still between two happenings.

The data plane is given the time and never asks for it, so it runs in either and can't tell them apart.
"""

import asyncio
import heapq
import time
from collections.abc import Callable
from itertools import count
from typing import Protocol

from microgateway.clock import Clock

AT_A_TIME = 16  # turns between two looks at the clock

Turn = Callable[[], object]


class World(Protocol):
    """A clock, and what is still to happen."""

    def now(self) -> float: ...
    def wall(self) -> float: ...
    def later(self, delay: float, turn: Turn) -> None:
        """Has this happen in so many seconds; with 0, after all that is due already."""
        ...


class VirtualWorld:
    """A minute here takes as long as what happens in it. What is due at the same moment keeps its order."""

    __slots__ = ("_coming", "_epoch", "_now", "_numbers")

    def __init__(self, *, now: float = 0.0, wall: float = 0.0) -> None:
        self._now = now
        self._epoch = wall - now
        self._coming: list[tuple[float, int, Turn]] = []
        self._numbers = count()

    def now(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._epoch + self._now

    def later(self, delay: float, turn: Turn) -> None:
        heapq.heappush(self._coming, (self._now + delay, next(self._numbers), turn))

    def settle(self) -> None:
        """Everything that is due at this moment, and what comes of it at once."""
        self.run_until(self._now)

    def run_until(self, moment: float) -> None:
        """Everything up to and at this moment, in order; then it is this moment."""
        coming = self._coming
        while coming and coming[0][0] <= moment:
            self._now, _, turn = heapq.heappop(coming)
            turn()
        self._now = max(self._now, moment)

    def run_for(self, seconds: float, is_done: Callable[[], bool]) -> bool:
        """As far as this machine comes in so many seconds. Says whether anything is left to do."""
        coming, until = self._coming, time.perf_counter() + seconds
        while coming and not is_done():
            for _ in range(AT_A_TIME):
                if not coming or is_done():
                    return bool(coming)
                self._now, _, turn = heapq.heappop(coming)
                turn()
            if time.perf_counter() >= until:
                break
        return bool(coming)


class RealWorld:
    """This machine's time, on the event loop that runs."""

    __slots__ = ("_clock", "_loop")

    def __init__(self, *, clock: Clock, loop: asyncio.AbstractEventLoop) -> None:
        self._clock = clock
        self._loop = loop

    def now(self) -> float:
        return self._clock.now()

    def wall(self) -> float:
        return self._clock.wall()

    def later(self, delay: float, turn: Turn) -> None:
        if delay > 0.0:
            self._loop.call_later(delay, turn)
        else:
            self._loop.call_soon(turn)
