"""Backpressure both ways, and that nobody is left paused: a connection that is not read from is as good as lost."""

import time

import pytest

from microgateway.data_plane.options import Options
from microgateway.snapshot import Snapshot
from tests.data_plane.bench import GET, LONG_AFTER, OK, Scene, one_service, scene, silence

POST = b"POST /a HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\n"
CHUNKED_POST = b"POST /a HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n"


LONG = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + b"x" * 500


def assert_serves_another(stage: Scene) -> None:
    """The client's connection takes a next request, and the request reaches the upstream."""
    assert not stage.client.closing
    assert stage.client.reading, "the gateway does not read from this client any more"
    known = len(stage.upstream.requests)
    stage.bench.connects = True
    stage.send(GET)
    assert len(stage.upstream.requests) == known + 1


def test_a_slow_upstream_pauses_its_client_and_no_longer_than_it_is_slow() -> None:
    stage = scene(silence)
    stage.send(POST)
    stage.upstream_wire.high_water = 3
    stage.send(b"0123")
    assert not stage.client.reading
    stage.upstream_wire.read_all()
    stage.bench.run()
    assert stage.client.reading


def test_a_slow_client_pauses_its_upstream_and_no_longer_than_it_is_slow() -> None:
    stage = scene(silence)
    stage.client.high_water = 0
    stage.send(GET)
    stage.upstream_sends(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome")
    assert not stage.upstream_wire.reading
    stage.client.read_all()
    stage.bench.run()
    assert stage.upstream_wire.reading


@pytest.mark.parametrize("pieces", [(LONG,), (LONG[:60], LONG[60:])], ids=["whole", "in pieces"])
def test_an_upstream_paused_for_one_client_is_not_given_to_the_next_one_paused(pieces: tuple[bytes, ...]) -> None:
    """The answer's last piece fills its client's buffer: the connection must be read from again, or not used again."""
    stage = scene(silence)
    stage.client.high_water = 500  # which only the end of the answer fills
    stage.send(GET)
    stage.upstream_sends(*pieces)
    other = stage.bench.connect()
    other.send(GET)
    stage.bench.run()
    stage.upstream_sends(OK)
    assert bytes(other.written).endswith(b"\r\n\r\nok")


def test_an_early_answer_while_the_upstream_is_slow_leaves_nobody_paused() -> None:
    """The body was whole when the upstream stopped reading it, and the answer came all the same."""
    stage = scene(silence)
    stage.send(POST)
    stage.upstream_wire.high_water = 9
    stage.send(b"0123456789")
    assert not stage.client.reading
    stage.upstream_sends(OK)
    assert_serves_another(stage)


@pytest.mark.parametrize("pieces", [(LONG,), (LONG[:60], LONG[60:])], ids=["whole", "in pieces"])
def test_after_an_early_answer_the_connection_is_nobody_s(pieces: tuple[bytes, ...]) -> None:
    """The service still waits for the rest of a body that it never gets."""
    stage = scene(silence)
    stage.send(POST, b"01234")
    stage.upstream_sends(*pieces)
    assert stage.statuses() == [200]
    assert stage.upstream_wire.closing


def test_a_connection_that_fails_while_the_body_waits_leaves_nobody_paused() -> None:
    stage = scene(silence)
    stage.bench.connects = False
    stage.send(POST, b"0123456789")
    (pool,) = stage.bench.pools.all()
    pool.refuse(next(iter(pool.waiting)))
    stage.bench.run()
    assert stage.statuses() == [502]
    assert_serves_another(stage)


def test_a_connect_that_is_late_while_the_body_waits_leaves_nobody_paused() -> None:
    stage = scene(silence)
    stage.bench.connects = False
    stage.send(POST, b"0123456789")
    stage.bench.sweep(6.0)
    assert stage.statuses() == [504]
    assert_serves_another(stage)


def test_a_body_that_waits_for_its_connection_is_not_lost() -> None:
    stage = scene(silence)
    stage.bench.connects = False
    stage.send(POST, b"01234")
    assert not stage.client.reading, "memory would not be bounded"
    stage.client.send(b"56789")
    stage.bench.run()
    (pool,) = stage.bench.pools.all()
    pool.establish(next(iter(pool.waiting)))
    stage.bench.run()
    (request,) = stage.upstream.requests
    assert (bytes(request.body), request.complete) == (b"0123456789", True)


def test_what_is_piled_up_while_one_is_answered_is_bounded() -> None:
    stage = scene(silence)
    stage.send(GET)
    for _ in range(100):
        stage.send(GET * 100)
    assert not stage.client.reading
    assert sum(map(len, stage.client.inbox)) > 100_000


def test_a_connection_that_comes_late_does_not_make_room_for_more() -> None:
    stage = scene(silence)
    stage.bench.connects = False
    stage.send(GET, *[GET * 100] * 20)
    assert not stage.client.reading
    (pool,) = stage.bench.pools.all()
    pool.establish(next(iter(pool.waiting)))
    stage.bench.run()
    assert len(stage.upstream.requests) == 1
    assert not stage.client.reading


def test_a_pile_of_requests_is_answered_in_order_and_whole() -> None:
    stage = scene()
    paths = [b"/%d" % number for number in range(3_000)]
    stage.send(b"".join(GET.replace(b"/a", path) for path in paths))
    assert [request.target for request in stage.upstream.requests] == paths
    assert stage.statuses() == [200] * len(paths)
    assert stage.client.reading


@pytest.mark.parametrize("snapshot", [None, one_service(retries=2)])
def test_a_pile_of_requests_for_which_there_is_no_connection_is_answered_too(snapshot: None) -> None:
    """Each is answered at once, and that must not cost a place on the stack for each."""
    stage = scene(silence, options=Options(upstream_max_connections=1), snapshot=snapshot)
    occupant = stage.bench.connect()
    occupant.send(GET)
    stage.bench.run()
    stage.send(GET * 1_500)
    assert stage.statuses() == [503] * 1_500
    assert stage.client.reading


def test_the_same_bytes_in_the_middle_of_a_head_are_no_request() -> None:
    """A read that is the last request again is not read again, unless it goes on with what is there already."""
    stage = scene()
    stage.send(GET, b"GET /b HTTP/1.1\r\nX-Part: ", GET)
    assert stage.statuses() == [200, 200]
    assert [request.target for request in stage.upstream.requests] == [b"/a", b"/b"]


def test_the_chunks_of_a_request_that_is_refused_are_no_request() -> None:
    stage = scene(snapshot=Snapshot())
    stage.send(CHUNKED_POST + b"1\r\na\r\n0\r\n\r\n" + GET)
    assert stage.statuses() == [401]
    assert stage.answered.count(b"HTTP/1.1 ") == 1


def test_who_sends_the_body_with_its_head_is_not_told_to_go_on() -> None:
    stage = scene()
    stage.send(b"POST /a HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok")
    assert stage.answered.startswith(b"HTTP/1.1 200 ")


def test_empty_lines_without_end_cost_little() -> None:
    """RFC 9112, 2.2, lets a client send some before a request. One read of an event loop brings up to 256 KiB."""
    stage = scene()
    began = time.process_time()
    stage.send(b"\r\n" * 131_072)
    assert time.process_time() - began < 1.0  # it takes 5 ms; what is not linear takes minutes
    for _ in range(2):  # it is told that it is late, and then cut off
        stage.bench.sweep(LONG_AFTER)
    assert stage.client.closing


def test_a_client_that_does_not_read_is_not_answered_without_bound() -> None:
    """It piles up requests; the gateway begins no more of them while an answer waits to be read."""
    stage = scene(lambda _: [OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")])
    stage.client.high_water = 1_000
    stage.send(GET * 500)
    assert len(stage.upstream.requests) < 20, "all those answers are kept in memory"
    stage.client.read_all()
    stage.bench.run()
    assert len(stage.upstream.requests) == 500


def test_a_client_that_does_not_read_is_cut_off() -> None:
    stage = scene()
    stage.client.high_water = 0
    stage.send(GET * 2)
    for _ in range(3):
        stage.bench.sweep(LONG_AFTER)
    assert stage.client.closing
    stage.assert_at_rest()
