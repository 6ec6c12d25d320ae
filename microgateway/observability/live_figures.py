"""The figures of one second, as the live stream tells them."""

from typing import Any

from microgateway.core.histogram import percentiles
from microgateway.core.rolling import Span
from microgateway.observability.metrics import DURATION, requests_of
from microgateway.observability.monitoring import Monitoring
from microgateway.observability.outcomes import OUTCOMES


def figures(monitoring: Monitoring, second: int) -> dict[str, Any]:
    """Of the second that began then, since the epoch; durations are milliseconds. What is `in_flight` is so now."""
    tally = monitoring.metrics.total.over(Span(second, second, 1, 1.0))
    p50, p95, p99 = (round(found / 1_000, 3) for found in percentiles(tally.histograms[DURATION], 0.5, 0.95, 0.99))
    return {
        "at": second,
        "requests": requests_of(tally),
        "outcomes": dict(zip(OUTCOMES, tally.counts, strict=False)),
        "latency_ms": {"p50": p50, "p95": p95, "p99": p99},
        "in_flight": monitoring.gauges.in_flight(),
        "connections": monitoring.gauges.connections(),
    }
