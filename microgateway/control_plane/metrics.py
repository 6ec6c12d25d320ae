"""/api/metrics: how the traffic is, and how it was in the window before.

Everything is asked of the same counts, so the endpoints agree with each other and with `/metrics`. A request is counted
when it has ended: a WebSocket or a long stream with its whole duration, at its end.
"""

from heapq import nlargest
from operator import attrgetter
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from microgateway.control_plane.dependencies import ControlPlane, Filter, Here
from microgateway.control_plane.problems import documented
from microgateway.control_plane.readings import (
    Compared,
    Figure,
    Percentiles,
    Reading,
    SeriesReading,
    View,
    WindowAnswer,
    figure,
    limited_in,
    outcomes_in,
    refused_in,
)
from microgateway.control_plane.window import Window
from microgateway.core.rolling import Rolling, Span, Tally, span_of
from microgateway.errors import NotFoundError
from microgateway.observability.metrics import (
    ALL_HISTOGRAMS,
    COUNTS,
    LIMITED_BY_RULE,
    SHADOWED_BY_RULE,
    Series,
    requests_of,
)
from microgateway.observability.outcomes import LIMITED

ONE_MINUTE = 60

router = APIRouter(prefix="/api/metrics", tags=["metrics"])

Of = Annotated[Filter, Query(description="Of this service alone: its id or its name.")]
HowMany = Annotated[int, Query(ge=1, le=1_000, description="The most services, routes, keys and statuses, each.")]


class LatencyFigures(BaseModel):
    """Milliseconds from a request's head to the end of its answer, and what they were in the window before."""

    mean: Figure
    p50: Figure
    p95: Figure
    p99: Figure

    @classmethod
    def of(cls, compared: Compared) -> "LatencyFigures":
        return cls(
            mean=figure(compared, lambda reading: reading.latency_ms.mean),
            p50=figure(compared, lambda reading: reading.latency_ms.p50),
            p95=figure(compared, lambda reading: reading.latency_ms.p95),
            p99=figure(compared, lambda reading: reading.latency_ms.p99),
        )


class DashboardAnswer(BaseModel):
    """The whole gateway at a glance. `in_flight` counts requests under way and open WebSockets, now."""

    window: WindowAnswer
    requests: Figure
    requests_per_second: Figure
    error_rate: Figure
    latency_ms: LatencyFigures
    overhead_ms: Percentiles
    refused: Figure
    limited: Figure
    in_flight: int
    connections: int
    outcomes: dict[str, int]
    statuses: dict[str, int]
    services: list[SeriesReading]


class LatencyPoint(BaseModel):
    """One slot of the chart. `start` is seconds since the epoch."""

    start: int
    requests: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


class LatencyAnswer(BaseModel):
    """Where the time goes. `upstream_ms` is from the request's going out to the end of its answer; `overhead_ms` what
    passed before, in the gateway: judging, rewriting, and making a connection where none was free. Overhead is told of
    requests that needed one attempt.
    """

    window: WindowAnswer
    total: Compared
    upstream_ms: Percentiles
    overhead_ms: Percentiles
    services: list[SeriesReading]
    routes: list[SeriesReading]
    keys: list[SeriesReading]
    statuses: list[SeriesReading]
    history: list[LatencyPoint]


class ServicesAnswer(BaseModel):
    """Every service that is configured, in the order of the services."""

    window: WindowAnswer
    items: list[SeriesReading]
    total: int


class VolumePoint(BaseModel):
    """One slot of the chart. `start` is seconds since the epoch; `outcomes` adds up to `requests`."""

    start: int
    requests: int
    outcomes: dict[str, int]


class VolumeAnswer(BaseModel):
    """`history` has every slot of the window, also those in which nothing happened; the last one is still running."""

    window: WindowAnswer
    requests: int
    outcomes: dict[str, int]
    history: list[VolumePoint]


class LimitedKey(BaseModel):
    """A key that was limited. `share` is the part of its requests that was, between 0 and 1."""

    id: str
    name: str
    requests: int
    limited: Figure
    share: float

    @classmethod
    def of(cls, key: SeriesReading) -> "LimitedKey":
        requests = key.current.requests
        share = round(limited_in(key.current) / requests, 6)
        return cls(id=key.id, name=key.name, requests=requests, limited=figure(key, limited_in), share=share)


class LimitingRule(BaseModel):
    """A rule that refused requests, or would have if it were enforced (`shadowed`).

    The keys' own limits are one rule, whose `id` is empty.
    """

    id: str
    name: str
    limited: int
    shadowed: int

    @classmethod
    def of(cls, rule: Series, span: Span) -> "LimitingRule":
        counts = rule.rolling.over(span).counts
        return cls(id=rule.id, name=rule.name, limited=counts[LIMITED_BY_RULE], shadowed=counts[SHADOWED_BY_RULE])


class RateLimitsAnswer(BaseModel):
    """How many requests limits refused. `keys` and `rules` have those only that were concerned, most often first."""

    window: WindowAnswer
    requests: Figure
    limited: Figure
    keys: list[LimitedKey]
    rules: list[LimitingRule]


