"""Upgrades: WebSocket is tunnelled both ways, everything else is stripped or refused (RFC 9110, 7.8; RFC 6455;
http.md).
"""

import base64
import contextlib
import hashlib
import threading
from collections.abc import Iterator

import pytest

from microgateway.testing import FakeClock
from tests.kit.client import Answer, Client, NoAnswerError
from tests.kit.configuration import key, route
from tests.kit.fixtures import Pair, running_pair
from tests.kit.messages import answer, lines
from tests.kit.steps import Call, Close, Echo, HalfClose, ReadExactly, ReadToEnd, ReadUntil, Reset, Send, Step
from tests.kit.upstream import Conversation
from tests.kit.waiting import PATIENCE, until

NONCE = base64.b64encode(b"0123456789abcdef").decode()
ACCEPT = base64.b64encode(
    hashlib.sha1(NONCE.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
).decode()  # RFC 6455, 1.3
SWITCH = lines(
    "HTTP/1.1 101 Switching Protocols",
    "Upgrade: websocket",
    "Connection: Upgrade",
    f"Sec-WebSocket-Accept: {ACCEPT}",
    "Sec-WebSocket-Protocol: chat",
)
LONGEST_IDLE = 75.0  # seconds: what an idle client may be connected for
TEXT, CLOSE = b"\x81\x05hello", b"\x88\x02\x03\xe8"  # frames as a server sends them


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with running_pair(read_by_h11=False) as pair:
        yield pair


def handshake(
    *more: str, method: str = "GET", version: str = "1.1", upgrade: str = "websocket", connection: str = "Upgrade"
) -> bytes:
    return lines(
        f"{method} /chat HTTP/{version}", "Host: a.example", f"Upgrade: {upgrade}", f"Connection: {connection}",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {NONCE}", "Sec-WebSocket-Protocol: chat, superchat", "Origin: http://a.example", *more,
    )  # fmt: skip


def opened(pair: Pair, client: Client, *steps: Step, request: bytes | None = None) -> Answer:
    """A tunnel whose upstream goes on with these steps."""
    pair.upstream.forget()
    pair.upstream.script(Send(SWITCH), *steps)
    got = client.ask(request or handshake())
    assert got.status == 101, got
    return got


# -- the handshake -----------------------------------------------------------------------------------------------------


def test_the_handshake_goes_through(pair: Pair) -> None:
    with pair.gateway.connect() as client:
        got = opened(pair, client, ReadToEnd(), Close())
    sent = pair.upstream.requests[-1]
    assert (sent.one(b"upgrade") or b"").lower() == b"websocket"
    assert (sent.one(b"connection") or b"").lower() == b"upgrade"
    assert sent.one(b"sec-websocket-key") == NONCE.encode()
    assert sent.one(b"sec-websocket-version") == b"13"
    assert sent.one(b"sec-websocket-protocol") == b"chat, superchat"
    assert sent.one(b"x-forwarded-for") == b"127.0.0.1"
    assert (got.one(b"upgrade") or b"").lower() == b"websocket"
    assert (got.one(b"connection") or b"").lower() == b"upgrade"
    assert got.one(b"sec-websocket-accept") == ACCEPT.encode()
    assert got.one(b"sec-websocket-protocol") == b"chat"
    assert got.one(b"content-length") is None
    assert got.one(b"transfer-encoding") is None


@pytest.mark.parametrize(
    ("upgrade", "connection"),
    [
        ("websocket", "upgrade"),
        ("WebSocket", "UPGRADE"),
        ("websocket", "keep-alive, Upgrade"),
        ("websocket", "Upgrade, keep-alive"),
        ("WEBSOCKET", "upgrade,X-A"),
    ],
)
def test_spellings_of_the_handshake(pair: Pair, upgrade: str, connection: str) -> None:
    """RFC 6455, 4.2.1: tokens without case, within a list."""
    with pair.gateway.connect() as client:
        request = handshake(upgrade=upgrade, connection=connection)
        assert opened(pair, client, ReadToEnd(), Close(), request=request).status == 101


def test_policy_applies_to_the_handshake() -> None:
    issued = key(per_minute=60, burst=1)
    routes = [route("/chat", auth="required"), route("/gone", service_id="nobody")]
    with running_pair(routes=routes, keys=[issued.entity]) as pair, pair.gateway.connect() as client:
        assert client.ask(handshake()).status == 401
        pair.upstream.script(Send(answer(200, body=b"ok")))
        assert client.ask(handshake(f"X-API-Key: {issued.secret}")).status == 200
        assert client.ask(handshake(f"X-API-Key: {issued.secret}")).status == 429
        assert len(pair.upstream.requests) == 1
        assert pair.upstream.requests[0].all(b"x-api-key") == []


@pytest.mark.parametrize("status", [200, 400, 403, 426, 500])
def test_an_upstream_that_declines_answers_as_usual(pair: Pair, status: int) -> None:
    pair.upstream.forget()
    pair.upstream.script(Send(answer(status, body=b"no")))
    with pair.gateway.connect() as client:
        got = client.ask(handshake())
        assert (got.status, got.body) == (status, b"no")
        assert client.ask(lines("GET /y HTTP/1.1", "Host: a.example")).body == b"GET /y"


@pytest.mark.parametrize(
    "said",
    [
        lines("HTTP/1.1 101 Switching Protocols"),
        lines("HTTP/1.1 101 Switching Protocols", "Upgrade: h2c", "Connection: Upgrade"),
        lines("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket, h2c", "Connection: Upgrade"),
    ],
)
def test_an_upstream_that_switches_to_something_else_is_502(pair: Pair, said: bytes) -> None:
    """RFC 9110, 7.8: a server MUST NOT switch to a protocol that was not asked for."""
    pair.upstream.forget()
    pair.upstream.script(Send(said), ReadToEnd(), Close())
    with pair.gateway.connect() as client:
        assert client.ask(handshake()).status == 502
    with pair.gateway.connect() as client:
        assert client.ask(lines("GET /y HTTP/1.1", "Host: a.example")).body == b"GET /y"


def test_101_to_a_request_that_did_not_ask_is_502(pair: Pair) -> None:
    pair.upstream.forget()
    pair.upstream.script(Send(SWITCH), ReadToEnd(), Close())
    with pair.gateway.connect() as client:
        assert client.ask(lines("GET /x HTTP/1.1", "Host: a.example")).status == 502


@pytest.mark.parametrize(
    "request_bytes",
    [
        handshake(upgrade="h2c", connection="Upgrade, HTTP2-Settings"),
        handshake(upgrade="foo"),
        handshake(upgrade="foo/2"),
        handshake(upgrade="TLS/1.0"),
        handshake(upgrade="websocket-x"),
        handshake(connection="keep-alive"),
        handshake(connection="close"),
        handshake(version="1.0"),
        handshake(method="HEAD"),
        handshake("Content-Length: 0", method="POST"),
        lines("GET /chat HTTP/1.1", "Host: a.example", "Upgrade: websocket"),
        lines("GET /chat HTTP/1.1", "Host: a.example", "Connection: upgrade"),
        lines("GET /chat HTTP/1.1", "Host: a.example", "Connection: upgrade", "Upgrade:"),
    ],
)
def test_what_is_no_websocket_handshake_is_stripped_or_refused(pair: Pair, request_bytes: bytes) -> None:
    """http.md: other upgrades are stripped or refused, h2c is not offered. RFC 6455, 4.1: GET and HTTP/1.1."""
    pair.upstream.forget()
    known = len(pair.upstream.requests)
    method = request_bytes.partition(b" ")[0]
    with pair.gateway.connect() as client:
        got = client.ask(request_bytes, method)
    assert got.status in (200, 400, 405, 426, 501)
    for sent in pair.upstream.requests_since(known):
        assert sent.all(b"upgrade") == []
        assert b"upgrade" not in (sent.one(b"connection") or b"").lower()
        assert sent.all(b"http2-settings") == []


def test_a_list_with_websocket_in_it(pair: Pair) -> None:
    """Only websocket may go on, so that the upstream can't choose h2c."""
    pair.upstream.forget()
    pair.upstream.script(Echo())
    with pair.gateway.connect() as client:
        client.ask(handshake(upgrade="h2c, websocket"))
    assert (pair.upstream.requests[-1].one(b"upgrade") or b"").lower() in (b"", b"websocket")


@pytest.mark.parametrize("part", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_a_handshake_with_a_body_is_unambiguous(pair: Pair, part: str) -> None:
    """RFC 6455 knows no body: refused, stripped of its upgrade, or the body is read as one; it is never taken for
    frames.
    """
    pair.upstream.forget()
    known = len(pair.upstream.requests)
    body = b"hello" if "Length" in part else b"5\r\nhello\r\n0\r\n\r\n"
    with pair.gateway.connect() as client:
        client.send(handshake(part) + body)
        got = client.read_answer()
    assert got.status in (200, 400, 501)
    assert all(sent.body in (b"hello", b"") for sent in pair.upstream.requests_since(known))


def test_a_declined_handshake_hides_no_second_request(pair: Pair) -> None:
    """WebSocket smuggling: a client that pretends gets no raw line to the upstream when the upstream says no."""
    pair.upstream.forget()
    pair.upstream.script(Send(answer(426, "Sec-WebSocket-Version: 13", body=b"no")))
    with pair.gateway.connect() as client:
        client.send(handshake() + lines("GET /smuggled HTTP/1.1", "Host: a.example", "X-Forwarded-For: 192.0.2.1"))
        assert client.read_answer().status == 426
        try:
            client.read_answer()
        except NoAnswerError:
            return
    smuggled = pair.upstream.requests[-1]
    assert smuggled.target == b"/smuggled"
    assert smuggled.one(b"x-forwarded-for") == b"127.0.0.1"


# -- the tunnel --------------------------------------------------------------------------------------------------------


def test_frames_go_both_ways(pair: Pair) -> None:
    with pair.gateway.connect() as client:
        opened(pair, client, ReadExactly(5), Send(TEXT), ReadExactly(3), Send(CLOSE), ReadToEnd(), Close())
        client.send(b"first")
        assert client.stream.read_exactly(len(TEXT)) == TEXT
        client.send(b"two")
        assert client.stream.read_exactly(len(CLOSE)) == CLOSE


def test_frames_right_behind_the_101(pair: Pair) -> None:
    pair.upstream.forget()
    pair.upstream.script(Send(SWITCH + TEXT), ReadToEnd(), Close())
    with pair.gateway.connect() as client:
        assert client.ask(handshake()).status == 101
        assert client.stream.read_exactly(len(TEXT)) == TEXT


def test_frames_right_behind_the_handshake(pair: Pair) -> None:
    """Sent before the 101 came: they are the tunnel's, and not a request."""
    pair.upstream.forget()
    pair.upstream.script(Send(SWITCH), ReadExactly(5), Send(TEXT), ReadToEnd(), Close())
    with pair.gateway.connect() as client:
        client.send(handshake() + b"early")
        assert client.read_answer().status == 101
        assert client.stream.read_exactly(len(TEXT)) == TEXT


def test_bytes_pass_as_they_are(pair: Pair) -> None:
    """The gateway takes no part: what looks like HTTP in a tunnel is bytes."""
    data = bytes(range(256)) * 300 + lines("GET /smuggled HTTP/1.1", "Host: a.example")
    with pair.gateway.connect() as client:
        opened(pair, client, ReadExactly(len(data)), Send(data), ReadToEnd(), Close())
        client.send(data)
        assert client.stream.read_exactly(len(data)) == data
    assert pair.upstream.connections[pair.upstream.requests[-1].connection].raw == data


@pytest.mark.parametrize("how", ["close", "reset", "half_close"])
def test_a_client_that_ends_the_tunnel_ends_it_at_the_upstream(pair: Pair, how: str) -> None:
    ended = threading.Event()
    with pair.gateway.connect() as client:
        opened(pair, client, ReadToEnd(), Call(ended.set), Close())
        client.stream.close() if how == "close" else getattr(client, how)()
        assert ended.wait(PATIENCE), "the upstream is not told"
        if how == "half_close":
            client.assert_closed()


@pytest.mark.parametrize("end", [Close(), Reset(), HalfClose()])
def test_an_upstream_that_ends_the_tunnel_ends_it_at_the_client(pair: Pair, end: Close | Reset | HalfClose) -> None:
    with pair.gateway.connect() as client:
        opened(pair, client, ReadUntil(b"bye"), end)
        client.send(b"bye")
        assert client.stream.read_to_end() == b""


def test_a_client_that_sends_no_more_still_gets_what_comes(pair: Pair) -> None:
    with pair.gateway.connect() as client:
        opened(pair, client, ReadToEnd(), Send(TEXT), Close())
        client.half_close()
        assert client.stream.read_to_end() == TEXT


def test_an_upstream_that_sends_no_more_still_gets_what_comes(pair: Pair) -> None:
    got = threading.Event()
    with pair.gateway.connect() as client:
        opened(pair, client, HalfClose(), ReadExactly(3), Call(got.set), Close())
        assert client.stream.read_to_end() == b""
        client.send(b"bye")
        assert got.wait(PATIENCE)


def test_what_was_sent_before_the_end_arrives(pair: Pair) -> None:
    with pair.gateway.connect() as client:
        opened(pair, client, Send(b"last words" * 10_000), Close())
        assert client.stream.read_to_end() == b"last words" * 10_000


def test_a_tunnel_has_backpressure(pair: Pair) -> None:
    """A client that does not read stops the upstream, and costs no memory without bound."""
    stop = threading.Event()
    sent = [0]

    class Flood:
        def run(self, talk: Conversation) -> None:
            talk.stream.patience = 0.5
            while not stop.is_set():
                talk.stream.send(b"f" * 65_536)
                sent[0] += 65_536

    with pair.gateway.connect(receive_buffer=16_384) as client:
        opened(pair, client, Flood())
        pair.upstream.wait_until(lambda: pair.upstream.violations != [] or sent[0] > 64 << 20, "the flood ends")
        stop.set()
        assert sent[0] < 32 << 20
    pair.upstream.violations.clear()


def test_an_idle_tunnel_is_closed() -> None:
    clock, ended = FakeClock(), threading.Event()
    with running_pair(clock=clock, read_by_h11=False) as pair, pair.gateway.connect() as client:
        opened(pair, client, ReadToEnd(), Call(ended.set), Close())
        pair.gateway.pass_time(clock, LONGEST_IDLE)
        client.assert_closed()
        assert ended.wait(PATIENCE)


@pytest.mark.parametrize("who", ["the client", "the upstream"])
def test_a_busy_tunnel_is_not_idle(who: str) -> None:
    """A frame in either direction keeps both alive, longer than any timeout for requests."""
    clock, goes_on, got = FakeClock(), threading.Semaphore(0), threading.Semaphore(0)

    class Frame:
        """One that the client sends, or the upstream."""

        def run(self, talk: Conversation) -> None:
            if who == "the client":
                assert talk.stream.read_exactly(4) == b"ping"
                got.release()
            else:
                assert goes_on.acquire(timeout=PATIENCE)
                talk.stream.send(b"pong")

    with running_pair(clock=clock, read_by_h11=False) as pair, pair.gateway.connect() as client:
        opened(pair, client, *[Frame()] * 6, ReadToEnd(), Close())
        for _ in range(6):
            if who == "the client":
                client.send(b"ping")
                assert got.acquire(timeout=PATIENCE)
            else:
                goes_on.release()
                assert client.stream.read_exactly(4) == b"pong"
            pair.gateway.pass_time(clock, LONGEST_IDLE - 1.0)


def test_a_tunnel_is_not_a_pooled_connection(pair: Pair) -> None:
    with pair.gateway.connect() as client:
        opened(pair, client, ReadToEnd(), Close())
        tunnel = pair.upstream.requests[-1].connection
    with pair.gateway.connect() as client:
        assert client.ask(lines("GET /y HTTP/1.1", "Host: a.example")).body == b"GET /y"
    assert pair.upstream.requests[-1].connection != tunnel


def test_tunnels_leave_nothing_behind() -> None:
    with running_pair(read_by_h11=False) as pair:
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                opened(pair, stack.enter_context(pair.gateway.connect()), ReadToEnd(), Close())
            assert pair.gateway.call(lambda served: served.listener.connections) == 20
        pair.upstream.wait_until(lambda: pair.upstream.open_connections() == 0, "the upstream's ends are closed")
        gateway = pair.gateway
        until(lambda: gateway.call(lambda served: served.listener.connections) == 0, "the clients' are too")
        until(lambda: gateway.call(lambda served: served.listener.upstream_connections) == 0, "and the gateway's own")
