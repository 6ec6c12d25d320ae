"""Limits: sizes, counts and times, each with a gateway that has small ones (http.md, Limits)."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from microgateway.testing import FakeClock
from tests.kit.cases import Case, Forwarded, Refused, Seen, check
from tests.kit.client import Client, NoAnswerError
from tests.kit.fixtures import Pair, running_pair
from tests.kit.messages import chunked, lines
from tests.kit.steps import SendForever
from tests.kit.waiting import PATIENCE, until

LINE, SECTION, FIELDS, BODY = 256, 1_024, 12, 1_000
LIMIT = 8.0  # seconds, for every wait for a client
TOO_LONG, TOO_LARGE, TOO_MUCH = frozenset((414,)), frozenset((431,)), frozenset((413,))


@pytest.fixture(scope="module")
def small() -> Iterator[Pair]:
    with running_pair(
        max_request_line=LINE, max_header_bytes=SECTION, max_header_fields=FIELDS, max_body_bytes=BODY
    ) as pair:
        yield pair


def target_of(length: int) -> bytes:
    """A target that makes the request line this long."""
    return b"/" + b"x" * (length - len(b"GET / HTTP/1.1"))


def line_rows() -> Iterator[Case]:
    why = "http.md: a request line over the limit is 414; RFC 9110, 15.5.15"
    fits = target_of(LINE)
    yield Case(
        name="a request line at the limit",
        why=why,
        sends=lines(b"GET %b HTTP/1.1" % fits, "Host: a.example"),
        expect=Forwarded((Seen(target=fits),)),
    )
    for name, sends in (
        ("one byte more", lines(b"GET %b HTTP/1.1" % target_of(LINE + 1), "Host: a.example")),
        ("a long query", lines(b"GET /?%b HTTP/1.1" % (b"x" * LINE), "Host: a.example")),
        ("many times more", lines(b"GET %b HTTP/1.1" % target_of(LINE * 40), "Host: a.example")),
        ("an absolute target", lines(b"GET http://a.example%b HTTP/1.1" % target_of(LINE), "Host: a.example")),
    ):
        yield Case(name=f"a request line: {name}", why=why, sends=sends, expect=Refused(TOO_LONG))
    yield Case(
        name="a method over the limit",
        why="RFC 9112, 3: a method longer than any that is known is 501, a line over the limit 414",
        sends=lines(b"%b /x HTTP/1.1" % (b"X" * LINE), "Host: a.example"),
        expect=Refused(frozenset((400, 414, 501))),
    )
    yield Case(
        name="a request line without end",
        why=why + ". It is not waited for",
        sends=b"GET /" + b"x" * (LINE * 4),
        expect=Refused(TOO_LONG),
        suffix=b"",
    )
    yield Case(
        name="a method without end",
        why="a line over the limit can't become a request",
        sends=b"X" * (LINE * 4),
        expect=Refused(frozenset((400, 414, 501))),
        suffix=b"",
    )


def section_rows() -> Iterator[Case]:
    why = "http.md: a header section over its limit is 431 (RFC 6585, 5)"
    host = b"Host: a.example"
    room = SECTION - len(host) - 2 - len(b"X-A: ") - 2 - 2
    yield Case(
        name="a section just below the limit",
        why=why,
        sends=lines("GET /x HTTP/1.1", host, b"X-A: " + b"a" * (room - 2)),
        expect=Forwarded((Seen(has=((b"x-a", b"a" * (room - 2)),)),)),
    )
    for name, fields in (
        ("one large value", (b"X-A: " + b"a" * SECTION,)),
        ("one large name", (b"X" * SECTION + b": a",)),
        ("several large values", tuple(b"X-%d: %b" % (number, b"a" * 300) for number in range(4))),
        ("a huge value", (b"X-A: " + b"a" * (SECTION * 30),)),
        ("a large cookie", (b"Cookie: a=" + b"a" * SECTION,)),
    ):
        yield Case(
            name=f"a section: {name}", why=why, sends=lines("GET /x HTTP/1.1", host, *fields), expect=Refused(TOO_LARGE)
        )
    for name, tail in (("a value", b"X-A: "), ("a name", b"")):
        yield Case(
            name=f"{name} without end",
            why=why + ". It is not waited for",
            sends=b"GET /x HTTP/1.1\r\nHost: a.example\r\n" + tail + b"a" * (SECTION * 2),
            expect=Refused(TOO_LARGE),
            suffix=b"",
        )
    yield Case(
        name="fields without end",
        why=why,
        sends=b"GET /x HTTP/1.1\r\nHost: a.example\r\n" + b"X-A: 1\r\n" * SECTION,
        expect=Refused(TOO_LARGE),
        suffix=b"",
    )
    for count in (FIELDS - 1, FIELDS):
        sends = lines("GET /x HTTP/1.1", host, *(f"X: {number}" for number in range(count - 1)))
        yield Case(name=f"{count} fields of {FIELDS}", why="http.md: so many fields", sends=sends, expect=Forwarded())
    for count in (FIELDS + 1, FIELDS * 5):
        sends = lines("GET /x HTTP/1.1", host, *(f"X: {number}" for number in range(count - 1)))
        yield Case(name=f"{count} fields of {FIELDS}", why="http.md: 431", sends=sends, expect=Refused(TOO_LARGE))


def body_rows() -> Iterator[Case]:
    why = "http.md: a body over the limit is 413 (RFC 9110, 15.5.14)"
    head = ("POST /x HTTP/1.1", "Host: a.example")
    full = b"b" * BODY
    for name, fields, body in (
        ("by length, at the limit", f"Content-Length: {BODY}", full),
        ("in a chunk, at the limit", "Transfer-Encoding: chunked", chunked(full)),
        ("in many chunks, at the limit", "Transfer-Encoding: chunked", chunked(*[b"b"] * BODY)),
    ):
        expect = Forwarded((Seen(method=b"POST", body=full),))
        yield Case(name=f"a body {name}", why=why, sends=lines(*head, fields) + body, expect=expect)
    for length in (BODY + 1, BODY * 50, 10**12):
        sends = lines(*head, f"Content-Length: {length}")
        yield Case(name=f"a body of {length}", why=why, sends=sends + b"b" * 10, expect=Refused(TOO_MUCH))
        yield Case(name=f"a body of {length}, not begun", why=why, sends=sends, expect=Refused(TOO_MUCH), suffix=b"")
        expecting = lines(*head, f"Content-Length: {length}", "Expect: 100-continue")
        yield Case(
            name=f"a body of {length}, announced",
            why=why + "; RFC 9110, 10.1.1: the final answer takes the place of 100",
            sends=expecting,
            expect=Refused(TOO_MUCH),
            suffix=b"",
        )
    over = Refused(TOO_MUCH, incomplete=True, closes=False)
    for name, body in (
        ("one chunk", chunked(full + b"b")),
        ("two chunks", chunked(full, b"b")),
        ("many chunks", chunked(*[b"bb"] * BODY)),
        ("a chunk of a terabyte", b"ffffffffff\r\n" + b"b" * 2_000),
    ):
        yield Case(
            name=f"too much in {name}", why=why, sends=lines(*head, "Transfer-Encoding: chunked") + body, expect=over
        )
    long_extension = b"1;" + b"e" * 20_000 + b"\r\nb\r\n0\r\n\r\n"
    flood = b"".join(b"1;%b\r\nb\r\n" % (b"e" * 200) for _ in range(BODY)) + b"0\r\n\r\n"
    trailers = chunked(b"b", trailers=b"X-Trailer: a\r\n" * 20_000)
    for name, body in (("an extension without bound", long_extension), ("trailers without bound", trailers)):
        yield Case(
            name=name,
            why="RFC 9112, 7.1.1: a recipient ought to limit extensions; http.md: bounded",
            sends=lines(*head, "Transfer-Encoding: chunked") + body,
            expect=Refused(frozenset((400, 413, 431)), incomplete=True),
            suffix=b"",
        )
    yield Case(
        name="a thousand chunks with extensions of 200 bytes",
        why="RFC 9112, 7.1.1: a server ought to limit their total length; each by itself is in bounds",
        sends=lines(*head, "Transfer-Encoding: chunked") + flood,
        expect=Refused(frozenset((400, 413)), incomplete=True),
    )


@pytest.mark.parametrize("case", [*line_rows(), *section_rows(), *body_rows()], ids=str)
def test_size(small: Pair, case: Case) -> None:
    check(case, small.gateway, small.upstream)


@pytest.mark.parametrize("case", [*line_rows(), *section_rows()], ids=str)
def test_size_byte_by_byte(small: Pair, case: Case) -> None:
    if len(case.sends) < 3_000:
        check(case, small.gateway, small.upstream, "byte by byte")


# -- times -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hasty:
    """A gateway before an upstream, whose clock stands still until the test says otherwise."""

    pair: Pair
    clock: FakeClock

    def connect(self) -> Client:
        return self.pair.gateway.connect()

    def pass_time(self, seconds: float) -> None:
        self.pair.gateway.pass_time(self.clock, seconds)


@pytest.fixture(scope="module")
def hasty() -> Iterator[Hasty]:
    clock = FakeClock()
    limits: dict[str, Any] = {
        "client_header_timeout": LIMIT,
        "client_body_timeout": LIMIT,
        "client_idle_timeout": LIMIT,
    }
    with running_pair(clock=clock, upstream_read_timeout=86_400, upstream_idle_timeout=86_400, **limits) as pair:
        yield Hasty(pair, clock)


def drip(hasty: Hasty, client: Client, data: bytes) -> None:
    """Sends byte after byte, each well within the limit of the one before, and all of them beyond it."""
    for octet in data:
        client.stream.send(b"%c" % octet)
        hasty.pass_time(LIMIT / len(data))


def assert_timed_out(client: Client) -> None:
    """A 408, or nothing: either way the connection is closed, and nobody takes it for an answer of the upstream."""
    try:
        answer = client.read_answer()
    except NoAnswerError:
        return
    assert answer.status == 408, answer
    answer.problem()
    client.assert_closed()


@pytest.mark.parametrize(
    "part",
    [
        b"G",
        b"GET /x HTTP/1.1",
        b"GET /x HTTP/1.1\r\n",
        b"GET /x HTTP/1.1\r\nHost: a.example",
        b"GET /x HTTP/1.1\r\nHost: a.example\r\n",
        b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r",
        b"\r",
        b"\r\n",
    ],
)
def test_a_head_that_stops(hasty: Hasty, part: bytes) -> None:
    """http.md: a slow header section is cut off; a client that waits for nothing costs a connection."""
    known = len(hasty.pair.upstream.requests)
    with hasty.connect() as client:
        client.send(part)
        hasty.pass_time(LIMIT)
        assert_timed_out(client)
    assert len(hasty.pair.upstream.requests) == known


def test_a_head_that_drips(hasty: Hasty) -> None:
    """The time runs from the first byte, not from the last: a byte now and then must not hold a connection."""
    with hasty.connect() as client:
        drip(hasty, client, b"GET /x H")
        assert_timed_out(client)


def test_a_second_head_that_drips(hasty: Hasty) -> None:
    with hasty.connect() as client:
        assert client.ask(lines("GET /x HTTP/1.1", "Host: a.example")).status == 200
        drip(hasty, client, b"GET /y H")
        assert_timed_out(client)


def test_empty_lines_that_drip(hasty: Hasty) -> None:
    """Empty lines in front of a request are skipped, but they are no way to hold a connection."""
    with hasty.connect() as client:
        drip(hasty, client, b"\r\n" * 4)
        assert_timed_out(client)


def test_a_connection_that_says_nothing(hasty: Hasty) -> None:
    with hasty.connect() as client:
        hasty.pass_time(LIMIT)
        assert_timed_out(client)


def test_a_connection_that_is_kept_and_says_nothing(hasty: Hasty) -> None:
    """http.md: idle keep-alive is cut off. Nothing is said: the client may be sending a request (RFC 9112, 9.5)."""
    with hasty.connect() as client:
        assert client.ask(lines("GET /x HTTP/1.1", "Host: a.example")).status == 200
        hasty.pass_time(LIMIT)
        client.assert_closed()


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("Content-Length: 100", b""),
        ("Content-Length: 100", b"hello"),
        ("Transfer-Encoding: chunked", b""),
        ("Transfer-Encoding: chunked", b"5"),
        ("Transfer-Encoding: chunked", b"5\r\nhe"),
        ("Transfer-Encoding: chunked", b"5\r\nhello\r\n"),
        ("Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n"),
        ("Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\nX-Trailer: 1\r\n"),
    ],
)
def test_a_body_that_stops(hasty: Hasty, field: str, body: bytes) -> None:
    """408 (RFC 9110, 15.5.9), and the upstream sees that there is no more to come."""
    upstream, known = hasty.pair.upstream, len(hasty.pair.upstream.requests)
    with hasty.connect() as client:
        client.send(lines("POST /x HTTP/1.1", "Host: a.example", field) + body)
        upstream.wait_for_requests(known + 1)
        hasty.pass_time(LIMIT)
        assert_timed_out(client)
    upstream.rest()
    for request in upstream.requests_since(known):
        assert not request.complete
        connection = upstream.connections[request.connection]
        upstream.wait_until(lambda connection=connection: connection.ended_by_peer, "the upstream is told")  # type: ignore[misc]


def test_a_body_that_is_slow_but_comes(hasty: Hasty) -> None:
    """http.md: the limit is between two reads, so an upload may take longer than it as a whole."""
    body = b"0123456789abcdef"
    with hasty.connect() as client:
        client.send(lines("POST /x HTTP/1.1", "Host: a.example", f"Content-Length: {len(body)}"))
        for octet in body:
            hasty.pass_time(LIMIT * 0.75)
            client.send(b"%c" % octet)
        assert client.read_answer().status == 200
    assert hasty.pair.upstream.requests[-1].body == body


def test_a_client_that_does_not_read(hasty: Hasty) -> None:
    """A reader that stopped is cut off too, and its upstream connection is freed."""
    upstream, known = hasty.pair.upstream, len(hasty.pair.upstream.requests)
    upstream.forget()
    upstream.script(SendForever(b"a" * 65_536, most=1 << 28))
    with hasty.pair.gateway.connect(receive_buffer=4_096) as client:
        client.send(lines("GET /x HTTP/1.1", "Host: a.example"))
        request = upstream.wait_for_requests(known + 1)[-1]
        connection = upstream.connections[request.connection]

        def is_freed() -> bool:
            hasty.pass_time(LIMIT)
            return connection.ended_by_peer

        until(is_freed, "the upstream is freed")
    upstream.violations.clear()  # what was sent endlessly was no answer


# -- counts ------------------------------------------------------------------------------------------------------------


def test_requests_per_connection() -> None:
    """The last one says so, and the client opens another connection (RFC 9112, 9.6)."""
    with running_pair(client_max_requests=3) as pair, pair.gateway.connect() as client:
        request = lines("GET /x HTTP/1.1", "Host: a.example")
        answers = [client.ask(request) for _ in range(3)]
        assert [answer.one(b"connection") for answer in answers] == [None, None, b"close"]
        client.assert_closed()


def test_connections() -> None:
    """One too many is told so and closed, the others are served, and a place that is freed is taken."""
    request = lines("GET /x HTTP/1.1", "Host: a.example")
    with running_pair(client_max_connections=2) as pair, contextlib.ExitStack() as stack:
        first, second = (stack.enter_context(pair.gateway.connect()) for _ in range(2))
        assert first.ask(request).status == second.ask(request).status == 200
        with pair.gateway.connect() as third:
            with contextlib.suppress(NoAnswerError):
                answer = third.ask(request)
                assert answer.status == 503
                answer.problem()
            third.assert_closed()
        assert first.ask(request).status == 200
        first.stream.close()
        served = _ask_until_served(pair, request)
        assert served == 200


def _ask_until_served(pair: Pair, request: bytes) -> int:
    """The gateway sees a close a little later than the client makes it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with pair.gateway.connect() as client, contextlib.suppress(NoAnswerError):
            status = client.ask(request).status
            if status == 200:
                return status
    raise AssertionError("a place that was freed is never given away")
