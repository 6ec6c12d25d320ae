"""`/metrics`, read by prometheus-client's parser, beside what was counted; and what `deploy/` and docs say of it."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from microgateway.core.circuit import CircuitPolicy
from microgateway.exchange import Exchange
from microgateway.observability.exposition import page
from microgateway.observability.happenings import Change, Happenings
from microgateway.observability.log_feed import LogCounts
from microgateway.observability.metrics import Bounds, Metrics
from microgateway.observability.monitoring import Gauges, Monitoring
from microgateway.observability.process_facts import ProcessFacts
from microgateway.observability.prometheus import Circuits, Configured, LogRows, Present, Targets, Traffic
from microgateway.observability.runs import runs_of
from microgateway.observability.usage import Usage
from microgateway.state.memory import MemoryCircuits
from microgateway.state.targets import MemoryTargets
from tests.observability.exchanges import destination, exchange, principal, refused, rule

REPOSITORY = Path(__file__).resolve().parents[2]
WALL = 1_700_000_000.0
USERS = destination("/users", "users")
ADA = principal("ada")


class Stand:
    """Everything that `/metrics` is made of."""

    def __init__(self, *, key_labels: bool = False, series: int = 20) -> None:
        self.metrics = Metrics(bounds=Bounds(series=series), now=WALL, usage=Usage())
        self.happenings = Happenings(wall=lambda: WALL)
        self.circuits = MemoryCircuits(listeners=[self.happenings.note_event])
        gauges = Gauges(in_flight=lambda: 3, connections=lambda: 2, upstream_connections=lambda: 1)
        monitoring = Monitoring(metrics=self.metrics, gauges=gauges, flush=lambda: None, wall=lambda: WALL)
        self.sources = (
            Traffic(monitoring, key_labels=key_labels),
            Present(monitoring),
            Circuits(self.circuits, self.happenings, lambda: {"users": "users"}),
            Targets(MemoryTargets(), lambda: [USERS.upstream], lambda: 0.0),
            Configured(self.happenings),
            LogRows(lambda: LogCounts(written=5, dropped=2)),
            ProcessFacts(),
        )

    def families(self, batch: Iterable[Exchange] = ()) -> dict[str, Metric]:
        """By name, as the parser has them: a counter's without `_total`."""
        self.metrics.count(runs_of(list(batch)))
        return {family.name: family for family in text_string_to_metric_families(page(self.sources))}


def samples(family: Metric, *labels: str) -> dict[tuple[str, ...], float]:
    return {tuple(sample.labels[label] for label in labels): sample.value for sample in family.samples}


def test_requests_by_service_route_method_and_code() -> None:
    told = Stand().families(
        [
            *(exchange(to=USERS) for _ in range(3)),
            exchange(502, to=USERS, method=b"POST", stage="proxy", code="upstream_unreachable"),
            refused(401, "auth", "api_key_missing", path=b"/secret"),
            refused(401, "auth", "api_key_missing", path=b"/other"),
            refused(401, "auth", "api_key_expired"),
            refused(404, "router", "route_not_found", method=b"BREW"),
        ]
    )
    assert samples(told["microgateway_requests"], "service", "route", "method", "code") == {
        ("users", "/users", "GET", "200"): 3,
        ("users", "/users", "POST", "502"): 1,
        ("unmatched", "unmatched", "GET", "401"): 3,
        ("unmatched", "unmatched", "OTHER", "404"): 1,
    }
    assert samples(told["microgateway_auth_failures"], "reason") == {("api_key_missing",): 2, ("api_key_expired",): 1}
    assert samples(told["microgateway_problems"], "stage", "problem")["proxy", "upstream_unreachable"] == 1


