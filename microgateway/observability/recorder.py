"""Is told of every exchange when it has ended: counts it soon after, off the path of the requests."""

import asyncio
from collections.abc import Callable, Sequence

from microgateway.exchange import Exchange
from microgateway.observability.usage import KeyUsage, ServiceUsage, Usage
from microgateway.snapshot import Destination

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


class Recorder:
    """Collects exchanges and hands them on in batches: to the usage counters, and to every sink."""

    def __init__(self, usage: Usage, sinks: Sequence[Sink] = ()) -> None:
        self.usage = usage
        self._sinks = sinks
        self._pending: list[Exchange] = []
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(FLUSH_INTERVAL, self._flush_again)

    def stop(self) -> None:
        """Counts what is left."""
        if self._timer is not None:
            self._timer.cancel()
        self.flush()

    def record(self, exchange: Exchange) -> None:
        pending = self._pending
        pending.append(exchange)
        if len(pending) >= MOST_PENDING:
            self.flush()

    def flush(self) -> None:
        """Counts every exchange that has ended so far."""
        if not self._pending:
            return
        batch, self._pending = self._pending, []
        self._count(batch)
        for sink in self._sinks:
            sink(batch)

    def _flush_again(self) -> None:
        self.start()  # first: a sink that fails must not be the last that is called
        self.flush()

    def _count(self, batch: Sequence[Exchange]) -> None:
        """Neighbours in a batch are often of one key and one service, so the last one's counters are kept at hand."""
        principal, key = None, KeyUsage()
        destination, service = None, ServiceUsage()
        for exchange in batch:
            judgement = exchange.judgement
            if judgement is None:
                continue
            if judgement.principal is not principal:
                principal = judgement.principal
                key = KeyUsage() if principal is None else self.usage.changing_key(principal.counted_as)
            key.total_requests += 1
            key.last_used_at = exchange.timestamp
            if exchange.status == 429 and exchange.stage == "rate_limit":
                key.rejected_requests += 1
            if exchange.attempts:
                if judgement.destination is not destination:
                    destination = judgement.destination
                    service = self._service_of(destination)
                service.total_requests += 1
                if exchange.upstream_status >= 500 or (exchange.code and exchange.code in CODES_OF_THE_SERVICE):
                    service.total_errors += 1

    def _service_of(self, destination: Destination | None) -> ServiceUsage:
        return ServiceUsage() if destination is None else self.usage.changing_service(destination.upstream.id)
