"""Bodies in motion: streamed both ways with backpressure, announced with Expect, answered early (http.md, Bodies)."""

import threading
import time
from collections.abc import Callable

import pytest

from tests.kit.cases import AnyOf, Case, Forwarded, Refused, Seen
from tests.kit.cases import check as check_case
from tests.kit.client import Client, NoAnswerError
from tests.kit.fixtures import Pair, running_pair
from tests.kit.messages import answer, chunked, lines
from tests.kit.steps import Call, Close, Echo, ReadBody, ReadExactly, Reset, Send, SendForever, Step, WaitFor
from tests.kit.upstream import Conversation
from tests.kit.waiting import PATIENCE

EXPECT = "RFC 9110, 10.1.1"
LARGE = 24 << 20  # bytes: far beyond what all buffers on the way hold together
MOST_BUFFERED = 16 << 20


def post(*fields: str, version: str = "1.1") -> bytes:
    return lines(f"POST /x HTTP/{version}", "Host: a.example", *fields)


# -- sizes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 4_095, 4_096, 16_384, 65_535, 65_536, 65_537, 262_144, 3_000_000])
@pytest.mark.parametrize("framing", ["length", "one chunk", "chunks"])
def test_a_body_arrives_as_it_was(pair: Pair, size: int, framing: str) -> None:
    body = bytes(number * 7 % 251 for number in range(size % 1_000)) + b"x" * (size - size % 1_000)
    if framing == "length":
        sends = post(f"Content-Length: {size}") + body
    else:
        step = size if framing == "one chunk" else 1_000
        parts = [body[place : place + step] for place in range(0, size, step)] if size else []
        sends = post("Transfer-Encoding: chunked") + chunked(*parts)
    pair.upstream.forget()
    with pair.gateway.connect() as client:
        assert client.ask(sends).status == 200
        assert client.ask(post("Content-Length: 0")).status == 200
    assert pair.upstream.requests[-2].body == body


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_the_upstream_sees_a_body_before_its_end(pair: Pair, framing: str) -> None:
    """http.md: streamed, so what has come is sent on while the rest is still to come."""
    pair.upstream.forget()
    begun = threading.Event()
    first = b"hello" if framing == "length" else b"5\r\nhello\r\n"
    pair.upstream.script(ReadExactly(len(first)), Call(begun.set), Send(answer(200, body=b"seen")), Close())
    fields = "Content-Length: 10" if framing == "length" else "Transfer-Encoding: chunked"
    with pair.gateway.connect() as client:
        client.send(post(fields) + first)
        assert begun.wait(PATIENCE), "the first half is not sent on"
        assert client.read_answer().body == b"seen"
    pair.upstream.violations.clear()


@pytest.mark.parametrize("framing", ["length", "chunks", "close"])
def test_the_client_sees_an_answer_before_its_end(pair: Pair, framing: str) -> None:
    """http.md: server-sent events pass unbuffered: every event is read before the next one is sent."""
    pair.upstream.forget()
    events = [b"data: %d\n\n" % number for number in range(5)]
    told = [threading.Event() for _ in events]
    size = sum(map(len, events))
    fields = {
        "length": (f"Content-Length: {size}",),
        "chunks": ("Transfer-Encoding: chunked",),
        "close": ("Connection: close",),
    }[framing]
    steps: list[Step] = [Send(lines("HTTP/1.1 200 OK", "Content-Type: text/event-stream", *fields))]
    for event, before in zip(events, told, strict=True):
        steps += [WaitFor(before), Send(b"%x\r\n%b\r\n" % (len(event), event) if framing == "chunks" else event)]
    steps += [Send(b"0\r\n\r\n")] if framing == "chunks" else [Close()] if framing == "close" else []
    pair.upstream.script(*steps)
    with pair.gateway.connect() as client:
        client.send(lines("GET /x HTTP/1.1", "Host: a.example"))
        client.stream.read_until(b"\r\n\r\n")
        for event, before in zip(events, told, strict=True):
            before.set()
            assert client.stream.read_until(event).endswith(event)


# -- backpressure ------------------------------------------------------------------------------------------------------


def assert_stalls(progress: Callable[[], int], at_most: int) -> None:
    """It comes to rest, at no more than this: then nobody buffers without bound."""
    deadline, last, still = time.monotonic() + PATIENCE, -1, 0
    while still < 4:
        now = progress()
        still = still + 1 if now == last and now > 0 else 0
        last = now
        assert now <= at_most, f"{now} bytes are on their way to a reader that does not read"
        assert time.monotonic() < deadline, "it never comes to rest"
        time.sleep(0.05)  # standing still for a while is what is asked


