"""What is said of an exchange that has ended: to whom it counts, whose error it was, and when it is handed on."""

import pytest

from microgateway.exchange import Exchange
from microgateway.observability.recorder import MOST_PENDING, Recorder
from microgateway.observability.usage import Usage
from tests.observability.exchanges import destination, exchange, principal, refused

USERS, ADA = destination(), principal("ada")


@pytest.mark.parametrize(
    ("ended", "requests", "errors"),
    [
        (exchange(200, to=USERS, overhead=1.0), 1, 0),
        (exchange(404, to=USERS, overhead=1.0), 1, 0),
        (exchange(500, to=USERS, overhead=1.0), 1, 1),
        (exchange(502, to=USERS, attempts=1, stage="proxy", code="upstream_unreachable"), 1, 1),
        (exchange(200, to=USERS, overhead=1.0, code="upstream_timeout"), 1, 1),
        (exchange(499, to=USERS, attempts=1, stage="proxy", code="client_closed_request"), 1, 0),
        (exchange(503, to=USERS, attempts=1, stage="proxy", code="no_connection_left"), 1, 0),
        (exchange(503, to=USERS, stage="breaker", code="circuit_open"), 0, 0),
        (refused(404, "router", "route_not_found"), 0, 0),
    ],
)
def test_whose_error_it_was(ended: Exchange, requests: int, errors: int) -> None:
    recorder = Recorder(Usage())
    for _ in range(3):
        recorder.record(ended)
    recorder.flush()
    service = recorder.usage.services.get("users")
    counted = (service.total_requests, service.total_errors) if service else (0, 0)
    assert counted == (3 * requests, 3 * errors)


@pytest.mark.parametrize(
    ("ended", "rejected"),
    [
        (exchange(200, to=USERS, by=ADA), 0),
        (exchange(429, to=USERS, by=ADA, overhead=1.0), 0),  # the service's own limit
        (refused(403, "rate_limit", "x", by=ADA), 0),
        (refused(429, "rate_limit", "rate_limited", by=ADA), 1),
    ],
)
def test_what_a_key_was_refused(ended: Exchange, rejected: int) -> None:
    recorder = Recorder(Usage())
    recorder.record(ended)
    recorder.flush()
    key = recorder.usage.of_key("ada")
    assert (key.total_requests, key.rejected_requests, key.last_used_at) == (1, rejected, ended.timestamp)


def test_a_batch_is_handed_on_when_it_is_full_and_once() -> None:
    batches, lengths = list[int](), list[list[int]]()
    recorder = Recorder(
        Usage(),
        sinks=[lambda batch: batches.append(len(batch))],
        counters=[lambda runs: lengths.append([len(run) for run in runs])],
    )
    ended = exchange(to=USERS)
    for _ in range(MOST_PENDING - 1):
        recorder.record(ended)
    assert batches == []
    recorder.record(ended)
    assert (batches, lengths) == ([MOST_PENDING], [[MOST_PENDING]])
    recorder.flush()
    assert len(batches) == 1
