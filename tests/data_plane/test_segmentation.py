"""TCP has no messages: any split of the same bytes gives the same requests upstream and the same answers."""

from dataclasses import dataclass

from hypothesis import example, given, settings
from hypothesis import strategies as st

from fuzzing.scripted import Received
from microgateway.core.framing import LAST_CHUNK, encode_chunk
from tests.data_plane.bench import Scene, scene

PATHS = ("/", "/a/b?c=d", "/a//b", "/%7Ea/./b/../c", "/e?", "http://b.example/z?q")
FIELD_LINES = (
    b"Accept: */*",
    b"X-Odd:\t spaced \t",
    b"Cookie: a=b; c=d",
    b"X-API-Key: mgw_live_x",
    b"Connection: X-Hop",
    b"X-Hop: 1",
    b"X-Long: " + b"v" * 300,
    b"X-Empty:",
)
# Each is refused, whatever has come of it when that is seen.
BROKEN = (
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
    b"GET /" + b"a" * 8_192 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: " + b"a" * 32_768 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-Many: 1\r\n" * 100 + b"\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it: whole requests upstream, the client's answers, what was recorded, and whether it goes on."""

    requests: list[tuple[object, ...]]
    answers: bytes
    statuses: list[int]
    closed: bool


def answer(request: Received) -> list[bytes]:
    """Every framing in turn, in pieces."""
    body = b"%b %b %b" % (request.method, request.target, bytes(request.body))
    if request.method == b"HEAD":
        return [b"HTTP/1.1 200 OK\r\nContent-", b"Length: 99\r\n\r\n"]
    if b"z?q" in request.target:
        return [b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r", b"\nHTTP/1.1 204 No Content\r\n\r\n"]
    if len(request.body) % 2:
        return [
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"%x\r\n%b\r" % (len(body), body),
            b"\n0\r\n\r\n",
        ]
    return [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body]


def outcome(pieces: list[bytes], *, at_once: bool) -> Outcome:
    """`at_once`: all of them before anybody answers; otherwise everything is done before the next one comes."""
    stage: Scene = scene(answer)
    for piece in pieces:
        stage.client.send(piece)
        if not at_once:
            stage.bench.run()
    stage.bench.run()
    stage.assert_at_rest()
    seen: list[tuple[object, ...]] = [
        (request.method, request.target, request.fields, bytes(request.body))
        for request in stage.upstream.requests
        if request.complete
    ]
    return Outcome(seen, stage.answered, stage.statuses(), stage.client.wrote_eof or stage.client.closing)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % len(data) for place in places} - {0})
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One valid request, with any framing of its body."""
    method = draw(st.sampled_from(("GET", "HEAD", "POST", "PUT", "DELETE")))
    lines = [f"{method} {draw(st.sampled_from(PATHS))} HTTP/1.1".encode(), b"Host: a.example"]
    lines += draw(st.lists(st.sampled_from(FIELD_LINES), max_size=4))
    framing = draw(st.sampled_from(("none", "length", "chunks")))
    body = b""
    if framing == "length":
        body = draw(st.binary(max_size=60))
        lines.append(b"Content-Length: %d" % len(body))
    elif framing == "chunks":
        lines.append(b"Transfer-Encoding: chunked")
        chunks = draw(st.lists(st.binary(min_size=1, max_size=20), max_size=4))
        body = b"".join(bytes(part) for chunk in chunks for part in encode_chunk([chunk])) + LAST_CHUNK
    return draw(st.sampled_from((b"", b"\r\n"))) + b"\r\n".join([*lines, b"", b""]) + body


conversations = st.lists(requests(), min_size=1, max_size=5).map(b"".join)
places = st.lists(st.integers(0, 100_000), max_size=12)


@settings(max_examples=150, deadline=None)
@given(conversations, places, st.booleans())
def test_any_split_of_the_same_requests_gives_the_same(data: bytes, where: list[int], at_once: bool) -> None:
    whole = outcome([data], at_once=True)
    assert set(whole.statuses) <= {200, 204}, whole.answers
    assert outcome(cut(data, where), at_once=at_once) == whole


@settings(max_examples=30, deadline=None)
@given(conversations)
def test_byte_by_byte_is_a_split_too(data: bytes) -> None:
    pieces = [data[place : place + 1] for place in range(len(data))]
    assert outcome(pieces, at_once=False) == outcome([data], at_once=True)


@settings(max_examples=150, deadline=None)
@given(conversations, st.sampled_from(BROKEN), places, st.booleans())
@example(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", BROKEN[7], [8_200], False)
def test_what_is_refused_is_refused_however_it_comes(
    data: bytes, broken: bytes, where: list[int], at_once: bool
) -> None:
    """With the same status, behind the same answers, and the connection ends there. The detail may differ."""
    message = data + broken + b"GET /behind HTTP/1.1\r\nHost: a\r\n\r\n"
    whole, split = outcome([message], at_once=True), outcome(cut(message, where), at_once=at_once)
    assert (split.requests, split.statuses, split.closed) == (whole.requests, whole.statuses, True)
    assert not [request for request in split.requests if request[1] == b"/behind"]
    assert split.statuses[-1] in (400, 405, 414, 431, 505)


LINE_LIMIT, SECTION_LIMIT = 8_192, 32_768


@settings(max_examples=60, deadline=None)
@given(st.sampled_from((b"", b"\r\n", b"\r\n\r\n")), st.integers(-3, 3), st.integers(-6, 6))
@example(b"\r\n", 0, 0)
def test_the_longest_request_line_is_taken_however_it_comes(empty_lines: bytes, more: int, where: int) -> None:
    line = b"GET /" + b"a" * (LINE_LIMIT + more - len(b"GET / HTTP/1.1")) + b" HTTP/1.1"
    data = empty_lines + line + b"\r\nHost: a\r\n\r\n"
    whole = outcome([data], at_once=True)
    assert whole.statuses == ([200] if more <= 0 else [414])
    place = len(empty_lines + line) + where
    assert outcome([data[:place], data[place:]], at_once=False).statuses == whole.statuses


@settings(max_examples=60, deadline=None)
@given(st.integers(-5, 5), st.integers(-6, 6))
def test_the_longest_header_section_is_taken_however_it_comes(more: int, where: int) -> None:
    fields = b"\r\nHost: a\r\nX: "
    data = b"GET / HTTP/1.1" + fields + b"a" * (SECTION_LIMIT + more - len(fields)) + b"\r\n\r\n"
    whole = outcome([data], at_once=True)
    assert whole.statuses == ([200] if more <= 0 else [431])
    place = min(len(data) - 1, len(data) + where - 3)
    assert outcome([data[:place], data[place:]], at_once=False).statuses == whole.statuses
