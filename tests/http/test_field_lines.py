"""Framing, first part: what a line of a header section may look like, and where lines end (RFC 9112, 2.2 and 5)."""

from collections.abc import Iterator

import pytest

from tests.kit.cases import DELIVERIES, AnyOf, Case, Forwarded, Refused, Seen, check
from tests.kit.fixtures import Pair
from tests.kit.messages import TOKEN, lines

NAME = "RFC 9110, 5.1 and 5.6.2: a field name is a token"
COLON = "RFC 9112, 5.1: no white space between name and colon; a server refuses it with 400"
VALUE = (
    "RFC 9110, 5.5: CR, LF and NUL in a value are dangerous, other control characters invalid; http.md refuses them all"
)
LINE_END = "RFC 9112, 2.2: a lone CR is invalid; a lone LF may be taken as a line end, and http.md does not"
FOLD = "RFC 9112, 5.2: a server refuses obs-fold, or puts spaces; http.md refuses"
EMPTY_LINES = "RFC 9112, 2.2: a server ignores at least one empty line before the request line"
NOT_HTTP = "what is no HTTP is refused, or the connection is closed"


def with_line(line: bytes) -> bytes:
    return lines("GET /x HTTP/1.1", "Host: a.example", line, "Accept: */*")


def name_rows() -> Iterator[Case]:
    for octet in sorted(set(range(256)) - TOKEN - {ord(":"), ord("\n")}):
        for place, name in (("inside", b"X%cY"), ("at the end", b"XY%c"), ("in front", b"%cXY")):
            if place != "inside" and octet not in b'\0\t\r \x0b\x0c\x7f\xa0\xff"(),/;=[]':
                continue
            yield Case(
                name=f"octet {octet:02x} {place} of a name",
                why=NAME,
                sends=with_line(name % octet + b": 1"),
                expect=Refused(),
            )


def value_rows() -> Iterator[Case]:
    for octet in sorted({*range(0x20), 0x7F} - {0x09, 0x0A}):
        sends = with_line(b"X-Value: a%cb" % octet)
        yield Case(name=f"octet {octet:02x} inside a value", why=VALUE, sends=sends, expect=Refused())
    for octet in (0x00, 0x0B, 0x0C, 0x0D, 0x1F, 0x7F, 0x85):
        sends = with_line(b"X-Value:%c" % octet) if octet != 0x85 else with_line(b"X-Value:\x85")
        expect = Refused() if octet != 0x85 else Forwarded((Seen(has=((b"x-value", b"\x85"),)),))
        yield Case(name=f"a value of nothing but octet {octet:02x}", why=VALUE, sends=sends, expect=expect)


def kept_value_rows() -> Iterator[Case]:
    for name, line, value in (
        ("plain", b"X-Value: a", b"a"),
        ("no space after the colon", b"X-Value:a", b"a"),
        ("white space around it", b"X-Value: \t a \t ", b"a"),
        ("a tab inside", b"X-Value: a\tb", b"a\tb"),
        ("two spaces inside", b"X-Value: a  b", b"a  b"),
        ("empty", b"X-Value:", b""),
        ("nothing but white space", b"X-Value:  \t", b""),
        ("a colon inside", b"X-Value: a:b:c", b"a:b:c"),
        ("a colon in front", b"X-Value::a", b":a"),
        ("quotes and commas", b'X-Value: "a, b", c', b'"a, b", c'),
        ("obs-text", b"X-Value: caf\xe9", b"caf\xe9"),
        ("UTF-8", "X-Value: naïve – ☃".encode(), "naïve – ☃".encode()),
        ("all of obs-text", b"X-Value: " + bytes(range(0x80, 0x100)), bytes(range(0x80, 0x100))),
        ("all that is visible", b"X-Value: " + bytes(range(0x21, 0x7F)), bytes(range(0x21, 0x7F))),
        ("looks like a request", b"X-Value: GET /smuggled HTTP/1.1", b"GET /smuggled HTTP/1.1"),
        ("looks like a fold written out", b"X-Value: a\\r\\n b", b"a\\r\\n b"),
    ):
        why = "RFC 9110, 5.5: a value is passed on as it came, but for the white space around it"
        yield Case(
            name=f"a value: {name}",
            why=why,
            sends=with_line(line),
            expect=Forwarded((Seen(has=((b"x-value", value),)),)),
        )
    every = bytes(sorted(TOKEN))
    yield Case(
        name="a name with every character of a token",
        why=NAME,
        sends=with_line(every + b": 1"),
        expect=Forwarded((Seen(has=((every.lower(), b"1"),)),)),
    )


