"""Framing, third part: chunked bodies of requests, their extensions and their trailers (RFC 9112, 7.1)."""

from collections.abc import Iterator

import pytest

from tests.kit.cases import DELIVERIES, AnyOf, Case, Forwarded, Refused, Seen, check
from tests.kit.fixtures import Pair
from tests.kit.messages import lines

SIZE = "RFC 9112, 7.1: chunk-size is 1*HEXDIG, and a size that overflows is an error"
EXTENSION = "RFC 9112, 7.1.1: extensions not understood are ignored; http.md: bounded, and no line end but CRLF"
DATA_END = "RFC 9112, 7.1: CRLF follows a chunk's data"
TRAILER = "RFC 9112, 7.1.2: trailer fields are field lines, so the same rules hold"
FORBIDDEN = "RFC 9110, 6.5.1: framing and routing fields in trailers are not generated; http.md refuses them"
DROPPED = "RFC 9110, 6.5: trailers may be dropped, and are never merged into the header section"

HEAD = lines("POST /x HTTP/1.1", "Host: a.example", "Transfer-Encoding: chunked")
BROKEN = Refused(incomplete=True)
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n"


def body(expected: bytes) -> Forwarded:
    return Forwarded((Seen(method=b"POST", body=expected, lacks=(b"x-trailer", b"content-md5")),))


