"""Framing, second part: Content-Length and Transfer-Encoding (RFC 9112, 6), and every known way to smuggle with
them.
"""

from collections.abc import Iterator

import pytest

from tests.kit.cases import DELIVERIES, AnyOf, Case, Expectation, Forwarded, Refused, Seen, check
from tests.kit.fixtures import Pair
from tests.kit.messages import chunked, lines

LENGTH = "RFC 9110, 8.6: Content-Length is 1*DIGIT; RFC 9112, 6.3: anything else is 400 and the connection is closed"
LENGTHS = "RFC 9112, 6.3: several values are an error that can't be recovered from; http.md refuses equal ones too"
BOTH = "RFC 9112, 6.1 and 6.3: with both fields it ought to be handled as an error; http.md refuses"
CODING = "RFC 9112, 6.1: an unknown coding is 501 or 400; http.md takes exactly `chunked`"
LOOK_ALIKE = "http.md: look-alikes with an underscore of framing fields are dropped"
REGENERATED = "http.md: framing is regenerated, never copied"

HELLO = b"hello"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n"
UNKNOWN = frozenset((400, 501))


def post(*fields: str | bytes, version: str = "1.1", method: str = "POST") -> bytes:
    return lines(f"{method} /x HTTP/{version}", "Host: a.example", *fields)


def seen(body: bytes = b"", method: bytes = b"POST", lacks: tuple[bytes, ...] = ()) -> Forwarded:
    return Forwarded((Seen(method=method, body=body, lacks=lacks),))


def bad_length_rows() -> Iterator[Case]:
    for value in (
        b"", b" ", b"+5", b"-5", b"-0", b"+0", b"0x5", b"0X5", b"5h", b"5 5", b"5\t5", b"5.0", b"5.", b".5", b"5e0",
        b"5,", b",5",
        b", 5", b"5;", b"5;5", b"5_0", b"_5", b"5'", b'"5"', b"'5'", b"five", b"null", b"NaN", b"inf", b"5-", b"5+0",
        b"=5", b"5/1",
        b"(5)", b"0b101", b"0o5", b"%35", b"\xc2\xb5", b"\xd9\xa5", b"\xef\xbc\x95", b"\xb2", b"5\xa0", b"\xa05",
        b"5\x00", b"\x005",
        b"5\x0b", b"\x0b5", b"5\x0c", b"5\x1f", b"5\x7f", b"5\r", b"\r5", b"5 chunked", b"chunked",
        b"-9223372036854775808",
        b"9223372036854775808", b"18446744073709551616", b"18446744073709551621", b"4294967301" * 3, b"1" + b"0" * 30,
    ):  # fmt: skip
        overflows = len(value) > 18 and value.isdigit()
        yield Case(
            name=f"Content-Length: {value!r}",
            why=LENGTH,
            sends=post(b"Content-Length: " + value) + HELLO,
            expect=Refused(frozenset((400, 413)) if overflows else frozenset((400,))),
        )


def several_lengths_rows() -> Iterator[Case]:
    for name, fields in (
        ("twice the same", ("Content-Length: 5", "Content-Length: 5")),
        ("two, smaller first", ("Content-Length: 0", "Content-Length: 5")),
        ("two, larger first", ("Content-Length: 5", "Content-Length: 0")),
        ("two with different case", ("Content-Length: 5", "content-length: 6")),
        ("two, with one between", ("Content-Length: 5", "X-A: 1", "Content-Length: 6")),
        ("a good one and a bad one", ("Content-Length: 5", "Content-Length: five")),
        ("a good one and an empty one", ("Content-Length: 5", "Content-Length:")),
        ("an empty one and a good one", ("Content-Length:", "Content-Length: 5")),
        ("a list of equals", ("Content-Length: 5, 5",)),
        ("a list without a space", ("Content-Length: 5,5",)),
        ("a list of two", ("Content-Length: 5, 6",)),
        ("a list that begins with 0", ("Content-Length: 0, 5",)),
        ("a list of many", ("Content-Length: 5, 5, 5, 5, 5",)),
        ("a list and one", ("Content-Length: 5, 5", "Content-Length: 5")),
        ("three", ("Content-Length: 5", "Content-Length: 5", "Content-Length: 5")),
    ):
        yield Case(name=f"Content-Length: {name}", why=LENGTHS, sends=post(*fields) + HELLO, expect=Refused())