@router.get("/dashboard")
async def dashboard(here: Here, window: Window = ONE_MINUTE, limit: HowMany = 20) -> DashboardAnswer:
    """The whole gateway at a glance."""
    metrics, gauges = here.live.monitoring.up_to_date(), here.live.monitoring.gauges
    view = _view(here, window)
    compared = view.compared(metrics.total)
    return DashboardAnswer(
        window=WindowAnswer.of(window, view.span),
        requests=figure(compared, lambda reading: reading.requests),
        requests_per_second=figure(compared, lambda reading: reading.requests_per_second),
        error_rate=figure(compared, lambda reading: reading.error_rate),
        latency_ms=LatencyFigures.of(compared),
        overhead_ms=Percentiles.of_overhead(metrics.total.over(view.span)),
        refused=figure(compared, refused_in),
        limited=figure(compared, limited_in),
        in_flight=gauges.in_flight(),
        connections=gauges.connections(),
        outcomes=compared.current.outcomes,
        statuses={reading.id: reading.current.requests for reading in view.busiest(metrics.statuses, limit)},
        services=view.busiest(metrics.services, limit),
    )


@router.get("/latency", responses=documented(404))
async def latency(here: Here, window: Window = ONE_MINUTE, limit: HowMany = 20, service: Of = None) -> LatencyAnswer:
    """How long requests take, and where that time goes."""
    metrics = here.live.monitoring.up_to_date()
    view, rolling = _view(here, window), _rolling_of(here, service)
    tally = rolling.over(view.span)
    return LatencyAnswer(
        window=WindowAnswer.of(window, view.span),
        total=view.compared(rolling),
        upstream_ms=Percentiles.of_upstream(tally),
        overhead_ms=Percentiles.of_overhead(tally),
        services=view.busiest(metrics.services, limit),
        routes=view.busiest(metrics.routes, limit),
        keys=view.busiest(metrics.keys, limit),
        statuses=view.busiest(metrics.statuses, limit),
        history=[_latency_point(start, tally) for start, tally in sorted(rolling.by_slot(view.span).items())],
    )


@router.get("/services")
async def services(here: Here, window: Window = ONE_MINUTE) -> ServicesAnswer:
    """Every service that is configured, also one without traffic."""
    metrics = here.live.monitoring.up_to_date()
    view = _view(here, window)
    items: list[SeriesReading] = []
    for service in here.configuration.services.values():
        series = metrics.services.get(service.id)
        rolling = _untouched() if series is None else series.rolling
        items.append(SeriesReading(id=service.id, name=service.name, **dict(view.compared(rolling))))
    return ServicesAnswer(window=WindowAnswer.of(window, view.span), items=items, total=len(items))


@router.get("/rate-limits")
async def rate_limits(here: Here, window: Window = 60 * ONE_MINUTE, limit: HowMany = 20) -> RateLimitsAnswer:
    """Who was limited and by which rule, most often first."""
    metrics = here.live.monitoring.up_to_date()
    view = _view(here, window)
    compared = view.compared(metrics.total)
    rules = [LimitingRule.of(rule, view.span) for rule in metrics.rules]
    keys = view.busiest(metrics.keys, limit, weight=lambda tally: tally.counts[LIMITED])
    return RateLimitsAnswer(
        window=WindowAnswer.of(window, view.span),
        requests=figure(compared, lambda reading: reading.requests),
        limited=figure(compared, limited_in),
        keys=[LimitedKey.of(key) for key in keys],
        rules=nlargest(limit, [rule for rule in rules if rule.limited or rule.shadowed], key=attrgetter("limited")),
    )


@router.get("/volume", responses=documented(404))
async def volume(here: Here, window: Window = 60 * ONE_MINUTE, service: Of = None) -> VolumeAnswer:
    """How many requests came, slot by slot, and how they ended."""
    here.live.monitoring.up_to_date()
    view, rolling = _view(here, window), _rolling_of(here, service)
    by_slot = rolling.by_slot(view.span)
    reading: Reading = view.reading(rolling)
    return VolumeAnswer(
        window=WindowAnswer.of(window, view.span),
        requests=reading.requests,
        outcomes=reading.outcomes,
        history=[_volume_point(start, by_slot.get(start)) for start in view.span.starts()],
    )


def _view(here: ControlPlane, window: int) -> View:
    monitoring = here.live.monitoring
    span = span_of(window, monitoring.wall())
    return View(span, monitoring.metrics.known_since(span.slot))


def _rolling_of(here: ControlPlane, service: str | None) -> Rolling:
    metrics = here.live.monitoring.metrics
    if service is None:
        return metrics.total
    named = (each.id for each in here.configuration.services.values() if each.name == service)
    service_id = next(named, service)
    series = metrics.services.get(service_id)
    if series is None and service_id not in here.configuration.services:
        raise NotFoundError("service", service)
    return _untouched() if series is None else series.rolling


def _untouched() -> Rolling:
    return Rolling(counts=COUNTS, histograms=ALL_HISTOGRAMS)


def _latency_point(start: int, tally: Tally) -> LatencyPoint:
    found = Percentiles.of(tally)
    return LatencyPoint(start=start, requests=requests_of(tally), p50_ms=found.p50, p95_ms=found.p95, p99_ms=found.p99)


def _volume_point(start: int, tally: Tally | None) -> VolumePoint:
    counts = (0,) * COUNTS if tally is None else tally.counts
    outcomes = outcomes_in(counts)
    return VolumePoint(start=start, requests=sum(outcomes.values()), outcomes=outcomes)