def line_rows() -> Iterator[Case]:
    host = b"Host: a.example"
    for name, sends, why in (
        ("a space before the colon", with_line(b"X-A : 1"), COLON),
        ("a tab before the colon", with_line(b"X-A\t: 1"), COLON),
        ("a space before Host's colon", lines("GET /x HTTP/1.1", "Host : a.example"), COLON),
        ("a line without a colon", with_line(b"X-A"), NAME),
        ("a line without a name", with_line(b": 1"), NAME),
        ("a line of a colon", with_line(b":"), NAME),
        ("a line of a space", with_line(b" "), FOLD),
        ("a line of a tab", with_line(b"\t"), FOLD),
        ("a folded line", with_line(b"X-A: 1\r\n 2"), FOLD),
        ("a line folded with a tab", with_line(b"X-A: 1\r\n\t2"), FOLD),
        ("a value that is all in the fold", with_line(b"X-A:\r\n 2"), FOLD),
        ("a folded line that looks like a field", with_line(b"X-A: 1\r\n Transfer-Encoding: chunked"), FOLD),
        ("Host is folded", lines("GET /x HTTP/1.1", "Host:\r\n a.example"), FOLD),
        ("white space before the first field", b"GET /x HTTP/1.1\r\n " + host + b"\r\n\r\n", "RFC 9112, 2.2"),
        ("a tab before the first field", b"GET /x HTTP/1.1\r\n\t" + host + b"\r\n\r\n", "RFC 9112, 2.2"),
        ("white space, then the fields", b"GET /x HTTP/1.1\r\n \r\n" + host + b"\r\n\r\n", "RFC 9112, 2.2"),
        ("all lines end in LF", b"GET /x HTTP/1.1\nHost: a.example\n\n", LINE_END),
        ("the request line ends in LF", b"GET /x HTTP/1.1\n" + host + b"\r\n\r\n", LINE_END),
        ("a field line ends in LF", b"GET /x HTTP/1.1\r\n" + host + b"\nX-A: 1\r\n\r\n", LINE_END),
        ("the empty line is an LF", b"GET /x HTTP/1.1\r\n" + host + b"\r\n\n", LINE_END),
        ("the last field and the empty line end in LF", b"GET /x HTTP/1.1\r\n" + host + b"\n\n", LINE_END),
        ("an LF, then an empty line", b"GET /x HTTP/1.1\r\n" + host + b"\n\r\n", LINE_END),
        ("all lines end in CR", b"GET /x HTTP/1.1\rHost: a.example\r\r", LINE_END),
        ("the request line ends in CR", b"GET /x HTTP/1.1\r" + host + b"\r\n\r\n", LINE_END),
        ("a field line ends in CR", b"GET /x HTTP/1.1\r\n" + host + b"\rX-A: 1\r\n\r\n", LINE_END),
        ("a line ends in CR CR LF", b"GET /x HTTP/1.1\r\n" + host + b"\r\r\n\r\n", LINE_END),
        ("the request line ends in CR CR LF", b"GET /x HTTP/1.1\r\r\n" + host + b"\r\n\r\n", LINE_END),
        ("the empty line is CR CR LF", b"GET /x HTTP/1.1\r\n" + host + b"\r\n\r\r\n", LINE_END),
        ("a line ends in LF CR", b"GET /x HTTP/1.1\r\n" + host + b"\n\r\n\r", LINE_END),
        ("CR before the colon", with_line(b"X-A\r: 1"), LINE_END),
        ("CR after the colon", with_line(b"X-A:\r1"), LINE_END),
        ("LF before the colon", with_line(b"X-A\n: 1"), LINE_END),
        ("LF within a name", with_line(b"X-\nA: 1"), LINE_END),
        ("LF within a value that hides a field", with_line(b"X-A: 1\nX-Hidden: 2"), LINE_END),
        (
            "LF within a value that hides a request",
            with_line(b"X-A: 1\n\nGET /smuggled HTTP/1.1\nHost: a\n\n"),
            LINE_END,
        ),
        ("NUL in front of a line", with_line(b"\0X-A: 1"), VALUE),
        ("NUL for a line", with_line(b"\0"), VALUE),
        ("vertical tab for a line end", with_line(b"X-A: 1\x0bX-B: 2"), VALUE),
        ("form feed for a line end", with_line(b"X-A: 1\x0cX-B: 2"), VALUE),
        ("an LF in front of the request line", b"\n" + lines("GET /x HTTP/1.1", host), LINE_END),
        ("a CR in front of the request line", b"\r" + lines("GET /x HTTP/1.1", host), LINE_END),
        (
            "a space in front of the request line",
            b" " + lines("GET /x HTTP/1.1", host),
            "RFC 9112, 3: begins with a method",
        ),
        (
            "a byte order mark in front of the request line",
            b"\xef\xbb\xbf" + lines("GET /x HTTP/1.1", host),
            "RFC 9112, 3",
        ),
        ("a second request line among the fields", lines("GET /x HTTP/1.1", "GET /y HTTP/1.1", host), NAME),
    ):
        yield Case(name=name, why=why, sends=sends, expect=Refused())


