"""Answers of upstreams: their framing, their bodies, and everything that is wrong with them (RFC 9112, 4 to 7;
http.md).
"""

from collections.abc import Iterator

import pytest

from microgateway.testing import FakeClock
from tests.kit.answers import GET, HEAD, AnswerCase, CutOff, OneOf, Problem, Relayed, check
from tests.kit.fixtures import Pair, running_pair
from tests.kit.messages import TOKEN, answer, chunked, lines
from tests.kit.steps import Close, HalfClose, Reset, Send, SendForever, Step
from tests.kit.upstream import Conversation

STATUS_LINE = "RFC 9112, 4: HTTP-version SP status-code SP [ reason ]; http.md: a bad status line is 502"
FIELD = "RFC 9110, 5: what is no field line can't be passed on; http.md: 502"
FRAMING = "RFC 9112, 6.3: with a framing conflict nobody knows where the answer ends; http.md: 502, never passed on"
CHUNKS = "RFC 9112, 7.1; http.md: an answer cut off mid-body must look cut off"
WITHOUT = "RFC 9112, 6.3: answers to HEAD, 1xx, 204 and 304 have no body whatever their fields say"
TRUNCATED = "RFC 9112, 8: an answer that is cut off is not whole, and must not look so"
EXTRA = "http.md: extra bytes after an answer poison no other client's answer"