def good_rows() -> Iterator[Case]:
    for name, sends, expected in (
        ("one chunk", b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        ("two chunks", b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world"),
        ("no chunk but the last", b"0\r\n\r\n", b""),
        ("a last chunk of many zeros", b"5\r\nhello\r\n000\r\n\r\n", b"hello"),
        ("leading zeros", b"0005\r\nhello\r\n0\r\n\r\n", b"hello"),
        ("small hexadecimal digits", b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        ("large hexadecimal digits", b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        ("two digits", b"10\r\n0123456789abcdef\r\n0\r\n\r\n", b"0123456789abcdef"),
        ("one byte a chunk", b"".join(b"1\r\n%c\r\n" % octet for octet in b"hello") + b"0\r\n\r\n", b"hello"),
        ("chunks of line ends", b"2\r\n\r\n\r\n2\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n"),
        ("a chunk that looks like the last", b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"),
        ("an extension", b"5;a\r\nhello\r\n0\r\n\r\n", b"hello"),
        ("an extension with a value", b"5;a=b\r\nhello\r\n0\r\n\r\n", b"hello"),
        ("an extension with a quoted value", b'5;a="b c"\r\nhello\r\n0\r\n\r\n', b"hello"),
        ("an extension whose value looks like a chunk", b'5;a="0;1"\r\nhello\r\n0\r\n\r\n', b"hello"),
        ("several extensions", b"5;a;b=c;d\r\nhello\r\n0\r\n\r\n", b"hello"),
        ("an extension on the last chunk", b"5\r\nhello\r\n0;a=b\r\n\r\n", b"hello"),
        ("a trailer", b"5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n", b"hello"),
        ("trailers", b"5\r\nhello\r\n0\r\nX-Trailer: 1\r\nContent-MD5: x\r\n\r\n", b"hello"),
        ("a trailer after nothing", b"0\r\nX-Trailer: 1\r\n\r\n", b""),
        ("a trailer without a value", b"0\r\nX-Trailer:\r\n\r\n", b""),
    ):
        why = DROPPED if "trailer" in name else EXTENSION if "extension" in name else SIZE
        yield Case(name=name, why=why, sends=HEAD + sends, expect=body(expected))
    for name, size_line in (
        ("a space", b"5 ;a"),
        ("a space after", b"5; a"),
        ("a space about the sign", b"5;a = b"),
        ("a tab", b"5\t;a"),
    ):
        yield Case(
            name=f"{name} in an extension",
            why="RFC 9112, 7.1.1: `bad` white space, which a recipient parses and removes, or a strict one refuses",
            sends=HEAD + size_line + b"\r\nhello\r\n0\r\n\r\n",
            expect=AnyOf((body(b"hello"), BROKEN)),
        )


def bad_size_rows() -> Iterator[Case]:
    for line in (
        b"", b" ", b"+5", b"-5", b"-1", b"-0", b"0x5", b"0X5", b"x5", b"5h", b"g", b"5g", b"5 ", b" 5", b"5\t",
        b"\t5", b"5 5", b"5_0", b"0_5",
        b"5.0", b"5,5", b"5,", b'"5"', b"'5'", b"five", b";", b";a", b" ;a", b"5\x0b", b"\x0b5", b"5\x0c", b"5\x00",
        b"\x005", b"5\x7f", b"5\x1f",
        b"5\xa0", b"\xa05", "５".encode(), "٥".encode(), b"5:", b"5=", b"5/", b"5\\", b"5(a)", b"%35", b"#5", b"5#",
        b"\\x5",
        b"8000000000000000", b"FFFFFFFFFFFFFFFF", b"10000000000000005", b"100000000000000000", b"F" * 17, b"F" * 40,
        b"0" * 5000 + b"5",
    ):  # fmt: skip
        shown = line if len(line) < 60 else line[:8] + b"..."
        # a hundred thousand million million bytes are no error in themselves; nobody needs to believe them
        yield Case(
            name=f"a chunk of size {shown!r}", why=SIZE, sends=HEAD + line + b"\r\nhello\r\n0\r\n\r\n", expect=BROKEN
        )
    for name, sends in (
        ("an overflow to the true size", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("32 bits overflow to the true size", b"100000005" * 2 + b"\r\nhello\r\n0\r\n\r\n"),
        ("a bad size after a good chunk", b"5\r\nhello\r\nz\r\nhello\r\n0\r\n\r\n"),
        ("a negative last chunk", b"5\r\nhello\r\n-0\r\n\r\n"),
        ("a size beyond the body that hides a request", b"5x\r\nhello\r\n0\r\n\r\n" + SMUGGLED),
    ):
        yield Case(name=name, why=SIZE, sends=HEAD + sends, expect=BROKEN)


def bad_line_end_rows() -> Iterator[Case]:
    for name, sends, why in (
        ("a size line that ends in LF", b"5\nhello\r\n0\r\n\r\n", SIZE),
        ("a size line that ends in CR", b"5\rhello\r\n0\r\n\r\n", SIZE),
        ("a size line that ends in CR CR LF", b"5\r\r\nhello\r\n0\r\n\r\n", SIZE),
        ("a size line that ends in LF CR", b"5\n\rhello\r\n0\r\n\r\n", SIZE),
        ("CR and another byte behind a size", b"5\rX\r\nhello\r\n0\r\n\r\n", SIZE),
        ("an extension that ends in LF", b"5;a\nhello\r\n0\r\n\r\n", EXTENSION),
        ("an extension with LF in it", b"5;a\nb\r\nhello\r\n0\r\n\r\n", EXTENSION),
        ("an extension with CR in it", b"5;a\rb\r\nhello\r\n0\r\n\r\n", EXTENSION),
        ("an extension that hides a size behind LF", b"5;\n2\r\nhello\r\n0\r\n\r\n", EXTENSION),
        ("an extension with NUL in it", b"5;a\0b\r\nhello\r\n0\r\n\r\n", EXTENSION),
        ("an extension with a control character", b"5;a\x01b\r\nhello\r\n0\r\n\r\n", EXTENSION),
        ("an extension with DEL in it", b"5;a\x7fb\r\nhello\r\n0\r\n\r\n", EXTENSION),
        ("a quoted LF in an extension", b'5;a="\n"\r\nhello\r\n0\r\n\r\n', EXTENSION),
        ("a quoted line end in an extension", b'5;a="\r\n"\r\nhello\r\n0\r\n\r\n', EXTENSION),
        ("no line end behind the data", b"5\r\nhello0\r\n\r\n", DATA_END),
        ("LF behind the data", b"5\r\nhello\n0\r\n\r\n", DATA_END),
        ("CR behind the data", b"5\r\nhello\r0\r\n\r\n", DATA_END),
        ("LF CR behind the data", b"5\r\nhello\n\r0\r\n\r\n", DATA_END),
        ("CR CR LF behind the data", b"5\r\nhello\r\r\n0\r\n\r\n", DATA_END),
        ("more data than the size", b"4\r\nhello\r\n0\r\n\r\n", DATA_END),
        ("less data than the size", b"6\r\nhello\r\n0\r\n\r\n", DATA_END),
        ("two bytes in the line end's place", b"5\r\nhelloXX0\r\n\r\n", DATA_END),
        ("an empty line between chunks", b"5\r\nhello\r\n\r\n0\r\n\r\n", DATA_END),
        ("the last size line ends in LF", b"5\r\nhello\r\n0\n\r\n", SIZE),
        ("the last size line ends in CR", b"5\r\nhello\r\n0\r\r\n", SIZE),
        ("the last line is an LF", b"5\r\nhello\r\n0\r\n\n", TRAILER),
        ("the last line is CR CR LF", b"5\r\nhello\r\n0\r\n\r\r\n", TRAILER),
        ("the last line is CR and another byte", b"5\r\nhello\r\n0\r\n\rX\r\n\r\n", TRAILER),
        ("the end is two LF", b"5\r\nhello\r\n0\n\n", SIZE),
        ("everything ends in LF", b"5\nhello\n0\n\n", SIZE),
    ):
        yield Case(name=name, why=why, sends=HEAD + sends, expect=BROKEN)


def trailer_rows() -> Iterator[Case]:
    start = b"5\r\nhello\r\n0\r\n"
    for name, trailers in (
        ("a trailer line that ends in LF", b"X-Trailer: 1\n\r\n"),
        ("a trailer without a colon", b"X-Trailer\r\n\r\n"),
        ("a trailer without a name", b": 1\r\n\r\n"),
        ("a space before a trailer's colon", b"X-Trailer : 1\r\n\r\n"),
        ("a folded trailer", b"X-Trailer: 1\r\n 2\r\n\r\n"),
        ("white space before the first trailer", b" X-Trailer: 1\r\n\r\n"),
        ("NUL in a trailer", b"X-Trailer: a\0b\r\n\r\n"),
        ("CR in a trailer", b"X-Trailer: a\rb\r\n\r\n"),
        ("LF in a trailer", b"X-Trailer: a\nX-B: 1\r\n\r\n"),
        ("a control character in a trailer", b"X-Trailer: a\x01b\r\n\r\n"),
        ("a trailer's name that is no token", b"X(Trailer): 1\r\n\r\n"),
        ("a request in the trailers' place", b"GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n"),
    ):
        yield Case(name=name, why=TRAILER, sends=HEAD + start + trailers, expect=BROKEN)
    for line in (
        b"Content-Length: 5", b"content-length: 0", b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity",
        b"Host: b.example",
        b"X-Trailer: 1\r\nContent-Length: 5", b"X-Trailer: 1\r\nHost: b.example",
    ):  # fmt: skip
        yield Case(name=f"trailer {line!r}", why=FORBIDDEN, sends=HEAD + start + line + b"\r\n\r\n", expect=BROKEN)
    for line in (
        b"Connection: close", b"Upgrade: websocket", b"TE: trailers", b"Trailer: X-Trailer", b"Expect: 100-continue",
        b"Authorization: Basic eDp5", b"X-API-Key: x", b"X-Forwarded-For: 192.0.2.1", b"X-Real-IP: 192.0.2.1",
        b"X-Forwarded-Host: b.example", b"Cookie: a=b", b"Max-Forwards: 0", b"Content-Encoding: gzip",
        b"Content-Type: text/html",
    ):  # fmt: skip
        field = line.partition(b":")[0].lower()
        yield Case(
            name=f"trailer {line!r}",
            why=f"{FORBIDDEN}, or they are dropped; they never become header fields",
            sends=HEAD + start + line + b"\r\n\r\n",
            expect=AnyOf((Forwarded((NotSaid(field),)), BROKEN)),
        )


class NotSaid(Seen):
    """The body arrived, and the field's value from the trailers is nowhere in the head."""

    def __init__(self, name: bytes) -> None:
        mine = {b"x-forwarded-for", b"x-real-ip", b"x-forwarded-host", b"connection"}  # the gateway says these itself
        super().__init__(method=b"POST", body=b"hello", lacks=() if name in mine else (name,))


CASES = (*good_rows(), *bad_size_rows(), *bad_line_end_rows(), *trailer_rows())


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_chunks(pair: Pair, case: Case, delivery: str) -> None:
    if delivery != "at once" and len(case.sends) > 4_000:
        delivery = "at once"
    check(case, pair.gateway, pair.upstream, delivery)