def test_durations_bytes_and_retries() -> None:
    repeated = exchange(to=USERS, milliseconds=300.0, overhead=1.0, attempts=2, bytes_in=10, bytes_out=20)
    repeated.note_attempt("connection_lost", "repeated: the method is idempotent", "http://10.0.0.1", 1_000.1)
    told = Stand().families([repeated, exchange(to=USERS, milliseconds=4.0, overhead=0.2, bytes_out=5)])
    for name, counts in (("request_duration", [1, 2]), ("upstream_duration", [1, 2]), ("overhead", [1, 1])):
        family = told[f"microgateway_{name}_seconds"]
        buckets = {s.labels["le"]: s.value for s in family.samples if s.name.endswith("_bucket")}
        assert [buckets["0.005"], buckets["+Inf"]] == counts, name
        assert [s.value for s in family.samples if s.name.endswith("_count")] == [counts[1]]
    overhead = told["microgateway_overhead_seconds"].samples
    assert {s.labels["le"]: s.value for s in overhead if s.name.endswith("_bucket")}["0.0001"] == 0
    assert samples(told["microgateway_request_body_bytes"], "route") == {("/users",): 10}
    assert samples(told["microgateway_response_body_bytes"], "route") == {("/users",): 25}
    assert samples(told["microgateway_retries"], "fault") == {("connection_lost",): 1}


def test_limits() -> None:
    told = Stand().families(
        [
            exchange(to=USERS, by=ADA, limited_by=ADA, shadowed=(rule("tried"),)),
            refused(429, "rate_limit", "rate_limited", by=ADA, limited_by=ADA),
            refused(429, "rate_limit", "rate_limited", limited_by=rule("crawlers")),
        ]
    )
    assert samples(told["microgateway_rate_limit_decisions"], "decision") == {("admitted",): 1, ("limited",): 2}
    hits = samples(told["microgateway_rate_limit_rule_hits"], "rule", "effect")
    assert {labels: count for labels, count in hits.items() if count} == {
        ("key", "limited"): 1,
        ("Crawlers", "limited"): 1,
        ("Tried", "shadowed"): 1,
    }


def test_keys_are_told_apart_only_where_that_is_wanted() -> None:
    batch = [exchange(to=USERS, by=ADA), exchange(500, to=USERS, by=ADA)]
    assert "ada" not in page_of(Stand(), batch)
    told = Stand(key_labels=True).families(batch)
    assert samples(told["microgateway_key_requests"], "key_id", "key_name", "outcome") == {
        ("ada", "Ada", "success"): 1,
        ("ada", "Ada", "upstream_error"): 1,
    }


def page_of(stand: Stand, batch: list[Exchange]) -> str:
    stand.metrics.count(runs_of(batch))
    return page(stand.sources)


def test_circuits_and_their_transitions() -> None:
    stand = Stand()
    circuit = stand.circuits.of("users", CircuitPolicy(failure_threshold=1), 0.0)
    permit = circuit.try_acquire(0.0)
    circuit.failed(permit, 0.0)  # type: ignore[arg-type]
    told = stand.families()
    assert samples(told["microgateway_circuit_state"], "service", "state") == {
        ("users", "closed"): 0,
        ("users", "open"): 1,
        ("users", "half_open"): 0,
    }
    assert samples(told["microgateway_circuit_transitions"], "service", "to") == {("users", "open"): 1}


def test_targets_and_the_log() -> None:
    told = Stand().families()
    assert list(samples(told["microgateway_target_up"], "service").items()) == [(("users",), 1)]
    assert samples(told["microgateway_log_rows_written"]) == {(): 5}
    assert samples(told["microgateway_log_rows_dropped"]) == {(): 2}


def test_the_configuration_and_the_process() -> None:
    stand = Stand()
    stand.happenings.note_change(Change("applied", 7, "create", "service", "a"))
    stand.happenings.note_change(Change("failed", 7, "create", "service", ""))
    told = stand.families()
    assert samples(told["microgateway_configuration_changes"], "result") == {("applied",): 1, ("failed",): 1}
    assert samples(told["microgateway_configuration_version"]) == {(): 7}
    assert samples(told["microgateway_configuration_last_change_timestamp_seconds"]) == {(): WALL}
    assert samples(told["microgateway_requests_in_flight"]) == {(): 3}
    assert samples(told["process_open_fds"])[()] > 2
    assert samples(told["process_resident_memory_bytes"])[()] > 1_000_000
    assert samples(told["process_start_time_seconds"])[()] == pytest.approx(
        Path(f"/proc/{os.getpid()}").stat().st_ctime, abs=60
    )


