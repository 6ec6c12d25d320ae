"""What `/metrics` tells, family by family, out of counts that are there anyway: docs/metrics.md lists them.

Labels are bounded: requests without a route share the route `unmatched`, unusual methods are `OTHER`, and services,
routes, keys and rules past the metrics' own bound are `other`. Keys are told apart only where that is asked for.
"""

import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping

from microgateway import __version__
from microgateway.core.circuit import CircuitState
from microgateway.core.health import TargetStatus
from microgateway.core.histogram import BOUNDS, HTTP_BOUNDS
from microgateway.observability.cells import Cell, RouteCells
from microgateway.observability.exposition import Family
from microgateway.observability.happenings import Happenings
from microgateway.observability.log_feed import LogCounts
from microgateway.observability.monitoring import Monitoring
from microgateway.observability.outcomes import OUTCOMES
from microgateway.snapshot import Upstream
from microgateway.state.interfaces import Circuits as CircuitRooms
from microgateway.state.targets import MemoryTargets

ServiceNames = Callable[[], Mapping[str, str]]


class Traffic:
    """The families of exchanges. `key_labels`: also those of each key."""

    def __init__(self, monitoring: Monitoring, *, key_labels: bool) -> None:
        self._monitoring = monitoring
        self._key_labels = key_labels

    def __call__(self) -> Iterable[Family]:
        counting = self._monitoring.up_to_date().counting
        routes = list(counting.all_routes())
        yield from _by_cell(routes)
        yield from _by_route(routes)
        decisions = Family(
            "microgateway_rate_limit_decisions_total",
            "counter",
            "Requests that a limit was asked about, by answer.",
        )
        limited = sum(rule.all_limited for rule in counting.all_rules())
        decisions.add(counting.limits_asked - limited, decision="admitted")
        decisions.add(limited, decision="limited")
        yield decisions
        hits = Family(
            "microgateway_rate_limit_rule_hits_total",
            "counter",
            "Requests that a rule refused (limited), or would have (shadowed); 'key' is the keys' own limits.",
        )
        for rule in counting.all_rules():
            hits.add(rule.all_limited, rule=rule.name, effect="limited")
            hits.add(rule.all_shadowed, rule=rule.name, effect="shadowed")
        yield hits
        if self._key_labels:
            yield self._by_key()

    def _by_key(self) -> Family:
        family = Family("microgateway_key_requests_total", "counter", "Requests of each API key, by outcome.")
        counting = self._monitoring.metrics.counting
        for key in (*counting.keys.values(), counting.other_key):
            for outcome, count in zip(OUTCOMES, key.all_outcomes, strict=True):
                if count:
                    family.add(count, key_id=key.key_id, key_name=key.name, outcome=outcome)
        return family


def _cells(routes: Iterable[RouteCells]) -> Iterator[Cell]:
    return (cell for route in routes for cell in route.cells.values() if cell.all_requests)


def _by_cell(routes: Iterable[RouteCells]) -> Iterable[Family]:
    requests = Family("microgateway_requests_total", "counter", "Requests that have ended, by the code the client got.")
    received = Family("microgateway_request_body_bytes_total", "counter", "Bytes of request bodies.")
    sent = Family("microgateway_response_body_bytes_total", "counter", "Bytes of answers' bodies.")
    problems = Family("microgateway_problems_total", "counter", "Answers of the gateway's own, by what was wrong.")
    failures = Family("microgateway_auth_failures_total", "counter", "Requests that authentication refused.")
    for cell in _cells(routes):
        route = {"service": cell.route.service, "route": cell.route.route}
        requests.add(cell.all_requests, **route, method=cell.method, code=str(cell.status))
        received.add(cell.all_bytes_in, **route)
        sent.add(cell.all_bytes_out, **route)
        if cell.stage:
            problems.add(cell.all_requests, stage=cell.stage, problem=cell.code)
        if cell.stage == "auth":
            failures.add(cell.all_requests, reason=cell.code)
    return requests, received, sent, problems, failures


