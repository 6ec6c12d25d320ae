"""Every wait has a limit, on a clock that one sets: each is tested a moment before and at its end."""

from collections.abc import Callable

import pytest

from fuzzing.configuration import NEVER_TRIPS, route, service
from microgateway.data_plane.client_connection import DRAIN_GRACE, LINGER_TIME
from microgateway.data_plane.options import Options
from microgateway.snapshot import Snapshot
from tests.data_plane.bench import GET, LONG_AFTER, OK, Scene, one_service, scene, silence

MOMENT = 0.001
POST = b"POST /a HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\n"
BEGUN = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome"
OPTIONS = Options(
    client_header_timeout=10,
    client_body_timeout=30,
    client_idle_timeout=75,
    upstream_connect_timeout=5,
    upstream_read_timeout=20,
    upstream_idle_timeout=60,
)


def says_nothing(stage: Scene) -> None:
    """From the moment it is connected."""


def sends_half_a_head(stage: Scene) -> None:
    stage.bench.sweep(4.0)
    stage.send(GET[:10])


def sends_half_of_a_next_head(stage: Scene) -> None:
    stage.send(GET)
    stage.upstream_sends(OK)
    stage.bench.sweep(50.0)
    stage.send(GET[:10])


def goes_idle(stage: Scene) -> None:
    stage.send(GET)
    stage.upstream_sends(OK)


def sends_half_a_body(stage: Scene) -> None:
    stage.send(POST)
    stage.bench.sweep(20.0)
    stage.send(b"01234")


def does_not_read(stage: Scene) -> None:
    stage.client.high_water = 0
    stage.send(GET)
    stage.upstream_sends(BEGUN)


def is_not_connected(stage: Scene) -> None:
    stage.bench.connects = False
    stage.send(GET)


def is_not_connected_for_a_body(stage: Scene) -> None:
    stage.bench.connects = False
    stage.send(POST + b"01234")


def is_not_answered(stage: Scene) -> None:
    stage.send(GET)


def is_not_answered_whole(stage: Scene) -> None:
    stage.send(GET)
    stage.bench.sweep(10.0)
    stage.upstream_sends(BEGUN)


def is_not_read_by_its_upstream(stage: Scene) -> None:
    stage.send(POST)
    stage.upstream_wire.high_water = 0
    stage.send(b"01234")


LIMITS: tuple[tuple[Callable[[Scene], None], float, int | None, str], ...] = (
    (says_nothing, 10.0, None, ""),
    (sends_half_a_head, 6.0, 408, "client_timeout"),
    (sends_half_of_a_next_head, 10.0, 408, "client_timeout"),
    (goes_idle, 75.0, None, ""),
    (sends_half_a_body, 30.0, 408, "client_timeout"),
    (does_not_read, 30.0, 200, "client_timeout"),
    (is_not_connected, 5.0, 504, "upstream_connect_timeout"),
    (is_not_connected_for_a_body, 5.0, 504, "upstream_connect_timeout"),
    (is_not_answered, 20.0, 504, "upstream_timeout"),
    (is_not_answered_whole, 20.0, 200, "upstream_timeout"),
    (is_not_read_by_its_upstream, 20.0, 504, "upstream_timeout"),
)


