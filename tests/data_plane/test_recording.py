"""Every request is recorded exactly once, however it ended, with the status that its client got."""

from collections.abc import Callable

import pytest

from fuzzing.wires import Wire
from microgateway.data_plane.options import Options
from microgateway.exchange import CLIENT_CLOSED_REQUEST
from tests.data_plane.bench import GET, LONG_AFTER, OK, Scene, one_service, scene, silence

POST = b"POST /a HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\n"
CHUNKED = b"POST /a HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n"
HANDSHAKE = b"GET /a HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
BEGUN = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome"


def answered(stage: Scene) -> None:
    stage.send(GET)
    stage.upstream_sends(OK)


def answered_in_pieces(stage: Scene) -> None:
    stage.send(GET)
    stage.upstream_sends(OK[:20], OK[20:-1], OK[-1:])


def refused(stage: Scene) -> None:
    stage.send(b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n")


def reset_by_client(stage: Scene) -> None:
    stage.send(GET)
    stage.client.reset()


def reset_and_answered_before_it_is_told(stage: Scene) -> None:
    stage.send(GET)
    stage.client.reset()
    stage.upstream_wire.send(OK)


def answered_and_reset(stage: Scene) -> None:
    stage.send(GET)
    stage.upstream_wire.send(OK)
    stage.client.reset()


def reset_by_upstream(stage: Scene) -> None:
    stage.send(GET)
    stage.upstream_wire.reset()


def reset_by_both(stage: Scene) -> None:
    stage.send(GET)
    stage.upstream_wire.reset()
    stage.client.reset()


def cut_off(stage: Scene) -> None:
    stage.send(GET)
    stage.upstream_sends(BEGUN)
    stage.upstream_wire.send_eof()


def late(stage: Scene) -> None:
    stage.send(GET)
    stage.bench.sweep(LONG_AFTER)


def late_body(stage: Scene) -> None:
    stage.send(POST)
    stage.bench.sweep(LONG_AFTER)


def late_head(stage: Scene) -> None:
    stage.send(GET[:10])
    stage.bench.sweep(LONG_AFTER)


def broken_body(stage: Scene) -> None:
    stage.send(CHUNKED, b"x\r\n")


def broken_body_at_once(stage: Scene) -> None:
    stage.send(CHUNKED + b"x\r\n")


def answered_early(stage: Scene) -> None:
    stage.send(POST)
    stage.upstream_sends(OK)
    stage.client.reset()


ENDS: tuple[tuple[Callable[[Scene], None], int], ...] = (
    (answered, 200),
    (answered_in_pieces, 200),
    (refused, 400),
    (reset_by_client, CLIENT_CLOSED_REQUEST),
    (reset_and_answered_before_it_is_told, 200),
    (answered_and_reset, 200),
    (reset_by_upstream, 502),
    (reset_by_both, 502),
    (cut_off, 200),
    (late, 504),
    (late_body, 408),
    (late_head, 408),
    (broken_body, 400),
    (broken_body_at_once, 400),
    (answered_early, 200),
)


@pytest.mark.parametrize(("end", "status"), ENDS, ids=lambda value: getattr(value, "__name__", value))
def test_a_request_is_recorded_once(end: Callable[[Scene], None], status: int) -> None:
    stage = scene(silence)
    end(stage)
    stage.bench.run()
    for _ in range(3):
        stage.bench.sweep(LONG_AFTER)
    assert stage.statuses() == [status]
    (exchange,) = stage.exchanges
    assert exchange.ended >= exchange.started
    assert (exchange.answered >= exchange.started) is (exchange.upstream_status != 0)
    stage.assert_at_rest()


def test_nothing_is_recorded_of_a_client_that_said_nothing() -> None:
    stage = scene()
    stage.bench.sweep(LONG_AFTER)
    assert stage.client.closing
    assert stage.exchanges == []


def test_pipelined_requests_are_recorded_each() -> None:
    stage = scene()
    stage.send(GET * 5)
    assert stage.statuses() == [200] * 5


def test_a_client_that_leaves_gives_up_what_it_had_piled_up() -> None:
    """What was never begun is no request."""
    stage = scene(silence)
    stage.send(GET * 5)
    stage.client.reset()
    stage.bench.run()
    assert stage.statuses() == [CLIENT_CLOSED_REQUEST]
    assert len(stage.upstream.requests) == 1


@pytest.mark.parametrize("pieces", [(POST + b"0123456789",), (POST, b"0123456789"), (POST + b"01234", b"56789")])
def test_the_bytes_of_a_body_are_counted_however_they_come(pieces: tuple[bytes, ...]) -> None:
    stage = scene()
    stage.send(*pieces)
    (exchange,) = stage.exchanges
    assert exchange.bytes_in == 10
    assert exchange.bytes_out == len(b"POST /a 10")


def test_retries_are_attempts_of_one_exchange() -> None:
    stage = scene(silence, snapshot=one_service(retries=2))
    stage.send(GET)
    for _ in range(3):
        stage.upstream_wire.reset()
        stage.bench.run()
    assert [(exchange.status, exchange.attempts) for exchange in stage.exchanges] == [(502, 3)]


@pytest.mark.parametrize("end", [Wire.reset, Wire.send_eof])
@pytest.mark.parametrize("first", ["client", "upstream_wire"])
def test_a_tunnel_is_one_exchange(first: str, end: Callable[[Wire], None]) -> None:
    stage = scene(silence)
    stage.send(HANDSHAKE)
    stage.upstream_sends(SWITCH)
    stage.send(b"abc")
    stage.upstream_sends(b"defgh")
    end(getattr(stage, first))
    end(stage.client)
    stage.bench.run()
    told = [(one.status, one.upstream_status, one.code, one.bytes_in, one.bytes_out) for one in stage.exchanges]
    assert told == [(101, 101, "", 3, 5)]
    assert stage.exchanges[0].answered == stage.bench.clock.now()


def test_the_end_of_one_side_of_a_tunnel_may_come_after_the_tunnels_own() -> None:
    """A side that is closed over TLS is read from until its peer has closed it, too."""
    stage = scene(silence)
    stage.send(HANDSHAKE)
    stage.upstream_sends(SWITCH)
    stage.client.reset()
    stage.bench.run()
    stage.upstream_wire.protocol.eof_received()
    assert stage.statuses() == [101]


def test_too_many_connections_are_told_so() -> None:
    stage = scene(options=Options(client_max_connections=1))
    other = stage.bench.connect()
    stage.bench.run()
    assert bytes(other.written).startswith(b"HTTP/1.1 503 ")
    assert [exchange.code for exchange in stage.exchanges] == ["too_many_connections"]
    stage.send(GET)
    assert stage.statuses() == [503, 200]
