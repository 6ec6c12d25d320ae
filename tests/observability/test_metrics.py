"""The metrics beside the exchanges they were fed with: every view is a sum of the same counts."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgateway.core.histogram import at_most, percentiles
from microgateway.core.rolling import Rolling, span_of
from microgateway.exchange import Exchange
from microgateway.observability.counting import OTHER, OTHER_METHOD, UNMATCHED
from microgateway.observability.metrics import (
    DURATION,
    FORGOTTEN_AFTER,
    MICROSECONDS,
    OVERHEAD,
    UPSTREAM,
    Bounds,
    Metrics,
    Series,
)
from microgateway.observability.outcomes import OUTCOMES, outcome_of
from microgateway.observability.runs import runs_of
from microgateway.observability.usage import Usage
from tests.observability.exchanges import destination, exchange, principal, refused, rule

NOW = 1_700_000_000.0
USERS, BILLS = destination("/users", "users"), destination("/bills", "billing")
ADA, BOB = principal("ada"), principal("bob")

some_exchanges = st.lists(
    st.builds(
        exchange,
        st.sampled_from([101, 200, 204, 302, 404, 429, 500, 502, 503, 499]),
        to=st.sampled_from([None, USERS, BILLS]),
        by=st.sampled_from([None, ADA, BOB]),
        method=st.sampled_from([b"GET", b"POST", b"BREW", b""]),
        milliseconds=st.floats(0, 20_000),
        overhead=st.sampled_from([None, 0.0, 0.1]),
        stage=st.sampled_from(["", "proxy", "auth", "rate_limit"]),
        bytes_in=st.integers(0, 1_000),
        bytes_out=st.integers(0, 1_000),
    ),
    max_size=40,
)


def metrics(usage: Usage | None = None, **bounds: int) -> Metrics:
    return Metrics(bounds=Bounds(**bounds), now=NOW, usage=usage or Usage())


def fed(batch: Sequence[Exchange], **bounds: int) -> Metrics:
    made = metrics(None, **bounds)
    made.count(runs_of(batch))
    made.fold(NOW)
    return made


def requests(rolling: Rolling, window: int = 60, now: float = NOW) -> int:
    return sum(rolling.over(span_of(window, now)).counts[: len(OUTCOMES)])


def by_id(table: Iterable[Series], now: float = NOW) -> dict[str, int]:
    return {series.id: requests(series.rolling, now=now) for series in table}


def counted(batch: Iterable[Exchange], what: Callable[[Exchange], str | None]) -> dict[str, int]:
    return dict(Counter(name for name in map(what, batch) if name is not None))


def microseconds(ended: Exchange) -> int:
    return int((ended.ended - ended.started) * 1_000_000)


@given(st.lists(some_exchanges, max_size=3))
@settings(deadline=None, max_examples=60)
def test_all_views_agree_with_what_was_counted(batches: list[list[Exchange]]) -> None:
    """However the exchanges are cut into batches, and with folds between them."""
    made = metrics()
    for batch in batches:
        made.count(runs_of(batch))
        made.fold(NOW)
    every = [ended for batch in batches for ended in batch]
    total = made.total.over(span_of(60, NOW))
    outcomes = Counter(outcome_of(ended.status, ended.stage) for ended in every)
    assert total.counts[: len(OUTCOMES)] == [outcomes[place] for place in range(len(OUTCOMES))]
    assert total.counts[MICROSECONDS] == sum(map(microseconds, every))
    assert by_id(made.services) == counted(
        every, lambda e: None if e.destination is None else e.destination.upstream.id
    )
    assert by_id(made.routes) == counted(every, lambda e: None if e.destination is None else e.destination.id)
    assert by_id(made.keys) == counted(every, lambda e: None if e.principal is None else e.principal.id)
    assert by_id(made.statuses) == counted(every, lambda e: str(e.status))
    cells = [cell for route in made.counting.all_routes() for cell in route.cells.values()]
    assert sum(cell.all_requests for cell in cells) == len(every)
    assert sum(cell.all_bytes_in for cell in cells) == sum(ended.bytes_in for ended in every)
    assert sum(cell.all_bytes_out for cell in cells) == sum(ended.bytes_out for ended in every)


@given(some_exchanges)
@settings(deadline=None)
def test_histograms_hold_every_duration(batch: list[Exchange]) -> None:
    made = fed(batch)
    durations = [microseconds(ended) for ended in batch]
    assert at_most(made.total.over(span_of(60, NOW)).histograms[DURATION], (5_000, 10_000_000)) == [
        sum(duration <= 5_000 for duration in durations),
        sum(duration <= 10_000_000 for duration in durations),
    ]
    since_start: Counter[int] = Counter()
    for route in made.counting.all_routes():
        since_start.update(route.all_durations)
    assert since_start == made.total.over(span_of(60, NOW)).histograms[DURATION]


def test_overhead_is_what_passed_before_the_request_went_out() -> None:
    made = fed([exchange(to=USERS, milliseconds=10.0, overhead=2.0)])
    tally = made.total.over(span_of(60, NOW))
    assert percentiles(tally.histograms[OVERHEAD], 0.5)[0] == pytest.approx(2_000, rel=0.02)
    assert percentiles(tally.histograms[UPSTREAM], 0.5)[0] == pytest.approx(8_000, rel=0.02)
    (route,) = made.counting.routes.values()
    assert route.all_overhead_microseconds == pytest.approx(2_000, abs=2)
    assert route.all_upstream_microseconds == pytest.approx(8_000, abs=2)


def test_a_key_s_requests_have_their_own_times_and_a_service_its_name() -> None:
    users = destination(name="Users")
    made = fed([exchange(to=users, by=ADA, milliseconds=10.0), exchange(to=users, milliseconds=90.0, overhead=1.0)])
    (of_key,), (of_service,) = made.keys, made.services
    durations = of_key.rolling.over(span_of(60, NOW)).histograms[DURATION]
    assert percentiles(durations, 1.0)[0] == pytest.approx(10_000, 0.02)
    assert (of_service.id, of_service.name) == ("users", "Users")


def test_what_failed_attempts_took_is_nobody_s_overhead() -> None:
    made = fed([exchange(to=USERS, overhead=900.0, milliseconds=1_000.0, attempts=2)])
    tally = made.total.over(span_of(60, NOW))
    assert sum(tally.histograms[OVERHEAD].values()) == 0
    assert sum(tally.histograms[UPSTREAM].values()) == 1


def test_retries_are_counted_by_the_fault_that_they_mend() -> None:
    repeated = exchange(to=USERS, attempts=3)
    repeated.note_attempt("stale_connection", "repeated: the pooled connection had gone stale", "127.0.0.1:9000", 1.0)
    repeated.note_attempt("connection_lost", "repeated: the method is idempotent", "127.0.0.1:9000", 1.0)
    given_up = exchange(502, to=USERS, attempts=1, stage="proxy")
    given_up.note_attempt("timed_out", "not repeated: no retries left", "127.0.0.1:9000", 1.0)
    made = fed([repeated, given_up])
    (route,) = made.counting.routes.values()
    assert route.retries == {"stale_connection": 1, "connection_lost": 1}


def test_limits_are_counted_by_the_rule_that_decided() -> None:
    made = fed(
        [
            refused(429, "rate_limit", "rate_limited", by=ADA, limited_by=ADA),
            refused(429, "rate_limit", "rate_limited", limited_by=rule("crawlers")),
            refused(429, "rate_limit", "rate_limited", limited_by=rule("crawlers"), shadowed=(rule("tried"),)),
            exchange(to=USERS, by=ADA, limited_by=ADA, shadowed=(rule("tried"),)),
            exchange(429, to=USERS, by=ADA, limited_by=ADA),  # the service's own limit
            exchange(to=USERS),
        ]
    )
    told = {
        cell.name: (cell.all_limited, cell.all_shadowed)
        for cell in made.counting.all_rules()
        if cell.all_limited or cell.all_shadowed
    }
    assert told == {"key": (1, 0), "Crawlers": (2, 0), "Tried": (0, 2)}
    assert made.counting.limits_asked == 5
    assert {series.id: series.rolling.over(span_of(60, NOW)).counts for series in made.rules} == {
        "": [1, 0],
        "crawlers": [2, 0],
        "tried": [0, 2],
    }


def test_what_never_had_a_route_shares_one_place() -> None:
    made = fed([refused(404, "router", "route_not_found", by=ADA, path=b"/%d" % number) for number in range(50)])
    assert made.counting.routes == {}
    (cell,) = made.counting.unmatched.cells.values()
    assert (cell.route.route, cell.all_requests) == (UNMATCHED, 50)


def test_unusual_methods_share_one_place() -> None:
    made = fed([exchange(to=USERS, method=b"M%d" % number) for number in range(50)])
    (route,) = made.counting.routes.values()
    assert [(cell.method, cell.all_requests) for cell in route.cells.values()] == [(OTHER_METHOD, 50)]


def test_series_are_bounded_and_the_rest_share_one() -> None:
    batch = [exchange(to=destination(f"/r{number}", f"s{number}"), by=principal(f"k{number}")) for number in range(10)]
    made = fed(batch, series=3)
    for table in (made.services, made.routes, made.keys):
        told = by_id(table)
        assert len(told) == 4
        assert told[OTHER] == 7
    assert len(made.counting.routes) == 3
    assert requests(made.total) == 10


def test_kinds_of_exchanges_are_bounded_and_none_is_lost() -> None:
    made = fed([exchange(status, to=USERS) for status in range(200, 300)], cells=10)
    assert made.counting.cells <= 10 + 100  # the bound, and what overflows: at most one for each status
    assert sum(cell.all_requests for route in made.counting.all_routes() for cell in route.cells.values()) == 100


def test_an_idle_series_makes_room_for_another() -> None:
    made = fed([exchange(to=USERS, by=ADA)], series=1)
    later = NOW + FORGOTTEN_AFTER + 60
    made.fold(later)
    made.count(runs_of([exchange(to=BILLS, by=BOB)]))
    made.fold(later)
    assert by_id(made.keys, later) == {"bob": 1}
    assert by_id(made.services, later) == {"billing": 1}
    assert [route.service_id for route in made.counting.routes.values()] == ["billing"]


def test_a_service_that_is_gone_is_forgotten_and_stays_in_the_total() -> None:
    made = fed([exchange(to=USERS), exchange(to=BILLS)])
    made.keep_services({"users"}, NOW)
    assert by_id(made.services) == {"users": 1}
    assert by_id(made.routes) == {"route /users": 1}
    assert requests(made.total) == 2


def test_a_renamed_route_keeps_its_count() -> None:
    made = metrics()
    made.count(runs_of([exchange(to=destination("/old", route_id="r"))]))
    made.fold(NOW)
    made.count(runs_of([exchange(to=destination("/new", route_id="r"))]))
    made.fold(NOW)
    assert [(series.name, requests(series.rolling)) for series in made.routes] == [("/new", 2)]


def test_when_each_route_was_last_hit_is_known_also_of_those_that_share_one_place() -> None:
    usage = Usage()
    made = metrics(usage, series=1)
    made.count(runs_of([exchange(to=USERS), exchange(429, to=BILLS, stage="rate_limit"), exchange(404)]))
    made.fold(NOW)
    made.count(runs_of([exchange(to=BILLS)]))
    made.fold(NOW + 7.5)
    made.fold(NOW + 9)
    assert usage.last_hits == {USERS.id: NOW, BILLS.id: NOW + 7}
    assert usage.changed_routes == {USERS.id, BILLS.id}


def test_a_hit_is_known_though_its_destination_was_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microgateway.observability.counting.MOST_REMEMBERED", 3)
    usage = Usage()
    made = metrics(usage)
    routes = [destination(f"/{number}") for number in range(10)]
    made.count(runs_of([exchange(to=route) for route in routes]))
    made.keep_services([], NOW)
    assert usage.last_hits == {route.id: NOW for route in routes}


def test_what_is_folded_later_counts_as_later() -> None:
    made = fed([exchange()])
    made.count(runs_of([exchange()]))
    made.fold(NOW + 60)
    assert requests(made.total, 30, NOW + 60) == 1
    assert requests(made.total, 300, NOW + 60) == 2
