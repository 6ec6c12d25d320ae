"""Counts that are made in two places and shown in one are the counts of one place."""

from hypothesis import given, settings
from hypothesis import strategies as st

from microgateway.core.rolling import span_of
from microgateway.exchange import Exchange
from microgateway.observability.metrics import Metrics
from microgateway.observability.recorder import Recorder
from microgateway.observability.runs import runs_of
from microgateway.observability.transfer import add_counts, add_usage, take_counts, take_usage
from microgateway.observability.usage import Usage
from tests.observability.exchanges import destination, exchange
from tests.observability.test_metrics import NOW, by_id, fed, metrics, some_exchanges


@settings(max_examples=60, deadline=None)
@given(batches=st.lists(some_exchanges, max_size=6))
def test_the_metrics_of_two_workers_are_those_of_one_process(batches: list[list[Exchange]]) -> None:
    workers, shown = (metrics(), metrics()), metrics()
    for number, batch in enumerate(batches):
        worker = workers[number % 2]
        worker.count(runs_of(batch))
        if number % 3:
            add_counts(shown.counting, take_counts(worker.counting))
    for worker in workers:
        add_counts(shown.counting, take_counts(worker.counting))
        assert take_counts(worker.counting) == ([], [], [], [], 0, [])
    shown.fold(NOW)
    assert facts(shown) == facts(fed([one for batch in batches for one in batch]))


@settings(max_examples=60, deadline=None)
@given(batches=st.lists(some_exchanges, max_size=6))
def test_usage_is_added_up(batches: list[list[Exchange]]) -> None:
    alone, shown = Usage(), Usage()
    for batch in batches:
        worker = Usage()
        for usage in (worker, alone):
            recorder = Recorder(usage)
            for one in batch:
                recorder.record(one)
            recorder.flush()
        add_usage(shown, take_usage(worker))
        assert take_usage(worker) == ([], [])
    assert of(shown) == of(alone)


def test_retries_are_told_once() -> None:
    worker, shown = metrics(), metrics()
    again = exchange(200, to=destination("/users", "users"), attempts=2)
    again.failed_attempts = [("lost", "repeat", "a:1", 1.0)]
    for _ in range(2):
        worker.count(runs_of([again]))
        add_counts(shown.counting, take_counts(worker.counting))
    assert [dict(route.retries) for route in shown.counting.routes.values()] == [{"lost": 2}]


def test_hits_of_routes_are_told_once() -> None:
    worker, usage = metrics(), Usage()
    shown = metrics(usage)
    for route in ("/users", "/bills"):
        worker.count(runs_of([exchange(to=destination(route))]))
    add_counts(shown.counting, take_counts(worker.counting))
    shown.fold(NOW)
    add_counts(shown.counting, take_counts(worker.counting))
    shown.fold(NOW + 5)
    assert usage.last_hits == {"route /users": NOW, "route /bills": NOW}


def of(usage: Usage) -> tuple[object, object]:
    keys = {key: (one.total_requests, one.rejected_requests, one.last_used_at) for key, one in usage.keys.items()}
    return keys, {service: (one.total_requests, one.total_errors) for service, one in usage.services.items()}


def facts(made: Metrics) -> tuple[object, ...]:
    """All that is told of the traffic, since the start and in the last minute."""
    total = made.total.over(span_of(60, NOW))
    cells = {
        (route.route_id, cell.method, cell.status, cell.code, cell.stage): (
            cell.all_requests,
            cell.all_bytes_in,
            cell.all_bytes_out,
        )
        for route in made.counting.all_routes()
        for cell in route.cells.values()
    }
    routes = {
        route.route_id: (route.all_durations, route.all_upstream, route.all_overhead, route.all_microseconds)
        for route in made.counting.all_routes()
    }
    keys = {key.key_id: key.all_outcomes for key in made.counting.keys.values()}
    rules = {rule.rule_id: (rule.all_limited, rule.all_shadowed) for rule in made.counting.all_rules()}
    tables = [by_id(table) for table in (made.services, made.routes, made.keys, made.statuses)]
    return total.counts, total.histograms, cells, routes, keys, rules, tables, made.counting.limits_asked