class CountingSend:
    """Sends a large answer in pieces, and says how far it came."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.sent = 0

    def run(self, talk: Conversation) -> None:
        talk.stream.send(lines("HTTP/1.1 200 OK", f"Content-Length: {self.size}"))
        while self.sent < self.size:
            piece = b"d" * min(65_536, self.size - self.sent)
            talk.stream.send(piece)
            self.sent += len(piece)


def test_a_client_that_does_not_read_stops_the_upstream(pair: Pair) -> None:
    pair.upstream.forget()
    sender = CountingSend(4 * LARGE)
    pair.upstream.script(sender)
    with pair.gateway.connect(receive_buffer=16_384) as client:
        client.send(lines("GET /x HTTP/1.1", "Host: a.example"))
        assert_stalls(lambda: sender.sent, MOST_BUFFERED)
        got = client.read_answer()
        assert (got.status, len(got.body), got.complete) == (200, sender.size, True)


def test_an_upstream_that_does_not_read_stops_the_client() -> None:
    go_on = threading.Event()
    with running_pair(upstream_buffer=16_384) as pair, pair.gateway.connect() as client:
        pair.upstream.script(WaitFor(go_on), Echo())
        sent = 0

        def upload() -> None:
            nonlocal sent
            client.send(post(f"Content-Length: {LARGE}"))
            while sent < LARGE:
                client.stream.send(b"u" * 65_536)
                sent += 65_536

        thread = threading.Thread(target=upload)
        thread.start()
        try:
            assert_stalls(lambda: sent, MOST_BUFFERED)
        finally:
            go_on.set()
            thread.join(PATIENCE)
        assert client.read_answer().status == 200
        assert pair.upstream.requests[0].body == b"u" * LARGE


def test_slow_readers_do_not_slow_others(pair: Pair) -> None:
    pair.upstream.forget()
    with pair.gateway.connect(receive_buffer=16_384) as slow:
        pair.upstream.script(
            SendForever(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", most=40),
            SendForever(b"x" * 65_536, most=LARGE),
            Close(),
        )
        slow.send(lines("GET /x HTTP/1.1", "Host: a.example"))
        slow.stream.read_until(b"\r\n\r\n")
        with pair.gateway.connect() as quick:
            assert quick.ask(lines("GET /quick HTTP/1.1", "Host: a.example")).body == b"GET /quick"
    pair.upstream.violations.clear()


# -- Expect: 100-continue ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["100-continue", "100-Continue", " 100-continue "])
@pytest.mark.parametrize("framing", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_an_announced_body_is_asked_for(pair: Pair, spelling: str, framing: str) -> None:
    """The gateway answers 100 itself or relays the upstream's; the client must not be left waiting."""
    pair.upstream.forget()
    with pair.gateway.connect() as client:
        client.send(post(framing, f"Expect:{spelling}"))
        assert client.read_interim().start.startswith(b"HTTP/1.1 100")
        client.send(b"hello" if "Length" in framing else chunked(b"hello"))
        got = client.read_answer()
        assert (got.status, got.body) == (200, b"POST /x")
        assert client.ask(lines("GET /y HTTP/1.1", "Host: a.example")).body == b"GET /y"
    assert pair.upstream.requests[-2].body == b"hello"


def test_an_upstream_that_says_100_too(pair: Pair) -> None:
    """The client gets at most as many 100 as it can use, and its final answer behind them."""
    pair.upstream.forget()
    pair.upstream.script(Send(lines("HTTP/1.1 100 Continue")), ReadBody(), Echo())
    with pair.gateway.connect() as client:
        client.send(post("Content-Length: 5", "Expect: 100-continue"))
        client.read_interim()
        client.send(b"hello")
        assert client.read_answer().body == b"POST /x"


def test_an_upstream_that_refuses_an_announced_body(pair: Pair) -> None:
    """A final answer in the place of 100 is relayed (RFC 9110, 10.1.1), and what follows is a new request or the
    end.
    """
    pair.upstream.forget()
    pair.upstream.script(Send(answer(413, "Connection: close", body=b"no")), Close())
    with pair.gateway.connect() as client:
        client.send(post("Content-Length: 5", "Expect: 100-continue"))
        got = client.read_answer()
        assert (got.status, got.body) == (413, b"no")
        assert got.one(b"connection") == b"close"


def expect_rows() -> list[Case]:
    hello = Seen(method=b"POST", body=b"hello")
    met = Forwarded((hello,))
    refused = Refused(frozenset((417,)), closes=False)
    unknown = f"{EXPECT}: an expectation that is not met is 417; HTTP/1.0 clients' are ignored"
    rows = [
        Case(
            name="a body sent at once",
            why=EXPECT,
            sends=post("Content-Length: 5", "Expect: 100-continue") + b"hello",
            expect=met,
        ),
        Case(
            name="chunks sent at once",
            why=EXPECT,
            sends=post("Transfer-Encoding: chunked", "Expect: 100-continue") + chunked(b"hello"),
            expect=met,
        ),
        Case(
            name="no body",
            why=EXPECT,
            sends=lines("GET /x HTTP/1.1", "Host: a.example", "Expect: 100-continue"),
            expect=AnyOf((Forwarded(), refused)),
        ),
        Case(
            name="length 0",
            why=EXPECT,
            sends=post("Content-Length: 0", "Expect: 100-continue"),
            expect=Forwarded((Seen(method=b"POST"),)),
        ),
        Case(
            name="HTTP/1.0",
            why=f"{EXPECT}: ignored in HTTP/1.0",
            sends=post("Content-Length: 5", "Expect: 100-continue", version="1.0") + b"hello",
            expect=Forwarded((hello,), closes=True),
        ),
    ]
    for value in ("x", "200-ok", "100-continue, x", "100", "continue", "100-continue;q=1", ""):
        expect = AnyOf((refused, met, Refused()))
        rows.append(
            Case(
                name=f"Expect: {value!r}",
                why=unknown,
                sends=post("Content-Length: 5", f"Expect: {value}") + b"hello",
                expect=expect,
            )
        )
    return rows