OK_FIELDS = "X-Upstream: 1"
BAD = Problem()
BAD_OR_CUT = OneOf((Problem(), CutOff()))
POST = lines("POST /x HTTP/1.1", "Host: a.example", "Content-Length: 0")
HTTP10 = lines("GET /x HTTP/1.0", "Host: a.example")


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Its clock goes on when an upstream falls silent for good."""
    with running_pair(read_by_h11=False, clock=FakeClock()) as pair:
        yield pair


def head(*fields: str | bytes, line: str | bytes = "HTTP/1.1 200 OK") -> bytes:
    return lines(line, OK_FIELDS, *fields)


def status_line_rows() -> Iterator[AnswerCase]:
    for line in (
        b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/1.1 abc OK", b"HTTP/1.1 2x0 OK", b"HTTP/1.1 OK", b"HTTP/1.1",
        b"HTTP/1.1 ", b"200 OK", b"",
        b"HTTP/1.1  200 OK", b"HTTP/1.1\t200 OK", b"HTTP/1.1 200\tOK", b" HTTP/1.1 200 OK", b"HTTP/1.1 -200 OK",
        b"HTTP/1.1 +200 OK", b"HTTP/1.1 0x200 OK",
        b"HTTP/2 200 OK", b"HTTP/2.0 200 OK", b"HTTP/0.9 200 OK", b"HTTP/3.0 200 OK", b"HTTP/1 200 OK",
        b"HTTP/1.11 200 OK", b"HTTP/11 200 OK", b"HTTP1.1 200 OK",
        b"http/1.1 200 OK", b"HTTQ/1.1 200 OK", b"ICY 200 OK", b"RTSP/1.0 200 OK", b"SSH-2.0-x",
        b"HTTP/1.1 200 O\x00K", b"HTTP/1.1 200 O\x01K",
        b"HTTP/1.1 200 O\x7fK", b"HTTP/1.1 200 O\rK", b"HTTP/1.1 200\x00OK", b"\x00HTTP/1.1 200 OK",
        b"HTTP/1.1\x0b200 OK", b"HTTP/1.1 000 OK", b"HTTP/1.1 099 OK",
        b"HTTP/1.1 200OK", b"HTTP/1.1 2 0 0 OK", "HTTP/1.1 ２００ OK".encode(), b"GET /x HTTP/1.1", b"<html>", b"{}",
        b"\xff\xd8\xff\xe0", b"220 a.example ESMTP",
    ):  # fmt: skip
        yield AnswerCase(
            name=f"the status line {line!r}",
            why=STATUS_LINE,
            steps=(Send(lines(line, OK_FIELDS, "Content-Length: 2") + b"ok"), Close()),
            expect=BAD,
        )
    for line, why in (
        (
            b"HTTP/1.1 200",
            "RFC 9112, 4: the space before an empty reason is required; many servers leave it out, and peers take it",
        ),
        (
            b"HTTP/1.2 200 OK",
            "RFC 9110, 2.5: a higher minor version is read as the highest that is known; http.md knows 1.0 and 1.1",
        ),
        (
            b"HTTP/1.1 600 OK",
            "RFC 9110, 15: codes outside 100 to 599 are invalid and treated as 5xx; peers pass them on",
        ),
        (b"HTTP/1.1 999 OK", "as above"),
    ):
        yield AnswerCase(
            name=f"the status line {line!r}",
            why=why,
            steps=(Send(lines(line, "Content-Length: 2") + b"ok"), Close()),
            expect=OneOf((BAD, Relayed(), Relayed(status=600), Relayed(status=999))),
        )
    yield AnswerCase(
        name="an HTTP/0.9 body",
        why=STATUS_LINE,
        steps=(Send(b"<html>hello</html>\r\n\r\n"), Close()),
        expect=BAD,
    )
    for name, before in (
        ("one empty line", b"\r\n"),
        ("two empty lines", b"\r\n\r\n"),
        ("an LF", b"\n"),
        ("a space", b" "),
    ):
        yield AnswerCase(
            name=f"{name} before the status line",
            why="RFC 9112, 2.2 lets servers skip empty lines, not clients; peers differ",
            steps=(Send(before + answer(200, body=b"ok")), Close()),
            expect=OneOf((BAD, Relayed())) if before == b"\r\n" else BAD,
        )


def field_rows() -> Iterator[AnswerCase]:
    body = "Content-Length: 2"
    for octet in sorted(set(range(256)) - TOKEN - {ord(":"), ord("\n")}):
        if octet in b" \t":
            continue  # obs-fold and the space before a colon have rows of their own
        line = b"X%cY: 1" % octet
        yield AnswerCase(
            name=f"octet {octet:02x} in a name", why=FIELD, steps=(Send(head(line, body) + b"ok"), Close()), expect=BAD
        )
    for octet in sorted({*range(0x20), 0x7F} - {0x09, 0x0A}):
        line = b"X-A: a%cb" % octet
        yield AnswerCase(
            name=f"octet {octet:02x} in a value", why=FIELD, steps=(Send(head(line, body) + b"ok"), Close()), expect=BAD
        )
    for name, raw in (
        ("a line without a colon", head("X-A", body)),
        ("a line without a name", head(": 1", body)),
        ("a line that ends in LF", b"HTTP/1.1 200 OK\r\nX-A: 1\nContent-Length: 2\r\n\r\n"),
        ("a status line that ends in LF", b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\n"),
        ("a head that ends in LF LF", b"HTTP/1.1 200 OK\nContent-Length: 2\n\n"),
        ("a head that ends in LF CR LF", b"HTTP/1.1 200 OK\r\nContent-Length: 2\n\r\n"),
        ("a head that ends in CR LF LF", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\n"),
        ("a line that ends in CR", b"HTTP/1.1 200 OK\r\nX-A: 1\rContent-Length: 2\r\n\r\n"),
        ("a line that ends in CR CR LF", b"HTTP/1.1 200 OK\r\nX-A: 1\r\r\nContent-Length: 2\r\n\r\n"),
        ("white space before the first field", b"HTTP/1.1 200 OK\r\n X-A: 1\r\nContent-Length: 2\r\n\r\n"),
        ("a space inside a name", head("X A: 1", body)),
        ("NUL in a line's place", head(b"\0", body)),
    ):
        yield AnswerCase(name=name, why=FIELD, steps=(Send(raw + b"ok"), Close()), expect=BAD)
    for name, raw, why in (
        (
            "a folded line",
            head("X-A: 1\r\n 2", body),
            "RFC 9112, 5.2: a proxy sends 502, or puts spaces in the fold's place",
        ),
        ("a line folded with a tab", head("X-A: 1\r\n\t2", body), "as above"),
        (
            "a space before a colon",
            head("X-A : 1", body),
            "RFC 9112, 5.1: a proxy MUST remove it; http.md: malformed is 502",
        ),
        ("a tab before a colon", head("X-A\t: 1", body), "as above"),
    ):
        expect = OneOf((BAD, Relayed(fields=((b"x-a", b"1"),)), Relayed(fields=((b"x-a", b"1 2"),))))
        yield AnswerCase(name=name, why=why, steps=(Send(raw + b"ok"), Close()), expect=expect)


def conflict_rows() -> Iterator[AnswerCase]:
    for name, fields in (
        ("a length and chunks", ("Content-Length: 2", "Transfer-Encoding: chunked")),
        ("chunks and a length", ("Transfer-Encoding: chunked", "Content-Length: 2")),
        ("a length and an unknown coding", ("Content-Length: 2", "Transfer-Encoding: gzip")),
        ("two lengths", ("Content-Length: 2", "Content-Length: 3")),
        ("two lengths, one zero", ("Content-Length: 0", "Content-Length: 2")),
        ("a list of lengths", ("Content-Length: 2, 3",)),
        ("two codings", ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked")),
        ("identity, then chunked", ("Transfer-Encoding: identity", "Transfer-Encoding: chunked")),
        ("chunked, then identity", ("Transfer-Encoding: chunked", "Transfer-Encoding: identity")),
    ):
        yield AnswerCase(name=name, why=FRAMING, steps=(Send(head(*fields) + chunked(b"ok")), Close()), expect=BAD)
    for name, fields in (
        ("equal lengths", ("Content-Length: 2", "Content-Length: 2")),
        ("a list of equals", ("Content-Length: 2, 2",)),
    ):
        why = "RFC 9110, 8.6: equal values may be joined into one; http.md's strictness makes it 502"
        yield AnswerCase(
            name=name, why=why, steps=(Send(head(*fields) + b"ok"), Close()), expect=OneOf((BAD, Relayed()))
        )
    for value in (
        b"",
        b"+2",
        b"-2",
        b"0x2",
        b"2 2",
        b"2.0",
        b"two",
        b"2;",
        b"2_",
        b"\xb2",
        "２".encode(),
        b"9223372036854775808",
        b"99999999999999999999999",
        b"2\x0b",
        b"-1",
    ):
        raw = head(b"Content-Length: " + value)
        yield AnswerCase(name=f"Content-Length: {value!r}", why=FRAMING, steps=(Send(raw + b"ok"), Close()), expect=BAD)
    for value in (
        b"", b"gzip", b"identity", b"gzip, chunked", b"chunked, gzip", b"chunked, chunked", b"chunked,", b"xchunked",
        b"chunked;q=1", b"\x0bchunked", b"chunked\x0b",
        b'"chunked"', b"chun ked", b"chunke\xc4\x91", b"chunked x",
    ):  # fmt: skip
        raw = head(b"Transfer-Encoding: " + value)
        why = f"{FRAMING}. RFC 9112, 6.1: a coding that is not understood; `identity` is gone since RFC 7230"
        expect = BAD if value != b"identity" else OneOf((BAD, Relayed(chunked(b"ok"))))
        yield AnswerCase(
            name=f"Transfer-Encoding: {value!r}", why=why, steps=(Send(raw + chunked(b"ok")), Close()), expect=expect
        )
    yield AnswerCase(
        name="chunks on HTTP/1.0",
        why="RFC 9112, 6.1: faulty framing",
        steps=(Send(head("Transfer-Encoding: chunked", line="HTTP/1.0 200 OK") + chunked(b"ok")), Close()),
        expect=OneOf((BAD, Relayed())),
    )
    for line in (
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding\x0b: chunked",
        b" Transfer-Encoding: chunked",
        b"X: 1\nTransfer-Encoding: chunked",
    ):
        raw = head("Content-Length: 2", line)
        yield AnswerCase(
            name=f"a disguised coding {line!r}", why=FRAMING, steps=(Send(raw + b"ok"), Close()), expect=BAD
        )


def body_rows() -> Iterator[AnswerCase]:
    for name, raw, body in (
        ("a length", answer(200, body=b"ok"), b"ok"),
        ("length 0", answer(200), b""),
        ("chunks", head("Transfer-Encoding: chunked") + chunked(b"o", b"k"), b"ok"),
        ("no chunk but the last", head("Transfer-Encoding: chunked") + chunked(), b""),
        ("chunks with extensions", head("Transfer-Encoding: chunked") + b"1;a=b\r\no\r\n1;c\r\nk\r\n0;d\r\n\r\n",
        b"ok"),
        ("chunks with trailers", head("Transfer-Encoding: chunked", "Trailer: X-T") + chunked(b"ok",
        trailers=b"X-T: 1\r\nX-S: 2\r\n"), b"ok"),
        ("large hexadecimal digits", head("Transfer-Encoding: chunked") + b"0A\r\n0123456789\r\n0\r\n\r\n",
        b"0123456789"),
        ("a megabyte by length", answer(200, body=b"m" * 1_000_000), b"m" * 1_000_000),
        ("a megabyte in a chunk", head("Transfer-Encoding: chunked") + chunked(b"m" * 1_000_000), b"m" * 1_000_000),
        ("a thousand chunks", head("Transfer-Encoding: chunked") + chunked(*[b"%03d" % n for n in range(1000)]),
        b"".join(b"%03d" % n for n in range(1000))),
        ("a body that looks like an answer", answer(200, body=answer(200, body=b"poison")), answer(200,
        body=b"poison")),
        ("every octet", answer(200, body=bytes(range(256))), bytes(range(256))),
    ):  # fmt: skip
        yield AnswerCase(
            name=f"{name}, whole", why="RFC 9112, 6.3", steps=(Send(raw),), expect=Relayed(body, lacks=(b"trailer",))
        )
        if len(raw) < 300:
            pieces = tuple(raw[place : place + 1] for place in range(len(raw)))
            yield AnswerCase(
                name=f"{name}, byte by byte", why="segments mean nothing", steps=(Send(*pieces),), expect=Relayed(body)
            )
        why = "RFC 9112, 6.1: HTTP/1.0 is sent no chunks; its body ends with a length or with the connection"
        yield AnswerCase(
            name=f"{name}, to HTTP/1.0",
            why=why,
            steps=(Send(raw),),
            expect=Relayed(body, lacks=(b"transfer-encoding",)),
            request=HTTP10,
        )
    for name, steps, body in (
        ("until close", (Send(head("Connection: close") + b"ok"), Close()), b"ok"),
        ("until close, unsaid", (Send(head() + b"ok"), Close()), b"ok"),
        ("until close, empty", (Send(head()), Close()), b""),
        ("until close, on HTTP/1.0", (Send(head(line="HTTP/1.0 200 OK") + b"ok"), Close()), b"ok"),
        ("until close, in pieces", (Send(head() + b"o", b"k"), Close()), b"ok"),
        ("until half-close", (Send(head() + b"ok"), HalfClose()), b"ok"),
        ("a length, then half-close", (Send(answer(200, body=b"ok")), HalfClose()), b"ok"),
        ("a length, then close", (Send(answer(200, body=b"ok")), Close()), b"ok"),
        ("chunks, then close", (Send(head("Transfer-Encoding: chunked") + chunked(b"ok")), Close()), b"ok"),
        ("a length on HTTP/1.0", (Send(head("Content-Length: 2", line="HTTP/1.0 200 OK") + b"ok"), Close()), b"ok"),
        ("a length on HTTP/1.0 that is kept", (Send(head("Content-Length: 2", "Connection: keep-alive",
        line="HTTP/1.0 200 OK") + b"ok"),), b"ok"),
        ("a length and Connection: close", (Send(answer(200, "Connection: close", body=b"ok")), Close()), b"ok"),
    ):  # fmt: skip
        yield AnswerCase(
            name=name,
            why="RFC 9112, 6.3: without length or chunks the body ends with the connection",
            steps=steps,
            expect=Relayed(body),
        )
        yield AnswerCase(name=f"{name}, to HTTP/1.0", why="as above", steps=steps, expect=Relayed(body), request=HTTP10)


def bodiless_rows() -> Iterator[AnswerCase]:
    for status in (204, 304):
        for name, fields, sent in (
            ("alone", (), b""),
            ("with Content-Length: 0", ("Content-Length: 0",), b""),
            ("with a length", ("Content-Length: 5",), b""),
            ("with a length and a body", ("Content-Length: 5",), b"hello"),
            ("with a body", (), b"hello"),
            ("with chunks", ("Transfer-Encoding: chunked",), chunked(b"hello")),
            ("with an answer behind it", (), answer(200, body=b"poison")),
        ):
            yield AnswerCase(
                name=f"{status} {name}",
                why=f"{WITHOUT}; {EXTRA}",
                steps=(Send(head(*fields, line=f"HTTP/1.1 {status} X") + sent),),
                expect=OneOf((Relayed(b"", status, lacks=(b"transfer-encoding",)), BAD))
                if sent
                else Relayed(b"", status, lacks=(b"transfer-encoding",)),
            )
    yield AnswerCase(
        name="204 never says a length",
        why="RFC 9110, 8.6: no Content-Length with 204",
        steps=(Send(head("Content-Length: 0", line="HTTP/1.1 204 X")),),
        expect=Relayed(b"", 204, lacks=(b"content-length", b"transfer-encoding")),
    )
    yield AnswerCase(
        name="304 keeps its length",
        why="RFC 9110, 8.6: it is that of the 200 it stands for; passed on or left out, never changed",
        steps=(Send(head("Content-Length: 5", 'ETag: "x"', line="HTTP/1.1 304 X")),),
        expect=OneOf((Relayed(b"", 304, ((b"content-length", b"5"),)), Relayed(b"", 304, lacks=(b"content-length",)))),
    )
    for name, raw, kept in (
        ("with a length", head("Content-Length: 5"), ((b"content-length", b"5"),)),
        ("with length 0", head("Content-Length: 0"), ()),
        ("with chunks announced", head("Transfer-Encoding: chunked"), ()),
        ("without framing", head(), ()),
        ("that closes", head("Content-Length: 5", "Connection: close"), ()),
        ("with a length on HTTP/1.0", head("Content-Length: 5", line="HTTP/1.0 200 OK"), ()),
    ):
        steps: tuple[Step, ...] = (
            (Send(raw),)
            if "closes" not in name and "1.0" not in name and "without" not in name
            else (Send(raw), Close())
        )
        yield AnswerCase(name=f"HEAD {name}", why=WITHOUT, steps=steps, expect=Relayed(b"", fields=kept), request=HEAD)
    for name, raw in (
        ("a body by length", answer(200, body=b"hello")),
        ("a chunked body", head("Transfer-Encoding: chunked") + chunked(b"hello")),
        ("a body that is an answer", head("Content-Length: 60") + answer(200, body=b"poison")),
    ):
        yield AnswerCase(
            name=f"HEAD answered with {name}",
            why=f"{WITHOUT}; {EXTRA}",
            steps=(Send(raw),),
            expect=Relayed(b""),
            request=HEAD,
        )
        late = (Send(raw[: raw.index(b"\r\n\r\n") + 4], raw[raw.index(b"\r\n\r\n") + 4 :]),)
        yield AnswerCase(
            name=f"HEAD answered with {name}, later",
            why=f"{WITHOUT}; {EXTRA}",
            steps=late,
            expect=Relayed(b""),
            request=HEAD,
        )
    for code in (400, 404, 500):
        yield AnswerCase(
            name=f"HEAD answered {code}",
            why=WITHOUT,
            steps=(Send(head("Content-Length: 5", line=f"HTTP/1.1 {code} X")),),
            expect=Relayed(b"", code),
            request=HEAD,
        )


def interim_rows() -> Iterator[AnswerCase]:
    final = answer(200, body=b"ok")
    why = "RFC 9110, 15.2: a proxy MUST forward 1xx, unless it asked for 100 itself; http.md: 103 relayed"
    hints = lines("HTTP/1.1 103 Early Hints", "Link: </a>; rel=preload")
    for name, before, interim in (
        ("100", lines("HTTP/1.1 100 Continue"), None),
        ("102", lines("HTTP/1.1 102 Processing"), (102,)),
        ("199", lines("HTTP/1.1 199 Nobody Knows"), None),
        ("103", hints, (103,)),
        ("103 twice", hints + hints, (103, 103)),
        ("100, then 103", lines("HTTP/1.1 100 Continue") + hints, None),
        ("199", lines("HTTP/1.1 199 X"), (199,)),
        ("100 with a field", lines("HTTP/1.1 100 Continue", "X-A: 1"), None),
        ("103 with a length", lines("HTTP/1.1 103 X", "Content-Length: 5"), None),
    ):
        yield AnswerCase(
            name=f"{name} before 200",
            why=why,
            steps=(Send(before + final),),
            expect=OneOf((Relayed(interim=interim), BAD)) if "length" in name else Relayed(interim=interim),
        )
        yield AnswerCase(
            name=f"{name}, later 200",
            why=why,
            steps=(Send(before, final),),
            expect=OneOf((Relayed(interim=interim), BAD)) if "length" in name else Relayed(interim=interim),
        )
        why10 = "RFC 9110, 15.2: a server MUST NOT send 1xx to an HTTP/1.0 client"
        yield AnswerCase(name=f"{name} before 200, to HTTP/1.0", why=why10, steps=(Send(before + final),),
        expect=OneOf((Relayed(interim=()), BAD)) if "length" in name else Relayed(interim=()),
        request=HTTP10)  # fmt: skip
    yield AnswerCase(name="101 unasked", why="RFC 9110, 15.2.2: not without Upgrade",
    steps=(Send(lines("HTTP/1.1 101 Switching", "Upgrade: x", "Connection: upgrade") + final),),
    expect=BAD)  # fmt: skip
    yield AnswerCase(
        name="100 and nothing more",
        why="a final answer is still owed",
        steps=(Send(lines("HTTP/1.1 100 Continue")), Close()),
        expect=BAD,
    )
    yield AnswerCase(
        name="103 and nothing more",
        why="a final answer is still owed",
        steps=(Send(hints), Close()),
        expect=OneOf((BAD, CutOff())),
    )
    for name, one in (("100", lines("HTTP/1.1 100 Continue")), ("103", hints), ("102", lines("HTTP/1.1 102 X"))):
        yield AnswerCase(
            name=f"{name} without end",
            why="http.md: an upstream that floods 1xx; bounded, then 502",
            steps=(SendForever(one * 100, most=4_000_000), Close()),
            expect=BAD,
        )


def truncated_rows() -> Iterator[AnswerCase]:
    by_length, by_chunks = head("Content-Length: 10"), head("Transfer-Encoding: chunked")
    ends: tuple[tuple[str, Step], ...] = (("closed", Close()), ("reset", Reset()), ("half-closed", HalfClose()))
    for how, end in ends:
        for name, sent in (
            ("nothing", b""),
            ("a byte", b"H"),
            ("half a status line", b"HTTP/1.1 2"),
            ("a status line", b"HTTP/1.1 200 OK\r\n"),
            ("half a head", b"HTTP/1.1 200 OK\r\nContent-Le"),
            ("a head without its empty line", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"),
            ("a head without its last LF", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r"),
        ):
            steps: tuple[Step, ...] = (Send(sent), end) if sent else (end,)
            yield AnswerCase(name=f"{name}, then {how}", why="http.md: 502", steps=steps, expect=BAD, request=POST)
            if sent:
                yield AnswerCase(name=f"GET: {name}, then {how}", why="http.md: 502", steps=steps, expect=BAD)
        for name, sent in (
            ("a length and no body", by_length),
            ("a length and half a body", by_length + b"hello"),
            ("a length and all but a byte", by_length + b"123456789"),
            ("chunks announced and none", by_chunks),
            ("half a size", by_chunks + b"5"),
            ("a size", by_chunks + b"5\r\n"),
            ("half a chunk", by_chunks + b"5\r\nhe"),
            ("a chunk without its line end", by_chunks + b"5\r\nhello"),
            ("a chunk", by_chunks + b"5\r\nhello\r\n"),
            ("all but the last LF", by_chunks + b"5\r\nhello\r\n0\r\n\r"),
            ("half a last chunk", by_chunks + b"5\r\nhello\r\n0\r\n"),
            ("a last chunk and half a trailer", by_chunks + b"5\r\nhello\r\n0\r\nX-T: 1\r\n"),
        ):
            yield AnswerCase(name=f"{name}, then {how}", why=TRUNCATED, steps=(Send(sent), end), expect=BAD_OR_CUT)
            expect10 = OneOf((BAD, CutOff()))
            why10 = (
                f"{TRUNCATED}; HTTP/1.0 sees it by the length, or by a reset where the body ends with the connection"
            )
            yield AnswerCase(
                name=f"{name}, then {how}, to HTTP/1.0",
                why=why10,
                steps=(Send(sent), end),
                expect=expect10,
                request=HTTP10,
            )
    for name, request in (("", GET), (", to HTTP/1.0", HTTP10)):
        why = f"{TRUNCATED}. A reset is no end of a body that ends with the connection"
        yield AnswerCase(
            name=f"a body until close, reset{name}",
            why=why,
            steps=(Send(head() + b"hello", b"more"), Reset()),
            expect=BAD_OR_CUT,
            request=request,
        )
        for begun, part in {
            "half a body": by_length + b"hello",
            "a chunk": by_chunks + b"5\r\nhello\r\n",
            "a body until close": head() + b"hello",
        }.items():
            yield AnswerCase(
                name=f"{begun}, then silence{name}",
                why="http.md: an idle body is cut off",
                steps=(Send(part), NeverAgain()),
                expect=BAD_OR_CUT,
                request=request,
            )


class NeverAgain:
    """Says nothing more, for longer than the gateway waits, until it hangs up."""

    def run(self, talk: Conversation) -> None:
        talk.upstream.pass_time(30.0)
        talk.stream.read_to_end()


def broken_chunk_rows() -> Iterator[AnswerCase]:
    start = head("Transfer-Encoding: chunked")
    for name, body in (
        ("a size that is none", b"z\r\nok\r\n0\r\n\r\n"),
        ("a negative size", b"-2\r\nok\r\n0\r\n\r\n"),
        ("a size with a sign", b"+2\r\nok\r\n0\r\n\r\n"),
        ("a size with 0x", b"0x2\r\nok\r\n0\r\n\r\n"),
        ("a size that overflows", b"10000000000000002\r\nok\r\n0\r\n\r\n"),
        ("a size line that ends in LF", b"2\nok\r\n0\r\n\r\n"),
        ("an empty size", b"\r\nok\r\n0\r\n\r\n"),
        ("a space in front of a size", b" 2\r\nok\r\n0\r\n\r\n"),
        ("no line end behind the data", b"2\r\nok0\r\n\r\n"),
        ("too much data", b"2\r\noktoo much\r\n0\r\n\r\n"),
        ("an extension with LF", b"2;\nx\r\nok\r\n0\r\n\r\n"),
        ("an extension without end", b"2;" + b"x" * 100_000),
        ("trailers without end", b"2\r\nok\r\n0\r\n" + b"X-T: 1\r\n" * 100_000),
        ("a trailer without a colon", b"2\r\nok\r\n0\r\nX\r\n\r\n"),
        ("a plain body", b"this is no chunk at all"),
        ("a last chunk that ends in LF", b"2\r\nok\r\n0\n\n"),
    ):
        steps = (Send(start + body), Close())
        yield AnswerCase(name=f"chunks: {name}", why=CHUNKS, steps=steps, expect=BAD_OR_CUT)
        yield AnswerCase(
            name=f"chunks: {name}, later", why=CHUNKS, steps=(Send(start, body), Close()), expect=BAD_OR_CUT
        )
        yield AnswerCase(
            name=f"chunks: {name}, to HTTP/1.0", why=CHUNKS, steps=steps, expect=BAD_OR_CUT, request=HTTP10
        )


def extra_rows() -> Iterator[AnswerCase]:
    poison = answer(200, body=b"poison")
    whole = answer(200, body=b"ok")
    for name, raw in (
        ("an answer", whole + poison),
        ("a byte", whole + b"X"),
        ("a line end", whole + b"\r\n"),
        ("half an answer", whole + poison[:20]),
        ("ten answers", whole + poison * 10),
        ("an answer behind chunks", head("Transfer-Encoding: chunked") + chunked(b"ok") + poison),
        ("an answer behind length 0", answer(200) + poison),
        ("100", whole + lines("HTTP/1.1 100 Continue")),
        ("408", whole + lines("HTTP/1.1 408 Request Timeout", "Content-Length: 0", "Connection: close")),
    ):
        expected = Relayed(b"" if "length 0" in name else b"ok")
        yield AnswerCase(name=f"extra: {name}", why=EXTRA, steps=(Send(raw),), expect=expected)
        cut = raw.find(b"ok") + 2 if b"ok" in raw else len(answer(200))
        if b"chunked" not in raw:
            yield AnswerCase(
                name=f"extra, later: {name}", why=EXTRA, steps=(Send(raw[:cut], raw[cut:]),), expect=expected
            )


def large_rows() -> Iterator[AnswerCase]:
    why = "http.md: endless or huge headers are 502"
    for name, piece in (
        ("a head without end", b"X-A: 1\r\n" * 1_000),
        ("a value without end", b"a" * 8_192),
        ("a status line without end", b"O" * 8_192),
    ):
        start = b"HTTP/1.1 200 O" if "status" in name else b"HTTP/1.1 200 OK\r\nX-B: "
        yield AnswerCase(
            name=name, why=why, steps=(Send(start), SendForever(piece, most=4_000_000), Close()), expect=BAD
        )
    yield AnswerCase(
        name="a hundred thousand bytes of head",
        why=why,
        steps=(Send(head(b"X-A: " + b"a" * 100_000, "Content-Length: 2") + b"ok"),),
        expect=BAD,
    )
    yield AnswerCase(
        name="a thousand fields",
        why=why,
        steps=(Send(head(*["X: 1"] * 1_000, "Content-Length: 2") + b"ok"),),
        expect=BAD,
    )
    yield AnswerCase(
        name="eighty fields",
        why="within every peer's limits",
        steps=(Send(head(*["X: 1"] * 80, "Content-Length: 2") + b"ok"),),
        expect=Relayed(),
    )
    yield AnswerCase(
        name="eight thousand bytes of head", why="within every peer's limits",
        steps=(Send(head(b"X-A: " + b"a" * 8_000, "Content-Length: 2") + b"ok"),), expect=Relayed()
    )  # fmt: skip


CASES = (
    *status_line_rows(),
    *field_rows(),
    *conflict_rows(),
    *body_rows(),
    *bodiless_rows(),
    *interim_rows(),
    *truncated_rows(),
    *broken_chunk_rows(),
    *extra_rows(),
    *large_rows(),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(pair: Pair, case: AnswerCase) -> None:
    check(case, pair)