def test_label_sets_are_bounded() -> None:
    """However many paths, methods, routes, keys and services strangers and operators think of."""
    batch = [
        exchange(
            200 + number % 3,
            to=destination(f"/r{number}", f"s{number}") if number % 2 else None,
            by=principal(f"k{number}"),
            method=b"M%d" % number,
            path=b"/p%d" % number,
        )
        for number in range(200)
    ]
    told = Stand(key_labels=True, series=5).families(batch)
    assert len(told["microgateway_requests"].samples) <= (5 + 2) * 3
    assert len(told["microgateway_key_requests"].samples) <= 5 + 1
    assert sum(sample.value for sample in told["microgateway_requests"].samples) == 200


# -- what documents and deploy/ say ------------------------------------------------------------------------------------


def everything() -> dict[str, Metric]:
    """All families, each with a sample."""
    stand = Stand(key_labels=True)
    repeated = exchange(to=USERS, by=ADA, overhead=1.0, attempts=2)
    repeated.note_attempt("timed_out", "repeated: the method is idempotent", "http://10.0.0.1", 1_000.1)
    stand.happenings.transitions["users", "open"] += 1
    return stand.families([repeated, exchange(to=USERS, overhead=1.0), refused(401, "auth", "api_key_missing")])


def exposed(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def test_every_metric_is_documented_with_its_type_and_labels() -> None:
    rows = re.findall(
        r"^\| `([a-z_]+)` \| (counter|gauge|histogram) \| ([^|]*)\|",
        (REPOSITORY / "docs" / "metrics.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    told = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert len(rows) == len(told)
    assert told == {
        exposed(family): (family.type, {label for sample in family.samples for label in sample.labels} - {"le"})
        for family in everything().values()
    }


def names_in(expressions: Iterable[str]) -> Counter[str]:
    return Counter(name for text in expressions for name in re.findall(r"\b(?:microgateway|process)_\w+", text))


def samples_there_are() -> set[str]:
    return {sample.name for family in everything().values() for sample in family.samples}


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((REPOSITORY / "deploy" / "prometheus" / "alerts.yaml").read_text(encoding="utf-8"))
    return [alert for group in groups["groups"] for alert in group["rules"]]


def test_alerts_ask_for_metrics_that_are_there_and_say_what_to_do() -> None:
    found = names_in(alert["expr"] for alert in alerts())
    assert len(found) >= 10
    assert set(found) - samples_there_are() == set()
    told = re.findall(r"^\| `(MicroGateway\w+)` \|", (REPOSITORY / "docs" / "metrics.md").read_text(), re.MULTILINE)
    assert sorted(told) == sorted(alert["alert"] for alert in alerts())
    assert all(alert["annotations"]["summary"] and alert["labels"]["severity"] for alert in alerts())


def test_the_dashboard_asks_for_metrics_that_are_there() -> None:
    dashboard = json.loads((REPOSITORY / "deploy" / "grafana" / "microgateway.json").read_text(encoding="utf-8"))
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    expressions += [annotation["expr"] for annotation in dashboard["annotations"]["list"]]
    expressions += [str(variable["query"]) for variable in dashboard["templating"]["list"]]
    assert len(names_in(expressions)) >= 15
    assert set(names_in(expressions)) - samples_there_are() == set()
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_labels_in_expressions_are_there() -> None:
    """A selector with a label that no sample has finds nothing, and never says so."""
    known = {label for family in everything().values() for sample in family.samples for label in sample.labels}
    dashboard = (REPOSITORY / "deploy" / "grafana" / "microgateway.json").read_text(encoding="utf-8")
    text = dashboard.replace('\\"', '"') + "\n".join(alert["expr"] for alert in alerts())
    used = set(re.findall(r'[{,](\w+)(?:=~|!=|=)"', text)) | set(re.findall(r"by \((\w+)", text))
    assert used
    assert used - known == {"job"}  # Prometheus's own
