"""The request line: method, target, version, and one space between them (RFC 9112, 3; RFC 9110, 9; RFC 3986)."""

from collections.abc import Iterator

import pytest

from tests.kit.cases import DELIVERIES, AnswerOnly, AnyOf, Case, Expectation, Forwarded, Outcome, Refused, Seen, check
from tests.kit.fixtures import Pair
from tests.kit.messages import TOKEN, lines

PARTS = "RFC 9112, 3: method SP request-target SP HTTP-version; http.md takes exactly one space"
VERSION = "RFC 9112, 2.3: `HTTP/` DIGIT `.` DIGIT, case-sensitive; http.md: other versions are 505"
METHOD = "RFC 9110, 9.1: a method is a token, case-sensitive; a gateway passes on those that it does not know"
CONNECT = "http.md: CONNECT is 405; a gateway in front of services opens no tunnels for strangers"
TARGET = "RFC 3986, 2 and 3.3; http.md: raw control, space, quote and non-ASCII bytes and fragments are 400"
ABSOLUTE = "RFC 9112, 3.2.2: absolute-form is accepted, and its authority takes the place of Host"
ASTERISK = "RFC 9112, 3.2.4: asterisk-form is for OPTIONS"

UNSUPPORTED = frozenset((505,))
MALFORMED = frozenset((400, 505))


def get(start: str | bytes, *fields: str | bytes) -> bytes:
    return lines(start, "Host: a.example", *fields)


def part_rows() -> Iterator[Case]:
    for start in (
        b"GET  /x HTTP/1.1", b"GET /x  HTTP/1.1", b"GET /x HTTP/1.1 ", b" GET /x HTTP/1.1", b"GET\t/x HTTP/1.1",
        b"GET /x\tHTTP/1.1",
        b"GET\x0b/x HTTP/1.1", b"GET\x0c/x HTTP/1.1", b"GET /x\x0bHTTP/1.1", b"GET /x\x0cHTTP/1.1",
        b"GET\xa0/x HTTP/1.1", b"GET /x\xa0HTTP/1.1",
        b"GET /x HTTP/1.1\t", b"GET /x y HTTP/1.1", b"GET /x HTTP/1.1 HTTP/1.1", b"GET /x HTTP/1.1 /y", b"GET",
        b"GET ", b"GET /x", b"GET /x ",
        b"GET HTTP/1.1", b"GET  HTTP/1.1", b"/x HTTP/1.1", b" /x HTTP/1.1", b"GET/x HTTP/1.1", b"GET /xHTTP/1.1",
        b"GET\0/x HTTP/1.1",
        b"GET /x\0HTTP/1.1", b"GET /x HTTP/1.1\0", b"\0GET /x HTTP/1.1", b"GET\r/x HTTP/1.1", b"GET /x\rHTTP/1.1",
        b"HTTP/1.1 GET /x", b":", b"",
        b"GET \"/x\" HTTP/1.1",
    ):  # fmt: skip
        sends = get(start) if start else b"GET\r\n" + get("GET /x HTTP/1.1")
        yield Case(name=f"the line {start!r}", why=PARTS, sends=sends, expect=Refused(MALFORMED))


def version_rows() -> Iterator[Case]:
    for version in (
        b"http/1.1", b"Http/1.1", b"HTTP/1", b"HTTP/1.", b"HTTP/.1", b"HTTP/", b"HTTP", b"HTTP/1,1", b"HTTP/1.1.1",
        b"HTTP/01.1", b"HTTP/1.01",
        b"HTTP/1.10", b"HTTP/11.1", b"HTTP/1.1x", b"xHTTP/1.1", b"HTP/1.1", b"HTTPS/1.1", b"HTTP-1.1", b"HTTP\\1.1",
        b"HTTP//1.1", b"HTTP/1.-1",
        b"HTTP/+1.1", b"HTTP/1.+1", b"HTTP/-1.1", b"HTTP/0x1.1", b"HTTP/a.b", b"HTTP/1.a", b"HTTP/\xb1.1",
        "HTTP/１.１".encode(), b"HTTP/1.1;",
        b"HTTP/1.1\x00", b"HTTP/1.1\x0b", b"ICY/1.1", b"RTSP/1.0", b"SIP/2.0", b"HTTP/ 1.1", b"HTTP /1.1",
        b"HTTP/1 .1", b"1.1", b"HTTP/1.1,",
    ):  # fmt: skip
        yield Case(name=f"version {version!r}", why=VERSION, sends=get(b"GET /x " + version), expect=Refused(MALFORMED))
    for version in (
        b"HTTP/2.0",
        b"HTTP/3.0",
        b"HTTP/0.9",
        b"HTTP/1.2",
        b"HTTP/1.9",
        b"HTTP/9.9",
        b"HTTP/0.0",
        b"HTTP/2.1",
    ):
        yield Case(
            name=f"version {version!r}", why=VERSION, sends=get(b"GET /x " + version), expect=Refused(UNSUPPORTED)
        )
    for name, sends in (("HTTP/2", b"GET /x HTTP/2"), ("the prior-knowledge line", b"PRI * HTTP/2.0")):
        yield Case(name=name, why=VERSION, sends=get(sends), expect=Refused(MALFORMED))
    yield Case(
        name="HTTP/1.0 is answered and closed",
        why="RFC 9112, 9.3: without keep-alive, HTTP/1.0 is closed behind the answer",
        sends=get("GET /x HTTP/1.0"),
        expect=Forwarded(closes=True),
    )


