"""What tells of the running traffic, put together: the metrics, up to date, and what is there at this moment."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from microgateway.observability.metrics import Metrics

INTERVAL = 1.0  # seconds

Tick = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Gauges:
    """What is there now. Each is asked only when somebody wants to know."""

    in_flight: Callable[[], int]  # requests that are not answered yet, and WebSockets
    connections: Callable[[], int]  # of clients
    upstream_connections: Callable[[], int]


@dataclass(frozen=True, slots=True)
class Monitoring:
    """`flush` has the recorder hand over what it has; `wall` is seconds since the epoch."""

    metrics: Metrics
    gauges: Gauges
    flush: Callable[[], None]
    wall: Callable[[], float]

    def up_to_date(self, ago: float = 0.0) -> Metrics:
        """The metrics, with every exchange that has ended by now, or so many seconds ago for those not folded yet."""
        self.flush()
        self.metrics.fold(self.wall() - ago)
        return self.metrics


class Ticker:
    """Brings the metrics up to date every second, and then calls each of `ticks` with the time."""

    def __init__(self, monitoring: Monitoring, ticks: Sequence[Tick] = ()) -> None:
        self._monitoring = monitoring
        self._ticks = ticks
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """The next tick comes with the next second of the clock on the wall, where slots begin too."""
        wait = INTERVAL - self._monitoring.wall() % INTERVAL
        self._timer = asyncio.get_running_loop().call_later(wait, self._tick)

    def stop(self) -> None:
        """Counts what there is by now, and ticks no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._monitoring.up_to_date()

    def _tick(self) -> None:
        self.start()  # first, so that a mistake in a tick, which the loop reports, does not end all ticking
        self._monitoring.up_to_date(INTERVAL / 2)  # a second has just begun: what was counted is of the one before
        now = self._monitoring.wall()
        for tick in self._ticks:
            tick(now)