def lenient_rows() -> Iterator[Case]:
    request = with_line(b"X-A: 1")
    yield Case(
        name="one empty line in front of the request", why=EMPTY_LINES, sends=b"\r\n" + request, expect=Forwarded()
    )
    yield Case(
        name="several empty lines in front of the request",
        why=EMPTY_LINES + ". nginx and HAProxy take any number, others one",
        sends=b"\r\n\r\n\r\n" + request,
        expect=AnyOf((Forwarded(), Refused())),
    )
    yield Case(
        name="the same field a hundred times is too many, five are not",
        why="RFC 9110, 5.3: the order of lines with one name is kept",
        sends=with_line(b"\r\n".join(b"X-A: %d" % number for number in range(5))),
        expect=Forwarded((Seen(has=tuple((b"x-a", b"%d" % number) for number in range(5))),)),
    )


def stray_rows() -> Iterator[Case]:
    hello = bytes.fromhex("16030100c8010000c40303") + bytes(range(160)) + b"\r\n\r\n"
    for name, sends in (
        ("a TLS hello", hello),
        ("an HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"),
        ("an SSH banner", b"SSH-2.0-OpenSSH_9.2\r\n"),
        ("a PROXY line", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + with_line(b"X-A: 1")),
        ("a PROXY version 2 head", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + b"\x7f\0\0\x01" * 3 + with_line(b"X-A: 1")),
        ("a SOCKS greeting", b"\x05\x01\x00\r\n\r\n"),
        ("zeros", b"\0" * 64 + b"\r\n\r\n"),
        ("an answer", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("an SMTP greeting", b"EHLO a.example\r\n"),
        ("HTTP/0.9", b"GET /x\r\n"),
        ("HTTP/0.9 with a space", b"GET /x \r\n"),
        ("HTTP/0.9 that ends in LF", b"GET /x\n"),
        ("text", b"hello, world\r\n\r\n"),
        ("an empty chunk", b"0\r\n\r\n"),
        ("JSON", b'{"a": 1}\r\n\r\n'),
    ):
        yield Case(name=name, why=NOT_HTTP, sends=sends, expect=Refused(frozenset((400, 405, 505)), silently=True))
    for name, sends in (
        ("HTTP/0.9", b"GET /x\r\n"),
        ("a word", b"GET\r\n"),
        ("text", b"hello, dear world\r\n"),
        ("HTTP/3", b"GET /x HTTP/3.0\r\nHost: a.example\r\n"),
        ("a method that is none", b"G(T /x HTTP/1.1\r\n"),
        ("a target that is none", b"GET /\0 HTTP/1.1\r\n"),
        ("lines that end in CR", b"GET /x HTTP/1.1\rHost: a.example\r\r"),
        ("a CR within a field", b"GET /x HTTP/1.1\r\nHost: a.example\r\nX-A: a\rb\r\n"),
    ):
        yield Case(
            name=f"{name}, and nothing behind it",
            why="what no further byte can make a request of is answered now, and not when the time for a head is over",
            sends=sends,
            expect=Refused(frozenset((400, 505))),
            suffix=b"",
        )


CASES = (*line_rows(), *lenient_rows(), *kept_value_rows(), *stray_rows())
OCTETS = (*name_rows(), *value_rows())


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_line(pair: Pair, case: Case, delivery: str) -> None:
    check(case, pair.gateway, pair.upstream, delivery)


@pytest.mark.parametrize("case", OCTETS, ids=str)
def test_octet(pair: Pair, case: Case) -> None:
    check(case, pair.gateway, pair.upstream)