def method_rows() -> Iterator[Case]:
    for octet in sorted(set(range(256)) - TOKEN - {ord("\n"), ord(" ")}):
        yield Case(
            name=f"a method with octet {octet:02x}",
            why=METHOD,
            sends=get(b"G%cET /x HTTP/1.1" % octet),
            expect=Refused(MALFORMED),
        )
    for method in (
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "MKCOL", "LOCK", "REPORT",
        "M-SEARCH", "PURGE", "QUERY",
        "get", "Get", "A", "FOO!", "$METHOD", "x" * 24,
    ):  # fmt: skip
        yield Case(
            name=f"method {method}",
            why=METHOD,
            sends=get(f"{method} /x HTTP/1.1"),
            expect=Forwarded((Seen(method=method.encode()),)),
            methods=(method.encode(),),
        )
    yield Case(
        name="method TRACE",
        why="RFC 9110, 9.3.8: reflects credentials; nginx and Apache's proxies refuse it, HAProxy and Envoy pass it on",
        sends=get("TRACE /x HTTP/1.1"),
        expect=AnyOf((Forwarded((Seen(method=b"TRACE"),)), AnswerOnly(frozenset((405, 501))))),
        methods=(b"TRACE",),
    )
    for target in (
        "a.example:443",
        "/x",
        "http://a.example/",
        "*",
        "a.example",
        "a.example:443/x",
        "[::1]:443",
        ":443",
    ):
        yield Case(
            name=f"CONNECT {target}",
            why=CONNECT,
            sends=get(f"CONNECT {target} HTTP/1.1"),
            expect=Refused(frozenset((400, 405)) if target != "a.example:443" else frozenset((405,)), closes=False),
        )
    for method, fields in (
        ("OPTIONS", ("Max-Forwards: 0",)),
        ("OPTIONS", ("Max-Forwards: 00",)),
        ("OPTIONS", ("Max-Forwards: 0", "Max-Forwards: 5")),
        ("OPTIONS", ("Connection: Max-Forwards", "Max-Forwards: 0")),
        ("TRACE", ("Max-Forwards: 0",)),
    ):
        yield Case(
            name=f"{method} with {' + '.join(fields)}",
            why="RFC 9110, 7.6.2: it MUST NOT be forwarded; whoever reads 0 answers as the final recipient",
            sends=get(f"{method} /x HTTP/1.1", *fields),
            expect=AnsweredHere(frozenset((200, 204)) if method == "OPTIONS" else frozenset((405, 501))),
            methods=(method.encode(),),
        )
    for given, sent in ((b"5", b"4"), (b"1", b"0"), (b"99999999999", b"999999999")):
        yield Case(
            name=f"OPTIONS with Max-Forwards: {given.decode()}",
            why="RFC 9110, 7.6.2: an intermediary MUST forward it with one less",
            sends=get(b"OPTIONS /x HTTP/1.1", b"Max-Forwards: " + given),
            expect=Forwarded((Seen(method=b"OPTIONS", has=((b"max-forwards", sent),)),)),
        )
    yield Case(
        name="GET with Max-Forwards: 0",
        why="RFC 9110, 7.6.2: for other methods it may be ignored",
        sends=get("GET /x HTTP/1.1", "Max-Forwards: 0"),
        expect=Forwarded(),
    )


