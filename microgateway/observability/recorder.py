"""Is told of every exchange when it has ended: counts it soon after, off the path of the requests."""

import asyncio
from collections.abc import Callable, Sequence

from microgateway.exchange import Exchange
from microgateway.observability.runs import Run, runs_of
from microgateway.observability.usage import Usage

FLUSH_INTERVAL = 0.1  # seconds
MOST_PENDING = 256  # exchanges: enough that the code which counts them is in the processor's cache for most of them

# Problems that are the service's doing; a client that leaves or sends nonsense says nothing of it
CODES_OF_THE_SERVICE = frozenset(
    (
        "request_timeout",
        "upstream_connect_timeout",
        "upstream_connection_lost",
        "upstream_malformed",
        "upstream_name_not_resolved",
        "upstream_timeout",
        "upstream_tls_failed",
        "upstream_unreachable",
    )
)

Sink = Callable[[Sequence[Exchange]], None]
Counter = Callable[[Sequence[Run]], None]


class Recorder:
    """Collects exchanges and hands them on: in batches to every sink, in runs to the usage and to all `counters`."""

    def __init__(self, usage: Usage, sinks: Sequence[Sink] = (), *, counters: Sequence[Counter] = ()) -> None:
        self.usage = usage
        self._sinks = sinks
        self._counters = counters
        self._pending: list[Exchange] = []
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """From now on exchanges are counted a tenth of a second after their end, at the latest."""
        self._timer = asyncio.get_running_loop().call_later(FLUSH_INTERVAL, self._flush_again)

    def stop(self) -> None:
        """Counts what is left."""
        if self._timer is not None:
            self._timer.cancel()
        self.flush()

    def record(self, exchange: Exchange) -> None:
        """One exchange has ended."""
        pending = self._pending
        pending.append(exchange)
        if len(pending) >= MOST_PENDING:
            self.flush()

    def flush(self) -> None:
        """Counts every exchange that has ended so far."""
        if not self._pending:
            return
        batch, self._pending = self._pending, []
        runs = runs_of(batch)
        self._count(runs)
        for count in self._counters:
            count(runs)
        for sink in self._sinks:
            sink(batch)

    def _flush_again(self) -> None:
        self.start()  # first: a sink that fails must not be the last that is called
        self.flush()

    def _count(self, runs: Sequence[Run]) -> None:
        for run in runs:
            first = run[0]
            if first.principal is not None:
                key = self.usage.changing_key(first.principal.counted_as)
                key.total_requests += len(run)
                key.last_used_at = run[-1].timestamp
                if first.status == 429 and first.stage == "rate_limit":
                    key.rejected_requests += len(run)
            if first.attempts and first.destination is not None:
                service = self.usage.changing_service(first.destination.upstream.id)
                service.total_requests += len(run)
                service.total_errors += _errors_of_the_service(run)


def _errors_of_the_service(run: Run) -> int:
    first = run[0]
    if first.code in CODES_OF_THE_SERVICE:
        return len(run)
    if first.status < 500:
        return 0
    return sum(exchange.upstream_status >= 500 for exchange in run)