def _by_route(routes: Iterable[RouteCells]) -> Iterable[Family]:
    durations = Family(
        "microgateway_request_duration_seconds", "histogram", "From a request's head to the end of its exchange."
    )
    upstream = Family(
        "microgateway_upstream_duration_seconds", "histogram", "From a request's going out to the end of its answer."
    )
    overhead = Family(
        "microgateway_overhead_seconds", "histogram", "From a request's head to its going out to the service."
    )
    retries = Family("microgateway_retries_total", "counter", "Attempts that were repeated, by what had gone wrong.")
    for route in routes:
        labels = {"service": route.service, "route": route.route}
        if route.all_durations:
            durations.add_histogram(route.all_durations, route.all_microseconds, HTTP_BOUNDS, **labels)
        if route.all_upstream:
            upstream.add_histogram(route.all_upstream, route.all_upstream_microseconds, HTTP_BOUNDS, **labels)
        if route.all_overhead:
            overhead.add_histogram(route.all_overhead, route.all_overhead_microseconds, BOUNDS, **labels)
        for fault, count in route.retries.items():
            retries.add(count, **labels, fault=fault)
    return durations, upstream, overhead, retries


class Present:
    """What is there at this moment."""

    def __init__(self, monitoring: Monitoring) -> None:
        self._gauges = monitoring.gauges

    def __call__(self) -> Iterable[Family]:
        for name, value, text in (
            ("requests_in_flight", self._gauges.in_flight, "Requests under way, and open WebSockets."),
            ("client_connections", self._gauges.connections, "Connections of clients."),
            ("upstream_connections", self._gauges.upstream_connections, "Connections to services, idle ones too."),
        ):
            family = Family(f"microgateway_{name}", "gauge", text)
            family.add(value())
            yield family


class Circuits:
    """The state of every service's circuit, and its transitions."""

    def __init__(self, circuits: CircuitRooms, happenings: Happenings, names: ServiceNames) -> None:
        self._circuits = circuits
        self._happenings = happenings
        self._names = names

    def __call__(self) -> Iterable[Family]:
        names = self._names()
        states = Family("microgateway_circuit_state", "gauge", "1 for the state that a service's circuit is in.")
        for service_id, name in names.items():
            now = self._circuits.state_of(service_id)
            for state in CircuitState:
                states.add(int(state is now), service=name, state=state.value)
        yield states
        moves = Family("microgateway_circuit_transitions_total", "counter", "Changes of circuits, by state entered.")
        for (service_id, state_entered), count in self._happenings.transitions.items():
            if service_id in names:
                moves.add(count, service=names[service_id], to=state_entered)
        yield moves


class Targets:
    """Whether each target of a service is sent requests."""

    def __init__(
        self, targets: MemoryTargets, upstreams: Callable[[], Iterable[Upstream]], now: Callable[[], float]
    ) -> None:
        self._targets = targets
        self._upstreams = upstreams
        self._now = now

    def __call__(self) -> Iterable[Family]:
        up = Family("microgateway_target_up", "gauge", "0 for a target that is unhealthy or ejected, otherwise 1.")
        now = self._now()
        for upstream in self._upstreams():
            for name, member in self._targets.of(upstream).members.items():
                is_down = member.health.status(now) in (TargetStatus.UNHEALTHY, TargetStatus.EJECTED)
                up.add(int(not is_down), service=upstream.name, target=name)
        yield up


class LogRows:
    """The request log's writer."""

    def __init__(self, counts: Callable[[], LogCounts]) -> None:
        self._counts = counts

    def __call__(self) -> Iterable[Family]:
        counts = self._counts()
        for name, value, text in (
            (
                "microgateway_log_rows_written_total",
                counts.written,
                "Rows of the request log in the database.",
            ),
            ("microgateway_log_rows_dropped_total", counts.dropped, "Rows of the request log that were lost."),
            ("microgateway_log_writer_restarts_total", counts.restarts, "Writers that ended by themselves."),
            ("microgateway_log_rows_waiting", counts.waiting, "Rows that wait to be handed to the writer."),
        ):
            family = Family(name, "counter" if name.endswith("_total") else "gauge", text)
            family.add(value)
            yield family


class Configured:
    """The configuration in force."""

    def __init__(self, happenings: Happenings) -> None:
        self._happenings = happenings

    def __call__(self) -> Iterable[Family]:
        happenings = self._happenings
        version = Family("microgateway_configuration_version", "gauge", "That is in force; grows with every change.")
        version.add(happenings.version)
        changes = Family("microgateway_configuration_changes_total", "counter", "Changes of configuration, by result.")
        for result, count in happenings.changes.items():
            changes.add(count, result=result)
        last = Family(
            "microgateway_configuration_last_change_timestamp_seconds", "gauge", "When the last change was applied."
        )
        last.add(happenings.changed_at)
        info = Family("microgateway_build_info", "gauge", "1, labelled with the versions that run.")
        info.add(1, version=__version__, python=platform.python_version(), implementation=sys.implementation.name)
        return version, changes, last, info