class AnsweredHere(AnswerOnly):
    """The gateway answers itself and says what it takes, and the upstream has not seen the request."""

    def check(self, outcome: Outcome) -> None:
        super().check(outcome)
        assert b"OPTIONS" in (outcome.answers[0].one(b"allow") or b""), "it does not say what it takes"
        assert b"/x" not in {request.target for request in outcome.requests}, "it was forwarded"


def target_rows() -> Iterator[Case]:
    for octet in (*range(0x01, 0x20), 0x7F, 0x80, 0x85, 0xA0, 0xC3, 0xE9, 0xFE, 0xFF, ord('"'), ord("#")):
        if octet in b"\n":
            continue
        for place, target in (("path", b"/x%cy"), ("query", b"/x?a%cb")):
            yield Case(
                name=f"octet {octet:02x} in the {place}",
                why=TARGET,
                sends=get(b"GET " + target % octet + b" HTTP/1.1"),
                expect=Refused(),
            )
    for octet in b"<>\\^`{|}":
        for place, target in (("path", b"/x%cy" % octet), ("query", b"/x?a%cb" % octet)):
            expect: Expectation = AnyOf(
                (Forwarded((Seen(target=target),)), Forwarded((Seen(target=escaped(target)),)), Refused())
            )
            yield Case(
                name=f"octet {octet:02x} ({octet:c}) in the {place}",
                why="RFC 3986, 2: no character of a URI; some clients send them: passed on, escaped or refused",
                sends=get(b"GET " + target + b" HTTP/1.1"),
                expect=expect,
            )
    for octet in b"!$&'()*+,;=:@-._~":
        target = b"/a%cb?c%cd" % (octet, octet)
        yield Case(
            name=f"the character {octet:c} in path and query",
            why="RFC 3986, 3.3 and 3.4: allowed as it is, and not to be changed",
            sends=get(b"GET " + target + b" HTTP/1.1"),
            expect=Forwarded((Seen(target=target),)),
        )
    for target in (
        b"x",
        b"",
        b"x/y",
        b"./x",
        b"../x",
        b"?x",
        b"#",
        b"/#",
        b"/x#y",
        b"/?x#y",
        b";x",
        b"%2Fx",
        b"\\x",
        b"*x",
        b"**",
        b"*",
        b'/x"',
        b"'/x'",
    ):
        yield Case(name=f"target {target!r}", why=TARGET, sends=get(b"GET " + target + b" HTTP/1.1"), expect=Refused())
    for target in (
        b"/", b"/x", b"/x/", b"/?", b"/x?", b"/x??", b"/x?a=b&c", b"/x?a=/../..//b", b"/x?a=%2e%2E%00%zz%", b"/x?/?/?", b"/x?http://b.example/",
        b"/x;v=1", b"/x;v=1/y", b"/~user", b"/x:y@z", b"/http://b.example/", b"/x?a=%c3%a9", b"/%C3%A9", b"/x?%",
        b"/x?%0d%0aX: y".replace(b" ", b"+"),
    ):  # fmt: skip
        why = "http.md: the query is forwarded byte for byte, an empty one too; RFC 3986, 3.3"
        yield Case(
            name=f"target {target!r}",
            why=why,
            sends=get(b"GET " + target + b" HTTP/1.1"),
            expect=Forwarded((Seen(target=target),)),
        )


def escaped(target: bytes) -> bytes:
    return b"".join(b"%%%02X" % octet if octet in b"<>\\^`{|}" else b"%c" % octet for octet in target)


