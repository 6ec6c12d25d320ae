"""What the metrics endpoints answer: windows read as numbers. Durations are milliseconds, rates are between 0 and 1."""

from collections.abc import Callable, Iterable, Sequence
from heapq import nlargest

from pydantic import BaseModel, Field

from microgateway.core.histogram import percentiles
from microgateway.core.rolling import Rolling, Span, Tally
from microgateway.observability.metrics import (
    DURATION,
    MICROSECONDS,
    OVERHEAD,
    OVERHEAD_MICROSECONDS,
    UPSTREAM,
    UPSTREAM_MICROSECONDS,
    Series,
    requests_of,
)
from microgateway.observability.outcomes import ERRORS, LIMITED, OUTCOMES, REFUSED

MILLISECOND = 1_000  # microseconds


class WindowAnswer(BaseModel):
    """The window that the figures are of. `from` and `until` are seconds since the epoch; `slot_seconds` is how finely
    it is known. It is shorter than asked for by the part of the last slot that is still to come.
    """

    model_config = {"populate_by_name": True}

    asked_seconds: int
    seconds: float
    slot_seconds: int
    begin: float = Field(alias="from")
    until: float

    @classmethod
    def of(cls, asked: int, span: Span) -> "WindowAnswer":
        return cls(
            asked_seconds=asked,
            seconds=round(span.seconds, 3),
            slot_seconds=span.slot,
            begin=float(span.first),
            until=round(span.first + span.seconds, 3),
        )


class Figure(BaseModel):
    """A value, and that of the window before: None where nothing is known of it."""

    value: float
    previous: float | None = None


class Percentiles(BaseModel):
    """Of durations, in milliseconds, each within 1.6 %; the mean is exact."""

    mean: float
    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, tally: Tally, histogram: int = DURATION, microseconds: int = MICROSECONDS) -> "Percentiles":
        """Of one of the tally's histograms; `microseconds` is the place of the sum that its mean is made of."""
        counts = tally.histograms[histogram]
        p50, p95, p99 = percentiles(counts, 0.5, 0.95, 0.99)
        mean = tally.counts[microseconds] / max(1, sum(counts.values()))
        return cls(mean=_ms(mean), p50=_ms(p50), p95=_ms(p95), p99=_ms(p99))

    @classmethod
    def of_upstream(cls, tally: Tally) -> "Percentiles":
        return cls.of(tally, UPSTREAM, UPSTREAM_MICROSECONDS)

    @classmethod
    def of_overhead(cls, tally: Tally) -> "Percentiles":
        return cls.of(tally, OVERHEAD, OVERHEAD_MICROSECONDS)


class Reading(BaseModel):
    """One window of one series. `outcomes` adds up to `requests`; `error_rate` is of upstream and gateway errors."""

    requests: int
    requests_per_second: float
    error_rate: float
    outcomes: dict[str, int]
    latency_ms: Percentiles

    @classmethod
    def of(cls, tally: Tally, seconds: float) -> "Reading":
        requests = requests_of(tally)
        return cls(
            requests=requests,
            requests_per_second=round(requests / seconds, 3),
            error_rate=error_rate_in(tally),
            outcomes=outcomes_in(tally.counts),
            latency_ms=Percentiles.of(tally),
        )


class Compared(BaseModel):
    """A window, and the one before it: None where nothing is known of it."""

    current: Reading
    previous: Reading | None


class SeriesReading(Compared):
    """One service's, route's, key's or status's. `service` is the name of a route's."""

    id: str
    name: str
    service: str | None = None


class View:
    """One window over any series. `known_since`: before that nothing is known, in seconds since the epoch."""

    def __init__(self, span: Span, known_since: float) -> None:
        self.span = span
        self.before = span.before() if span.before().first >= int(known_since) - span.slot else None

    def compared(self, rolling: Rolling) -> Compared:
        """A series in this window and in the one before."""
        return Compared(current=self.reading(rolling), previous=self.previous(rolling))

    def reading(self, rolling: Rolling) -> Reading:
        """A series in this window."""
        return Reading.of(rolling.over(self.span), self.span.seconds)

    def previous(self, rolling: Rolling) -> Reading | None:
        """A series in the window before, None where nothing is known of it."""
        return None if self.before is None else Reading.of(rolling.over(self.before), self.before.seconds)

    def busiest(
        self, table: Iterable[Series], most: int, weight: Callable[[Tally], int] = requests_of
    ) -> list[SeriesReading]:
        """Those with a weight in the window, the heaviest first; a weight is the number of requests."""
        tallies = [(series, series.rolling.over(self.span)) for series in table]
        shown = nlargest(most, (pair for pair in tallies if weight(pair[1])), key=lambda pair: weight(pair[1]))
        return [
            SeriesReading(
                id=series.id,
                name=series.name,
                service=series.parent or None,
                current=Reading.of(tally, self.span.seconds),
                previous=self.previous(series.rolling),
            )
            for series, tally in shown
        ]


def figure(of: Compared, what: Callable[[Reading], float]) -> Figure:
    """One number of a reading, and of the one before."""
    return Figure(value=what(of.current), previous=None if of.previous is None else what(of.previous))


def error_rate_in(tally: Tally) -> float:
    """The share of errors of this side among all, between 0 and 1; 0 where there was nothing."""
    requests = requests_of(tally)
    return round(sum(tally.counts[place] for place in ERRORS) / requests, 6) if requests else 0.0


def outcomes_in(counts: Sequence[int]) -> dict[str, int]:
    """The counts of a tally by the names of the outcomes. What stands behind them is left out."""
    return dict(zip(OUTCOMES, counts, strict=False))


def refused_in(reading: Reading) -> int:
    """How many requests authentication refused."""
    return reading.outcomes[OUTCOMES[REFUSED]]


def limited_in(reading: Reading) -> int:
    """How many requests limits refused."""
    return reading.outcomes[OUTCOMES[LIMITED]]


def _ms(microseconds: float) -> float:
    return round(microseconds / MILLISECOND, 3)
