"""An upstream's head: read as strictly as a client's, since we pass it on in our own name."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzzing.corpus import OCTETS
from microgateway.core.answers import CHUNKED, MOST_STATUS_LINES, NO_BODY, UNTIL_CLOSE, AnswerHead, AnswerReader
from microgateway.core.fields import LONGEST_REMEMBERED, Field, HeadError

OK = b"HTTP/1.1 200 OK"


def read(*lines: bytes, to_head: bool = False) -> AnswerHead:
    return AnswerReader().read(list(lines), {}, to_head=to_head)


def passed_on(head: AnswerHead) -> list[bytes]:
    """The lines for the client, but for the one that names us."""
    *lines, via, end = head.passed_on.split(b"\r\n")
    assert via in (b"Via: 1.1 microgateway", b"Via: 1.0 microgateway")
    assert end == b""
    return lines


STATUS_LINES = [
    (b"HTTP/1.1 200 OK", 200, b"HTTP/1.1 200 OK"),
    (b"HTTP/1.0 200 OK", 200, b"HTTP/1.1 200 OK"),
    (b"HTTP/1.1 200 ", 200, b"HTTP/1.1 200 "),
    (b"HTTP/1.1 200", 200, b"HTTP/1.1 200 "),
    (b"HTTP/1.1 404 Not  \t Found!", 404, b"HTTP/1.1 404 Not  \t Found!"),
    (b"HTTP/1.1 599 caf\xe9", 599, b"HTTP/1.1 599 caf\xe9"),
    (b"HTTP/1.1 999 x", 999, b"HTTP/1.1 999 x"),
    (b"HTTP/1.1 100 Continue", 100, b"HTTP/1.1 100 Continue"),
]
NO_STATUS_LINES = [
    b"",
    b"200 OK",
    b"HTTP/1.1",
    b"HTTP/1.1 ",
    b"HTTP/1.1  200 OK",
    b"HTTP/1.1 20 OK",
    b"HTTP/1.1 2000 OK",
    b"HTTP/1.1 099 OK",
    b"HTTP/1.1 2x0 OK",
    b"HTTP/1.1 +20 OK",
    b"HTTP/1.1 \xb2\xb2\xb2 OK",
    b"HTTP/1.1\t200 OK",
    b" HTTP/1.1 200 OK",
    b"HTTP/1.2 200 OK",
    b"HTTP/2 200 OK",
    b"HTTP/2.0 200 OK",
    b"http/1.1 200 OK",
    b"ICY 200 OK",
    b"HTTP/1.1 200 a\x00b",
    b"HTTP/1.1 200 a\rb",
    b"HTTP/1.1 200 OK\nX: y",
    b"HTTP/1.1 200 OK\n",
    b"HTTP/1.1 200 a\x7fb",
    b"HTTP/1.1 200OK",
    b"SSH-2.0-OpenSSH_9.2",
]


@pytest.mark.parametrize(("line", "status", "normal"), STATUS_LINES)
def test_a_status_line_goes_on_in_our_version(line: bytes, status: int, normal: bytes) -> None:
    head = read(line)
    assert (head.status, passed_on(head)) == (status, [normal])


@pytest.mark.parametrize("line", NO_STATUS_LINES)
def test_what_is_no_status_line_is_refused(line: bytes) -> None:
    with pytest.raises(HeadError):
        read(line)


CL, TE = b"Content-Length: 5", b"Transfer-Encoding: chunked"
FRAMINGS: list[tuple[tuple[bytes, ...], int]] = [
    ((OK,), UNTIL_CLOSE),
    ((OK, CL), 5),
    ((OK, b"content-length:00"), 0),
    ((OK, TE), CHUNKED),
    ((OK, b"transfer-encoding:\tCHUNKED "), CHUNKED),
    ((b"HTTP/1.0 200 OK",), UNTIL_CLOSE),
    ((b"HTTP/1.0 200 OK", CL), 5),
    ((b"HTTP/1.1 204 No Content",), NO_BODY),
    ((b"HTTP/1.1 204 No Content", CL), NO_BODY),
    ((b"HTTP/1.1 304 Not Modified", CL), NO_BODY),
    ((b"HTTP/1.1 304 Not Modified", TE), NO_BODY),
    ((b"HTTP/1.1 103 Early Hints",), NO_BODY),
    ((b"HTTP/1.1 205 Reset Content", b"Content-Length: 0"), NO_BODY),
]
NO_FRAMINGS = [
    (OK, CL, CL),
    (OK, CL, b"Content-Length: 6"),
    (OK, b"Content-Length: 5, 5"),
    (OK, b"Content-Length: -1"),
    (OK, b"Content-Length:"),
    (OK, b"Content-Length: 9223372036854775808"),
    (OK, CL, TE),
    (OK, TE, TE),
    (OK, b"Transfer-Encoding: gzip"),
    (OK, b"Transfer-Encoding: gzip, chunked"),
    (OK, b"Transfer-Encoding:"),
    (b"HTTP/1.0 200 OK", TE),
    (b"HTTP/1.1 204 No Content", CL, CL),
    (b"HTTP/1.1 304 Not Modified", CL, TE),
]


def test_status_lines_are_remembered_if_they_are_short_and_so_many_of_them() -> None:
    reader = AnswerReader()
    remembered = reader._status_lines  # noqa: SLF001  what this is about
    for number in range(MOST_STATUS_LINES):
        assert reader.read([b"HTTP/1.1 200 reason %d" % number], {}, to_head=False).status == 200
    reader.read([OK.ljust(LONGEST_REMEMBERED + 1, b"!")], {}, to_head=False)
    assert len(remembered) == MOST_STATUS_LINES
    reader.read([OK.ljust(LONGEST_REMEMBERED, b"!")], {}, to_head=False)
    assert len(remembered) == 1


@pytest.mark.parametrize(("lines", "body"), FRAMINGS)
def test_an_answer_has_one_framing(lines: tuple[bytes, ...], body: int) -> None:
    assert read(*lines).body == body


@pytest.mark.parametrize("lines", NO_FRAMINGS)
def test_a_doubtful_framing_is_refused(lines: tuple[bytes, ...]) -> None:
    for to_head in (False, True):
        with pytest.raises(HeadError):
            read(*lines, to_head=to_head)


@pytest.mark.parametrize("lines", [(OK,), (OK, CL), (OK, TE)])
def test_an_answer_to_head_has_no_body_and_keeps_its_length(lines: tuple[bytes, ...]) -> None:
    head = read(*lines, to_head=True)
    assert (head.body, head.keep_alive) == (NO_BODY, True)
    assert head.length_field == (b"5" if CL in lines else None)


KEEPING: list[tuple[tuple[bytes, ...], bool]] = [
    ((OK, CL), True),
    ((OK, TE), True),
    ((OK,), False),
    ((OK, b"Connection: keep-alive"), False),
    ((OK, CL, b"Connection: close"), False),
    ((OK, CL, b"Connection: Keep-Alive, CLOSE"), False),
    ((OK, CL, b"Connection: x", b"Connection: close"), False),
    ((b"HTTP/1.0 200 OK", CL), False),
    ((b"HTTP/1.0 200 OK", CL, b"Connection: keep-alive"), True),
    ((b"HTTP/1.0 200 OK", b"Connection: keep-alive"), False),
    ((b"HTTP/1.1 204 No Content",), True),
    ((b"HTTP/1.1 204 No Content", b"Content-Length: 0"), True),
    ((b"HTTP/1.1 204 No Content", CL), False),
    ((b"HTTP/1.1 204 No Content", TE), False),
    ((b"HTTP/1.1 304 Not Modified",), True),
    ((b"HTTP/1.1 304 Not Modified", CL), True),
    ((b"HTTP/1.1 304 Not Modified", b"Connection: close"), False),
    ((b"HTTP/1.0 304 Not Modified",), False),
]


@pytest.mark.parametrize(("lines", "keeps"), KEEPING)
def test_a_connection_is_kept_where_the_answers_end_is_known(lines: tuple[bytes, ...], keeps: bool) -> None:
    assert read(*lines).keep_alive is keeps


def test_end_to_end_fields_are_passed_on_in_order() -> None:
    lines = [b"Set-Cookie: a=1", b"X-B:2", b"Set-Cookie: b=2", b"Date: x", b"Server: y", b"Empty:"]
    assert passed_on(read(OK, CL, *lines)) == [
        OK,
        b"Set-Cookie: a=1",
        b"X-B: 2",
        b"Set-Cookie: b=2",
        b"Date: x",
        b"Server: y",
        b"Empty: ",
    ]


@pytest.mark.parametrize(
    "line",
    [
        b"Connection: keep-alive",
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: close",
        b"Proxy-Authenticate: Basic",
        b"TE: trailers",
        b"Trailer: X",
        b"Upgrade: h2c",
        b"transfer_encoding: chunked",
        b"content_length: 5",
        b"X-Request-Id: theirs",
        b'RateLimit: "default";r=1;t=1',
        b'RateLimit-Policy: "default";q=1;w=1',
        b"X-RateLimit-Limit: 1",
        b"X-RateLimit-Remaining: 1",
        b"X-RateLimit-Reset: 1",
    ],
)
def test_what_is_ours_to_say_is_not_passed_on(line: bytes) -> None:
    assert passed_on(read(OK, b"X-A: 1", line, CL, b"X-B: 2")) == [OK, b"X-A: 1", b"X-B: 2"]


def test_what_connection_names_is_not_passed_on() -> None:
    assert passed_on(read(OK, b"X-Hop: 1", b"Connection: x-hop, Via", CL, b"Via: 1.1 a")) == [OK, b"Via: 1.1 a"]


@pytest.mark.parametrize("line", [b"X: a\x00b", b"X : 1", b" folded", b"X", b": 1", b"X: a\nb", b"X: \x7f"])
def test_what_is_no_field_is_refused(line: bytes) -> None:
    with pytest.raises(HeadError):
        read(OK, b"X: known", line)


octets = st.lists(st.sampled_from(OCTETS), max_size=20).map(bytes)


@settings(max_examples=500)
@given(
    st.one_of(octets, octets.map(lambda reason: b"HTTP/1.1 200 " + reason)), st.lists(octets, max_size=4), st.booleans()
)
def test_a_head_is_understood_or_refused(line: bytes, lines: list[bytes], to_head: bool) -> None:
    try:
        head = read(line, *lines, to_head=to_head)
    except HeadError:
        return
    assert 100 <= head.status <= 999
    assert b"\r\n\r\n" not in head.passed_on


@given(
    st.lists(st.sampled_from([CL, TE, b"X-A: 1", b"Connection: X-A, close", b"Set-Cookie: c"]), max_size=5),
    st.booleans(),
)
def test_a_head_read_again_says_the_same(lines: list[bytes], to_head: bool) -> None:
    reader, private = AnswerReader(), dict[bytes, Field]()

    def said() -> object:
        try:
            head = reader.read([OK, *lines], private, to_head=to_head)
        except HeadError as error:
            return error.code
        return head.passed_on, head.body, head.keep_alive, head.length_field

    assert said() == said()