def absolute_rows() -> Iterator[Case]:
    for target, sent, authority in (
        (b"http://a.example/x", b"/x", b"a.example"),
        (b"http://b.example/x", b"/x", b"b.example"),
        (b"HTTP://b.example/x", b"/x", b"b.example"),
        (b"https://b.example/x", b"/x", b"b.example"),
        (b"http://b.example:8080/x?y", b"/x?y", b"b.example:8080"),
        (b"http://b.example", b"/", b"b.example"),
        (b"http://b.example/", b"/", b"b.example"),
        (b"http://b.example?y", b"/?y", b"b.example"),
        (b"http://b.example/?", b"/?", b"b.example"),
        (b"http://[::1]:80/x", b"/x", b"[::1]:80"),
        (b"http://192.0.2.1/x", b"/x", b"192.0.2.1"),
        (b"http://b.example//x", b"//x", b"b.example"),
        (b"http://b.example/http://c.example/", b"/http://c.example/", b"b.example"),
        (b"http://b.example/x?http://c.example/", b"/x?http://c.example/", b"b.example"),
    ):
        yield Case(
            name=f"absolute {target!r}",
            why=ABSOLUTE,
            sends=get(b"GET " + target + b" HTTP/1.1"),
            expect=Forwarded((Seen(target=sent, has=((b"x-forwarded-host", authority),)),)),
        )
    for target in (
        b"ftp://a.example/x", b"file:///etc/passwd", b"ws://a.example/x", b"javascript:alert(1)",
        b"data:text/plain,x", b"mailto:a@a.example",
        b"http:/x", b"http:x", b"http:", b"http://", b"http:///x", b"http://?x", b"http://:80/x",
        b"http:\\\\a.example/x", b"http://a.example\\x",
        b"http://u@a.example/x", b"http://u:p@a.example/x", b"http://@a.example/x", b"http://a.example@b.example/x", b"http://a.example:x/",
        b"http://a.example:99999/x", b"http://a.example:-1/x", b"http://a.example:80:80/x", b"http://a b/x", b"http://a.example/x#y",
        b"http://a.example#/x", b"http://[::1/x", b"http://::1/x", b"http://[::g]/x", b"http://[::1]x/x", b"http://a\xe9.example/x",
        b"http://a.example/x y", b"http://a.example/\"", b"//a.example", b"://a.example/x", b"http//a.example/x", b"httpx://a.example/x",
        b"xhttp://a.example/x", b"a.example/x", b"a.example:80", b"http://a.example\t/x", b"http://a.example/../../x", b"http://a.example/%00",
    ):  # fmt: skip
        why = f"{ABSOLUTE}; RFC 9110, 4.2: http and https with a host and without user information"
        if target == b"//a.example":
            accepted: Expectation = AnyOf((Forwarded((Seen(target=target),)), Refused()))
            why = "RFC 9112, 3.2.1: as origin-form, a path whose first segment is empty; http.md keeps `//`"
        else:
            accepted = Refused()
        yield Case(name=f"absolute {target!r}", why=why, sends=get(b"GET " + target + b" HTTP/1.1"), expect=accepted)
    for name, fields in (
        ("no Host", ()),
        ("two Hosts", ("Host: a.example", "Host: a.example")),
        ("a bad Host", ("Host: a b",)),
    ):
        yield Case(
            name=f"absolute with {name}",
            why="RFC 9112, 3.2: the demand for one valid Host does not depend on the target's form",
            sends=lines("GET http://a.example/x HTTP/1.1", *fields),
            expect=Refused(),
        )
    yield Case(
        name="absolute on HTTP/1.0 without Host",
        why=ABSOLUTE,
        sends=lines("GET http://b.example/x HTTP/1.0"),
        expect=Forwarded((Seen(has=((b"x-forwarded-host", b"b.example"),)),), closes=True),
    )


def asterisk_rows() -> Iterator[Case]:
    answered = AnswerOnly(frozenset((200, 204, 404)))
    for name, start in (
        ("OPTIONS *", "OPTIONS * HTTP/1.1"),
        ("OPTIONS of a host alone", "OPTIONS http://a.example HTTP/1.1"),
    ):
        yield Case(
            name=name,
            why=f"{ASTERISK}. It asks the server as a whole: forwarded as `*`, answered here, or not found",
            sends=get(start),
            expect=AnyOf((Forwarded((Seen(target=b"*", method=b"OPTIONS"),)), answered)),
        )
    for method in ("GET", "POST", "HEAD", "DELETE", "options"):
        sends = get(f"{method} * HTTP/1.1")
        yield Case(name=f"{method} *", why=ASTERISK, sends=sends, expect=Refused(), methods=(method.encode(),))
    for target in ("*/x", "*?x", "/*"):
        expect: Expectation = Refused() if target != "/*" else Forwarded((Seen(target=b"/*", method=b"OPTIONS"),))
        if target == "*?x":
            expect = AnyOf((Refused(), answered))
        yield Case(name=f"OPTIONS {target}", why=ASTERISK, sends=get(f"OPTIONS {target} HTTP/1.1"), expect=expect)


CASES = (*part_rows(), *version_rows(), *absolute_rows(), *asterisk_rows())
OCTETS = (*method_rows(), *target_rows())


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_request_line(pair: Pair, case: Case, delivery: str) -> None:
    check(case, pair.gateway, pair.upstream, delivery)


@pytest.mark.parametrize("case", OCTETS, ids=str)
def test_octet(pair: Pair, case: Case) -> None:
    check(case, pair.gateway, pair.upstream)
