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
from microgateway.simulation.fine_timer import FineTimer

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
    """This machine's time, on the event loop that runs. Who made it closes it.

    What is to happen happens in the order in which it is due, as in virtual time, also where the machine was late.
    """

    __slots__ = ("_clock", "_coming", "_loop", "_numbers", "_timer")

    def __init__(self, *, clock: Clock, loop: asyncio.AbstractEventLoop) -> None:
        self._clock = clock
        self._loop = loop
        self._coming: list[tuple[float, int, Turn]] = []
        self._numbers = count()
        self._timer: FineTimer | None = None

    def now(self) -> float:
        return self._clock.now()

    def wall(self) -> float:
        return self._clock.wall()

    def later(self, delay: float, turn: Turn) -> None:
        if delay <= 0.0:
            self._loop.call_soon(turn)
            return
        coming = self._coming
        heapq.heappush(coming, (time.monotonic() + delay, next(self._numbers), turn))
        if coming[0][2] is turn:
            self._set_timer()

    def close(self) -> None:
        """What was still to happen does not."""
        self._coming.clear()
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    def _come(self) -> None:
        """Some of what is due; traffic has its turn before the rest."""
        coming = self._coming
        try:
            for _ in range(AT_A_TIME):
                if not coming or coming[0][0] > time.monotonic():
                    break
                heapq.heappop(coming)[2]()
        finally:
            if coming:
                self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is None:
            self._timer = FineTimer(self._loop, self._come)
        self._timer.set(self._coming[0][0])
