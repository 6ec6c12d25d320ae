"""A permit is given back exactly once, with the verdict that is right: what the client does never counts against a
service, and a probe that ends without a verdict leaves its place.
"""

from collections.abc import Callable

import pytest

from microgateway.core.circuit import CircuitPolicy, CircuitState
from tests.data_plane.bench import (
    GET,
    LONG_AFTER,
    OK,
    Scene,
    assert_takes_a_probe,
    half_open,
    one_service,
    scene,
    silence,
)

PROBED = one_service(CircuitPolicy(failure_threshold=1, recovery_timeout=30.0, half_open_max_calls=1))
TRIPS_AT_ONCE = one_service(CircuitPolicy(failure_threshold=1))
BEGUN = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome"
POST = b"POST /a HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n"


def client_resets(stage: Scene) -> None:
    stage.client.reset()
    stage.bench.run()


def client_resets_in_the_answer(stage: Scene) -> None:
    stage.upstream_sends(BEGUN)
    stage.client.reset()
    stage.bench.run()


def client_half_closes_for_good(stage: Scene) -> None:
    stage.client.send_eof()
    stage.bench.run()
    stage.bench.sweep(2.0)


def client_stops_reading(stage: Scene) -> None:
    stage.upstream_sends(BEGUN)
    stage.client.protocol.pause_writing()
    stage.bench.sweep(LONG_AFTER)


CLIENT_FAULTS = (client_resets, client_resets_in_the_answer, client_half_closes_for_good, client_stops_reading)


@pytest.mark.parametrize("fault", CLIENT_FAULTS)
def test_a_probe_whose_client_fails_leaves_its_place(fault: Callable[[Scene], None]) -> None:
    stage = scene(silence, snapshot=PROBED)
    circuit = half_open(stage)
    stage.send(GET)
    fault(stage)
    assert circuit.state is CircuitState.HALF_OPEN
    assert_takes_a_probe(circuit, stage.bench.clock.now())
    stage.assert_at_rest()


@pytest.mark.parametrize("fault", CLIENT_FAULTS)
def test_what_a_client_does_never_trips_a_circuit(fault: Callable[[Scene], None]) -> None:
    stage = scene(silence, snapshot=TRIPS_AT_ONCE)
    stage.send(GET)
    fault(stage)
    assert stage.circuit().state is CircuitState.CLOSED
    assert stage.circuit().failures == 0
    assert len(stage.exchanges) == 1


def test_a_body_that_breaks_off_in_the_answer_is_not_the_services_fault() -> None:
    stage = scene(silence, snapshot=TRIPS_AT_ONCE)
    stage.send(POST + b"2\r\nab\r\n")
    stage.upstream_sends(BEGUN)
    stage.send(b"not a chunk\r\n")
    assert stage.client.aborted, "the answer can't be finished, and the client must see that"
    assert stage.circuit().failures == 0


def test_a_slow_upload_that_meets_its_routes_time_limit_is_not_the_services_fault() -> None:
    policy = CircuitPolicy(failure_threshold=1)
    stage = scene(silence, snapshot=one_service(policy, timeout_seconds=5.0))
    stage.send(POST)
    for _ in range(6):
        stage.send(b"1\r\nx\r\n")
        stage.bench.sweep(1.0)
    assert len(stage.exchanges) == 1
    assert stage.circuit().failures == 0


def upstream_resets(stage: Scene) -> None:
    stage.upstream_wire.reset()
    stage.bench.run()


def upstream_says_nothing(stage: Scene) -> None:
    stage.bench.sweep(LONG_AFTER)


def upstream_speaks_no_http(stage: Scene) -> None:
    stage.upstream_sends(b"SSH-2.0-OpenSSH\r\n\r\n")


def upstream_breaks_off(stage: Scene) -> None:
    stage.upstream_sends(BEGUN)
    stage.upstream_wire.send_eof()
    stage.bench.run()


def upstream_stops_in_its_answer(stage: Scene) -> None:
    stage.upstream_sends(BEGUN)
    stage.bench.sweep(LONG_AFTER)