def good_length_rows() -> Iterator[Case]:
    for value in (b"5", b"5 ", b"5\t", b" \t5 \t"):
        sends = post(b"Content-Length:" + value) + HELLO
        yield Case(name=f"Content-Length:{value!r} has a body", why=LENGTH, sends=sends, expect=seen(HELLO))
    for value in (b"05", b"0005", b"0000000000000005"):
        yield Case(
            name=f"Content-Length: {value!r}",
            why=f"{LENGTH}. Leading zeros are digits; peers take them; {REGENERATED}: `5`, never octal",
            sends=post(b"Content-Length: " + value) + HELLO,
            expect=AnyOf((Forwarded((Seen(method=b"POST", body=HELLO, has=((b"content-length", b"5"),)),)), Refused())),
        )
    for method in ("GET", "DELETE", "PUT", "PATCH", "OPTIONS", "HEAD", "PROPFIND"):
        yield Case(
            name=f"{method} with a body",
            why="RFC 9112, 6: a body is told by the framing fields, whatever the method",
            sends=post("Content-Length: 5", method=method) + HELLO,
            expect=seen(HELLO, method.encode()),
            methods=(method.encode(),),
        )
        yield Case(
            name=f"{method} with a chunked body",
            why="RFC 9112, 6: a body is told by the framing fields, whatever the method",
            sends=post("Transfer-Encoding: chunked", method=method) + chunked(HELLO),
            expect=seen(HELLO, method.encode()),
            methods=(method.encode(),),
        )
    for method in ("GET", "POST", "PUT", "DELETE"):
        why = "RFC 9110, 8.6: 0 is a length"
        yield Case(
            name=f"{method} with Content-Length: 0",
            why=why,
            sends=post("Content-Length: 0", method=method),
            expect=seen(method=method.encode()),
        )
        why = "RFC 9112, 6.3: a request without framing fields has no body"
        yield Case(
            name=f"{method} without framing", why=why, sends=post(method=method), expect=seen(method=method.encode())
        )
    for name, body in (
        ("a request", SMUGGLED),
        ("line ends", b"\r\n\r\n\r\n"),
        ("chunks", b"5\r\nhello\r\n0\r\n\r\n"),
        ("zeros", b"\0" * 100),
    ):
        yield Case(
            name=f"a body that looks like {name}",
            why="RFC 9112, 6.2: a body is as many octets, whatever they are",
            sends=post(f"Content-Length: {len(body)}") + body,
            expect=seen(body),
        )
        yield Case(
            name=f"a chunk that looks like {name}",
            why="RFC 9112, 7.1: a chunk is as many octets, whatever they are",
            sends=post("Transfer-Encoding: chunked") + chunked(body),
            expect=seen(body),
        )


def both_rows() -> Iterator[Case]:
    length, coding = "Content-Length: ", "Transfer-Encoding: chunked"
    for name, fields, body in (
        ("CL.TE", (f"{length}{len(chunked() + SMUGGLED)}", coding), chunked() + SMUGGLED),
        ("TE.CL", (coding, f"{length}4"), b"%x\r\n" % len(SMUGGLED) + SMUGGLED + b"\r\n0\r\n\r\n"),
        ("both agree", (coding, f"{length}{len(chunked(HELLO))}"), chunked(HELLO)),
        ("both, length of the decoded body", (coding, f"{length}5"), chunked(HELLO)),
        ("both, length 0", (f"{length}0", coding), chunked(HELLO)),
        ("both, identity", (f"{length}5", "Transfer-Encoding: identity"), HELLO),
        ("both, an unknown coding", (f"{length}5", "Transfer-Encoding: x"), HELLO),
        ("both, an empty coding", (f"{length}5", "Transfer-Encoding:"), HELLO),
        ("both, a malformed length", (f"{length}x", coding), chunked(HELLO)),
        ("both, one nominated by Connection", (f"{length}5", coding, "Connection: Transfer-Encoding"), chunked(HELLO)),
        (
            "both, the other nominated by Connection",
            (f"{length}5", coding, "Connection: Content-Length"),
            chunked(HELLO),
        ),
        ("both on HTTP/1.0", (f"{length}5", coding), chunked(HELLO)),
    ):
        version = "1.0" if name.endswith("1.0") else "1.1"
        yield Case(name=name, why=BOTH, sends=post(*fields, version=version) + body, expect=Refused(UNKNOWN))