@pytest.mark.parametrize(("wait", "limit", "status", "code"), LIMITS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_wait_ends_at_its_limit_and_not_before(
    wait: Callable[[Scene], None], limit: float, status: int | None, code: str
) -> None:
    stage = scene(silence, options=OPTIONS)
    wait(stage)
    known = len(stage.exchanges)
    stage.bench.sweep(limit - MOMENT)
    assert len(stage.exchanges) == known
    assert not stage.client.is_closing()
    stage.bench.sweep(MOMENT)
    ended = [(exchange.status, exchange.code) for exchange in stage.exchanges[known:]]
    assert ended == ([] if status is None else [(status, code)])
    for _ in range(2):  # a client that was told may have a next request, or be slow to read; and then not
        stage.bench.sweep(LONG_AFTER)
    assert stage.client.is_closing()
    stage.assert_at_rest()


def test_a_trickle_of_a_head_does_not_put_its_end_off() -> None:
    stage = scene(options=OPTIONS)
    for octet in GET[:9]:
        stage.send(b"%c" % octet)
        stage.bench.sweep(1.0)
    assert not stage.client.is_closing()
    stage.send(GET[9:10])
    stage.bench.sweep(1.0)
    assert stage.statuses() == [408]


def is_refused(stage: Scene) -> None:
    stage.send(b"nonsense\r\n\r\n")


@pytest.mark.parametrize(
    ("wait", "limit"), [(says_nothing, DRAIN_GRACE), (sends_half_a_head, 6.0), (is_refused, LINGER_TIME)]
)
def test_a_stop_cuts_the_wait_for_a_next_request_short_and_no_other(
    wait: Callable[[Scene], None], limit: float
) -> None:
    stage = scene(options=OPTIONS)
    wait(stage)
    stage.bench.plane.draining = True
    for downstream in stage.bench.plane.downstreams:
        downstream.drain()
    known = len(stage.exchanges)
    stage.bench.sweep(limit - MOMENT)
    assert (stage.client.is_closing(), len(stage.exchanges)) == (False, known)
    stage.bench.sweep(MOMENT)
    assert stage.client.is_closing() or len(stage.exchanges) > known


def test_a_trickle_of_a_body_is_no_wait() -> None:
    stage = scene(silence, options=OPTIONS)
    stage.send(POST)
    for octet in b"012345678":
        stage.send(b"%c" % octet)
        stage.bench.sweep(30.0 - MOMENT)
    assert stage.exchanges == []


def test_a_trickle_of_an_answer_is_no_wait() -> None:
    stage = scene(silence, options=OPTIONS)
    stage.send(GET)
    stage.upstream_sends(BEGUN)
    for _ in range(10):
        stage.bench.sweep(20.0 - MOMENT)
        stage.upstream_sends(b".")
    assert stage.exchanges == []


def test_an_upstream_that_has_the_whole_body_gets_its_own_time() -> None:
    """However long the body took."""
    stage = scene(silence, options=OPTIONS)
    stage.send(POST)
    stage.bench.sweep(29.0)
    stage.send(b"0123456789")
    stage.bench.sweep(20.0 - MOMENT)
    assert stage.exchanges == []
    stage.bench.sweep(MOMENT)
    assert stage.statuses() == [504]


def test_a_client_has_its_whole_time_once_the_upstream_reads_again() -> None:
    stage = scene(silence, options=OPTIONS)
    is_not_read_by_its_upstream(stage)
    stage.bench.sweep(20.0 - MOMENT)
    stage.upstream_wire.read_all()
    stage.bench.run()
    stage.bench.sweep(30.0 - MOMENT)
    assert stage.exchanges == []
    stage.bench.sweep(MOMENT)
    assert stage.statuses() == [408]


def test_a_route_has_a_limit_for_all_of_it() -> None:
    stage = scene(silence, options=OPTIONS, snapshot=one_service(timeout_seconds=7.0))
    stage.send(GET)
    stage.upstream_sends(BEGUN)
    for _ in range(6):
        stage.bench.sweep(1.0)
        stage.upstream_sends(b".")
    assert stage.exchanges == []
    stage.bench.sweep(1.0)
    assert [(exchange.status, exchange.code) for exchange in stage.exchanges] == [(200, "request_timeout")]
    assert stage.client.aborted


def test_a_service_may_have_limits_of_its_own() -> None:
    services = [service("plain", read_timeout_seconds=2.0, connect_timeout_seconds=1.0)]
    snapshot = Snapshot().with_table(services, [route("/", "plain")], NEVER_TRIPS)
    stage = scene(silence, options=OPTIONS, snapshot=snapshot)
    stage.bench.connects = False
    stage.send(GET)
    stage.bench.sweep(1.0)
    stage.bench.connects = True
    stage.send(GET)
    stage.bench.sweep(2.0)
    assert [exchange.code for exchange in stage.exchanges] == ["upstream_connect_timeout", "upstream_timeout"]


def test_idle_upstream_connections_are_closed_at_their_limit() -> None:
    stage = scene(options=Options(upstream_idle_timeout=60, client_idle_timeout=1_000))
    stage.send(GET)
    stage.bench.sweep(60.0 - MOMENT)
    assert stage.bench.really_open() == 1
    stage.bench.sweep(MOMENT)
    assert stage.bench.really_open() == 0
    stage.assert_at_rest()