def upstream_answers_that_it_is_broken(stage: Scene) -> None:
    stage.upstream_sends(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")


UPSTREAM_FAULTS = (
    upstream_resets,
    upstream_says_nothing,
    upstream_speaks_no_http,
    upstream_breaks_off,
    upstream_stops_in_its_answer,
    upstream_answers_that_it_is_broken,
)


@pytest.mark.parametrize("fault", UPSTREAM_FAULTS)
def test_what_an_upstream_does_counts_once(fault: Callable[[Scene], None]) -> None:
    stage = scene(silence, snapshot=one_service(CircuitPolicy(failure_threshold=2)))
    stage.send(GET)
    fault(stage)
    assert stage.circuit().failures == 1
    assert len(stage.exchanges) == 1
    stage.assert_at_rest()


@pytest.mark.parametrize("fault", UPSTREAM_FAULTS)
def test_a_probe_that_fails_opens_the_circuit_again(fault: Callable[[Scene], None]) -> None:
    stage = scene(silence, snapshot=PROBED)
    circuit = half_open(stage)
    stage.send(GET)
    fault(stage)
    assert circuit.state is CircuitState.OPEN
    assert circuit.trips == 2


def test_a_connection_that_cannot_be_made_counts_once() -> None:
    stage = scene(silence, snapshot=one_service(CircuitPolicy(failure_threshold=2)))
    stage.bench.connects = False
    stage.send(GET)
    (pool,) = stage.bench.pools.all()
    pool.refuse(next(iter(pool.waiting)))
    stage.bench.run()
    assert (stage.statuses(), stage.circuit().failures) == ([502], 1)
    stage.assert_at_rest()


@pytest.mark.parametrize("before", [0, 2])
def test_the_least_of_failures_is_one_where_the_service_says_so(before: int) -> None:
    """A closed circuit without failures does not want to hear of successes: 400 is where they end."""
    stage = scene(silence, snapshot=one_service(CircuitPolicy(failure_threshold=1, failure_statuses=frozenset((400,)))))
    for _ in range(before):
        stage.send(GET)
        stage.upstream_sends(OK)
    stage.send(GET)
    stage.upstream_sends(OK.replace(b"200 OK", b"400 Bad Request"))
    assert stage.circuit().state is CircuitState.OPEN


def test_an_answer_closes_the_circuit() -> None:
    stage = scene(silence, snapshot=PROBED)
    circuit = half_open(stage)
    stage.send(GET)
    stage.upstream_sends(OK)
    assert circuit.state is CircuitState.CLOSED


def test_the_verdict_of_a_stream_does_not_wait_for_its_end() -> None:
    stage = scene(silence, snapshot=PROBED)
    circuit = half_open(stage)
    stage.send(GET)
    stage.upstream_sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
    assert circuit.state is CircuitState.CLOSED
    stage.upstream_wire.reset()
    stage.bench.run()
    assert circuit.failures == 0, "it was given back already"
    assert stage.client.aborted


def test_a_stream_is_one_verdict() -> None:
    policy = CircuitPolicy(failure_threshold=1, recovery_timeout=30.0, half_open_max_calls=2)
    stage = scene(silence, snapshot=one_service(policy))
    stage.send(GET)
    stage.upstream_wire.reset()
    stage.bench.run()
    stage.bench.clock.advance(30.0)
    stage.send(GET)
    stage.upstream_sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\n\r\n")
    assert stage.statuses() == [502, 200]
    assert stage.circuit().state is CircuitState.HALF_OPEN, "two are wanted, and one was given"


def test_second_probe_waits_for_the_first() -> None:
    stage = scene(silence, snapshot=PROBED)
    half_open(stage)
    stage.send(GET)
    other = stage.bench.connect()
    other.send(GET)
    stage.bench.run()
    assert bytes(other.written).startswith(b"HTTP/1.1 503 ")
    stage.upstream_sends(OK)
    other.send(GET)
    stage.bench.run()
    assert len(stage.upstream.requests) == 2