@pytest.mark.parametrize("case", expect_rows(), ids=str)
def test_expect(pair: Pair, case: Case) -> None:
    check_case(case, pair.gateway, pair.upstream)


# -- early answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 401, 413, 500])
@pytest.mark.parametrize("then", ["keeps reading", "closes"])
@pytest.mark.parametrize("framing", ["Content-Length: 100000", "Transfer-Encoding: chunked"])
def test_an_answer_before_the_requests_end(pair: Pair, status: int, then: str, framing: str) -> None:
    """http.md: relayed, and the connection is not used again: neither the client's nor the upstream's."""
    pair.upstream.forget()
    said = answer(status, body=b"early")
    end: Step = ReadBody() if then == "keeps reading" else Close()
    pair.upstream.script(Send(said), end)
    with pair.gateway.connect() as client:
        client.send(post(framing) + (b"u" * 1_000 if "Length" in framing else b"3e8\r\n" + b"u" * 1_000 + b"\r\n"))
        got = client.read_answer()
        assert (got.status, got.body, got.complete) == (status, b"early", True)
        assert got.one(b"connection") == b"close"
        connection = pair.upstream.connections[pair.upstream.requests[-1].connection]
        client.half_close()
        client.assert_closed()
    pair.upstream.wait_until(lambda: connection.closed or connection.ended_by_peer, "it is not used again")
    pair.upstream.violations.clear()
    with pair.gateway.connect() as other:
        assert other.ask(lines("GET /other HTTP/1.1", "Host: a.example")).body == b"GET /other"


def test_an_early_answer_is_not_lost_to_a_client_that_still_sends(pair: Pair) -> None:
    """RFC 9112, 9.6: closing at once would reset the connection and the client might lose the answer."""
    pair.upstream.forget()
    pair.upstream.script(Send(answer(413, "Connection: close", body=b"early" * 100)), Close())
    with pair.gateway.connect() as client:
        client.send(post("Content-Length: 10000000"))
        for _ in range(20):
            client.send(b"u" * 10_000)
        got = client.read_answer()
        assert (got.status, got.body) == (413, b"early" * 100)
    pair.upstream.violations.clear()


def test_an_early_answer_that_is_long(pair: Pair) -> None:
    """Both directions move at once: a request of any length and an answer of any length."""
    pair.upstream.forget()
    pair.upstream.script(
        Send(lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")), ReadBody(), Send(chunked(b"a" * 100_000))
    )
    with pair.gateway.connect() as client:
        client.send(post("Content-Length: 10"))
        client.stream.read_until(b"\r\n\r\n")
        client.send(b"0123456789")
        body, _ = client.stream.read_chunked()
        assert body == b"a" * 100_000
    assert pair.upstream.requests[-1].body == b"0123456789"


# -- clients that leave ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leave", ["close", "reset", "half-close"])
@pytest.mark.parametrize(("framing", "part"), [("Content-Length: 10", b"hello"), ("Transfer-Encoding: chunked",
b"5\r\nhello\r\n"), ("Transfer-Encoding: chunked", b"5\r\nhe"),
                                               ("Content-Length: 10", b"")])  # fmt: skip
def test_a_client_that_leaves_in_the_middle_of_a_body(pair: Pair, leave: str, framing: str, part: bytes) -> None:
    """RFC 9112, 8: an incomplete request must not become a whole one at the upstream."""
    pair.upstream.forget()
    known = len(pair.upstream.requests)
    with pair.gateway.connect() as client:
        client.send(post(framing) + part)
        pair.gateway.settle()
        getattr(client, leave.replace("-", "_"), client.stream.close)()
        if leave == "half-close":
            with_answer = _answer_if_any(client)
            assert with_answer is None or with_answer >= 400
    pair.gateway.settle()
    pair.upstream.rest()
    for request in pair.upstream.requests_since(known):
        connection = pair.upstream.connections[request.connection]
        pair.upstream.wait_until(lambda connection=connection: connection.ended_by_peer, "the upstream is told")  # type: ignore[misc]
        assert not request.complete
    pair.upstream.violations.clear()


def _answer_if_any(client: Client) -> int | None:
    try:
        return client.read_answer().status
    except NoAnswerError:
        return None


def test_an_upstream_that_resets_in_the_middle_of_a_body(pair: Pair) -> None:
    pair.upstream.forget()
    pair.upstream.script(ReadExactly(5), Reset())
    with pair.gateway.connect() as client:
        client.send(post("Content-Length: 10") + b"hello")
        got = client.read_answer()
        assert got.status == 502
        got.problem()