def bad_coding_rows() -> Iterator[Case]:
    for value in (
        b"", b" ", b"identity", b"gzip", b"deflate", b"gzip, chunked", b"chunked, gzip", b"chunked, chunked",
        b"chunked,chunked",
        b"identity, chunked", b"chunked, identity", b"chunked,", b",chunked", b", chunked", b"chunked ,",
        b"chunked;", b"chunked;q=1",
        b"chunked; foo=bar", b"chunked=1", b'"chunked"', b"'chunked'", b"[chunked]", b"<chunked>", b"xchunked",
        b"x-chunked", b"chunkedx",
        b"chunked x", b"x chunked", b"chunk", b"chunke", b"chun ked", b"chun\tked", b"chunked\x0b", b"\x0bchunked",
        b"chunked\x0c", b"\x0cchunked",
        b"chunked\x00", b"\x00chunked", b"chunked\x1f", b"\x1fchunked", b"chunked\x7f", b"\x7fchunked",
        b"chunked\xa0", b"\xa0chunked",
        b"chunked\xff", b"\xefchunked", b"chunked\x85", b"chunke\xc4\x91", "ｃhunked".encode(), b"chunked\r",
        b"\rchunked", b"\nchunked",
        b"\n chunked", b"\r\n chunked", b"\r\n\tchunked", b"chunked\r\n ", b"chunked\n", b"chunked\r\n ,",
        b"chu\r\n nked", b"0", b"chunked, 5",
        b"trailers", b"compress", b"x", b"true", b"chunked\\", b"chunked/", b"chunked:", b"{chunked}", b"chunked%00",
        b"%63hunked",
    ):  # fmt: skip
        sends = post(b"Transfer-Encoding: " + value) + chunked(HELLO)
        yield Case(name=f"Transfer-Encoding: {value!r}", why=CODING, sends=sends, expect=Refused(UNKNOWN))
    for name, fields in (
        ("chunked twice", ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked")),
        ("chunked, then identity", ("Transfer-Encoding: chunked", "Transfer-Encoding: identity")),
        ("identity, then chunked", ("Transfer-Encoding: identity", "Transfer-Encoding: chunked")),
        ("chunked, then unknown", ("Transfer-Encoding: chunked", "Transfer-Encoding: x")),
        ("unknown, then chunked", ("Transfer-Encoding: x", "Transfer-Encoding: chunked")),
        ("gzip, then chunked", ("Transfer-Encoding: gzip", "Transfer-Encoding: chunked")),
        ("chunked, then empty", ("Transfer-Encoding: chunked", "Transfer-Encoding:")),
        ("empty, then chunked", ("Transfer-Encoding:", "Transfer-Encoding: chunked")),
        ("two names with different case", ("Transfer-Encoding: chunked", "transfer-encoding: cow")),
    ):
        yield Case(name=f"two lines: {name}", why=CODING, sends=post(*fields) + chunked(HELLO), expect=Refused(UNKNOWN))


def disguised_rows() -> Iterator[Case]:
    """The same field, written so that one reader sees it and another does not."""
    for name, line in (
        ("a space before the colon", b"Transfer-Encoding : chunked"),
        ("a tab before the colon", b"Transfer-Encoding\t: chunked"),
        ("a vertical tab before the colon", b"Transfer-Encoding\x0b: chunked"),
        ("NUL before the colon", b"Transfer-Encoding\x00: chunked"),
        ("CR before the colon", b"Transfer-Encoding\r: chunked"),
        ("a line end before the colon", b"Transfer-Encoding\r\n : chunked"),
        ("a space in front", b" Transfer-Encoding: chunked"),
        ("a tab in front", b"\tTransfer-Encoding: chunked"),
        ("after a bare LF", b"X-A: x\nTransfer-Encoding: chunked"),
        ("after a bare CR", b"X-A: x\rTransfer-Encoding: chunked"),
        ("after NUL", b"X-A: x\0Transfer-Encoding: chunked"),
        ("two colons in the name's place", b":Transfer-Encoding: chunked"),
        ("quoted", b'"Transfer-Encoding": chunked'),
        ("a space inside", b"Transfer Encoding: chunked"),
        ("a non-breaking space in front", b"\xa0Transfer-Encoding: chunked"),
        ("obs-text inside", b"Transfer\xadEncoding: chunked"),
        ("an equals sign", b"Transfer-Encoding= chunked"),
        ("no colon", b"Transfer-Encoding chunked"),
    ):
        with_length = post("Content-Length: 5", line) + HELLO
        yield Case(name=f"Transfer-Encoding, {name}, beside a length", why=CODING, sends=with_length, expect=Refused())
        yield Case(name=f"Transfer-Encoding, {name}", why=CODING, sends=post(line) + chunked(HELLO), expect=Refused())
    for name, line in (
        ("a space before the colon", b"Content-Length : 5"),
        ("a tab before the colon", b"Content-Length\t: 5"),
        ("NUL before the colon", b"Content-Length\x00: 5"),
        ("a space in front", b" Content-Length: 5"),
        ("folded", b"Content-Length:\r\n 5"),
        ("after a bare LF", b"X-A: x\nContent-Length: 5"),
        ("after a bare CR", b"X-A: x\rContent-Length: 5"),
        ("an equals sign", b"Content-Length= 5"),
        ("a space inside", b"Content Length: 5"),
    ):
        yield Case(name=f"Content-Length, {name}", why=LENGTH, sends=post(line) + HELLO, expect=Refused())
    yield Case(
        name="a first line that a fold hides",
        why="RFC 9112, 2.2: white space before the first field is refused",
        sends=b"POST /x HTTP/1.1\r\n Transfer-Encoding: chunked\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello",
        expect=Refused(),
    )


def coding_rows() -> Iterator[Case]:
    for value in (b"chunked", b"chunked ", b"\tchunked\t", b"  chunked"):
        sends = post(b"Transfer-Encoding:" + value) + chunked(HELLO)
        yield Case(name=f"Transfer-Encoding:{value!r} is chunked", why=CODING, sends=sends, expect=seen(HELLO))
    for value in (b"Chunked", b"CHUNKED", b"cHuNkEd"):
        yield Case(
            name=f"Transfer-Encoding: {value!r}",
            why="RFC 9112, 7: codings compare without case; http.md says `exactly chunked`, so a refusal will do",
            sends=post(b"Transfer-Encoding: " + value) + chunked(HELLO),
            expect=AnyOf((seen(HELLO), Refused(UNKNOWN))),
        )
    for name in (b"transfer-encoding", b"TRANSFER-ENCODING", b"tRANSFER-eNCODING"):
        sends = post(name + b": chunked") + chunked(HELLO)
        yield Case(name=f"{name!r}", why="RFC 9110, 5.1: names compare without case", sends=sends, expect=seen(HELLO))
    for value in (b"chunked", b"identity", b"gzip, chunked"):
        yield Case(
            name=f"Transfer-Encoding: {value!r} on HTTP/1.0",
            why="RFC 9112, 6.1: with HTTP/1.0 it is faulty framing; the connection is closed. http.md refuses",
            sends=post(b"Transfer-Encoding: " + value, "Connection: keep-alive", version="1.0") + chunked(HELLO),
            expect=Refused(UNKNOWN),
        )


def look_alike_rows() -> Iterator[Case]:
    for line, body, expect in (
        ("Transfer_Encoding: chunked", b"", seen(lacks=(b"transfer_encoding",))),
        ("transfer_encoding: chunked", b"", seen(lacks=(b"transfer_encoding",))),
        ("Content_Length: 5", b"", seen(lacks=(b"content_length",))),
        ("Content_Length: 5\r\nContent-Length: 5", HELLO, seen(HELLO, lacks=(b"content_length",))),
        ("Content_Length: 6\r\nContent-Length: 5", HELLO, seen(HELLO, lacks=(b"content_length",))),
        ("Transfer_Encoding: chunked\r\nContent-Length: 5", HELLO, seen(HELLO, lacks=(b"transfer_encoding",))),
        ("Content_Length: 5\r\nTransfer-Encoding: chunked", chunked(HELLO), seen(HELLO, lacks=(b"content_length",))),
    ):
        expectation: Expectation = AnyOf((expect, Refused()))
        yield Case(name=line.replace("\r\n", " + "), why=LOOK_ALIKE, sends=post(line) + body, expect=expectation)


CASES = (
    *bad_length_rows(),
    *several_lengths_rows(),
    *good_length_rows(),
    *both_rows(),
    *bad_coding_rows(),
    *disguised_rows(),
    *coding_rows(),
    *look_alike_rows(),
)


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_framing_fields(pair: Pair, case: Case, delivery: str) -> None:
    check(case, pair.gateway, pair.upstream, delivery)
