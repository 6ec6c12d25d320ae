"""The last answer on a connection: it arrives whole before the connection ends, or the end shows that it is not whole
(RFC 9112, 8 and 9.6).
"""

import pytest

from microgateway.data_plane.client_connection import LINGER_TIME
from microgateway.data_plane.options import Options
from tests.data_plane.bench import GET, OK, Scene, scene, silence
from tests.kit.fixtures import running_pair
from tests.kit.messages import answer, lines
from tests.kit.steps import ReadBody, Send
from tests.kit.waiting import until

UNFINISHED = b"POST /a HTTP/%b\r\nHost: a.example\r\nContent-Length: 10\r\n\r\n01234"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nhalf"
SLOWLY = LINGER_TIME + 1.0


def uploading(version: bytes = b"1.1") -> Scene:
    """A client in the middle of its request's body."""
    stage = scene(silence)
    stage.send(UNFINISHED % version)
    return stage


def assert_cut_off(stage: Scene) -> None:
    """The client's connection ended with a reset, and nothing is under way any more."""
    assert stage.client.aborted
    assert not stage.client.wrote_eof
    stage.assert_at_rest()


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_an_answer_that_is_cut_off_before_the_end_of_its_request_has_no_orderly_end(version: bytes) -> None:
    """To a client of HTTP/1.0 that would be the end of the answer."""
    stage = uploading(version)
    stage.upstream_sends(UNTIL_CLOSE)
    stage.upstream_wire.reset()
    stage.bench.run()
    assert_cut_off(stage)


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_client_that_stops_in_its_request_sees_that_the_answer_is_not_whole(version: bytes) -> None:
    stage = uploading(version)
    stage.upstream_sends(UNTIL_CLOSE)
    stage.client.send_eof()
    stage.bench.run()
    assert_cut_off(stage)
    assert [(exchange.status, exchange.code) for exchange in stage.exchanges] == [(200, "client_closed_request")]
    assert stage.upstream_wire.aborted


def test_a_client_that_stops_in_its_request_is_gone_at_once() -> None:
    """An answer that comes in the same round of the loop is nobody's, and the record says so."""
    stage = uploading()
    stage.client.send_eof()
    stage.bench.turns.popleft()()
    stage.upstream_wire.protocol.data_received(OK)
    stage.bench.run()
    assert [(exchange.status, exchange.code) for exchange in stage.exchanges] == [(499, "client_closed_request")]
    assert stage.answered == b""
    stage.assert_at_rest()


def test_who_reads_slowly_gets_an_early_answer_whole() -> None:
    """Its time to hang up begins when it has the answer, or a good while later."""
    stage = uploading()
    stage.client.high_water = 0
    stage.upstream_sends(OK)
    stage.bench.sweep(SLOWLY)
    assert not stage.client.closing
    stage.bench.sweep(Options().client_body_timeout)
    assert stage.client.closing


def test_who_has_its_early_answer_has_little_time_to_hang_up() -> None:
    stage = uploading()
    stage.upstream_sends(OK)
    assert stage.client.wrote_eof
    assert not stage.client.closing
    stage.bench.sweep(SLOWLY)
    assert stage.client.closing


def test_a_request_behind_the_last_one_does_not_cost_its_answer() -> None:
    """A connection that is closed with bytes unread is reset, and what the client has not got yet is lost."""
    body = b"x" * 2_000_000
    request = lines("GET /x HTTP/1.1", "Host: a.example")
    with (
        running_pair(client_max_requests=1) as pair,
        pair.gateway.connect(receive_buffer=4_096) as client,
    ):
        pair.upstream.script(ReadBody(), Send(answer(200, body=body)))
        client.send(request)
        pair.upstream.wait_for_requests(1)
        until(lambda: pair.gateway.call(lambda served: int(served.listener.in_flight)) == 0, "it is answered")
        client.send(request)
        pair.gateway.settle()
        got = client.read_answer()
        assert (got.one(b"connection"), got.complete, len(got.body)) == (b"close", True, len(body))


def test_a_pipeline_ends_with_its_last_answer() -> None:
    stage = scene(options=Options(client_max_requests=2))
    stage.send(GET * 3)
    assert stage.statuses() == [200, 200]
    assert stage.client.wrote_eof
    assert stage.client.reading
    stage.bench.sweep(SLOWLY)
    assert stage.client.closing


def test_who_has_stopped_sending_is_not_waited_for() -> None:
    stage = scene(silence, options=Options(client_max_requests=1))
    stage.send(GET * 2)
    stage.client.send_eof()
    stage.bench.run()
    stage.upstream_sends(OK)
    assert stage.statuses() == [200]
    assert stage.client.closing
