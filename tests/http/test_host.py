"""Exactly one valid Host, and what the upstream is told of it (RFC 9112, 3.2; RFC 3986, 3.2.2)."""

from collections.abc import Iterator

import pytest

from tests.kit.cases import DELIVERIES, AnyOf, Case, Expectation, Forwarded, Refused, Seen, check
from tests.kit.fixtures import Pair
from tests.kit.messages import lines

ONE = "RFC 9112, 3.2: 400 for a request without Host, with several, or with an invalid value"
GRAMMAR = "RFC 3986, 3.2.2: a name, an IPv4 address or an IPv6 address in brackets, and a port of digits"


def told(value: bytes) -> Forwarded:
    return Forwarded((Seen(has=((b"x-forwarded-host", value),)),))


def count_rows() -> Iterator[Case]:
    for name, fields in (
        ("no Host", ()),
        ("two Hosts", ("Host: a.example", "Host: b.example")),
        ("two equal Hosts", ("Host: a.example", "Host: a.example")),
        ("two Hosts with different case", ("Host: a.example", "hOST: b.example")),
        ("two Hosts apart", ("Host: a.example", "X-A: 1", "Host: b.example")),
        ("a Host and an empty one", ("Host: a.example", "Host:")),
        ("an empty Host and a good one", ("Host:", "Host: a.example")),
        ("a folded second Host", ("Host: a.example", " Host: b.example")),
        ("a Host behind LF", (b"X-A: 1\nHost: a.example",)),
        ("only a Host with a space before the colon", ("Host : a.example",)),
        ("only X-Forwarded-Host", ("X-Forwarded-Host: a.example",)),
        ("only a Host with an underscore", ("Host_: a.example",)),
        ("three Hosts", ("Host: a.example",) * 3),
    ):
        yield Case(name=name, why=ONE, sends=lines("GET /x HTTP/1.1", *fields), expect=Refused())
    yield Case(
        name="no Host on HTTP/1.0",
        why="RFC 9112, 3.2: HTTP/1.0 knew none; and what the client did not say, the upstream is not told",
        sends=lines("GET /x HTTP/1.0", "X-Forwarded-Host: a.example"),
        expect=Forwarded((Seen(lacks=(b"x-forwarded-host",)),), closes=True),
    )
    for name, fields in (("two Hosts", ("Host: a.example", "Host: a.example")), ("a bad Host", ("Host: a/b",))):
        yield Case(name=f"{name} on HTTP/1.0", why=ONE, sends=lines("GET /x HTTP/1.0", *fields), expect=Refused())


def value_rows() -> Iterator[Case]:
    for value in (
        b"a", b"a.example", b"a.example.", b"A.EXAMPLE", b"a-b.example", b"a_b.example", b"127.0.0.1",
        b"127.0.0.1:80", b"a.example:80",
        b"a.example:8080", b"a.example:65535", b"a.example:0", b"[::1]", b"[::1]:80", b"[2001:db8::1]:8080",
        b"[::ffff:192.0.2.1]",
        b"xn--bcher-kva.example", b"localhost", b"1", b"1.2.3", b"a" * 63 + b".example",
    ):  # fmt: skip
        sends = lines("GET /x HTTP/1.1", b"Host: " + value)
        yield Case(name=f"Host: {value!r}", why=GRAMMAR, sends=sends, expect=told(value))
    for value in (
        b"a.example:",
        b"a.example:00080",
        b"%61.example",
        b"a~b",
        b"a!b",
        b"a$b",
        b"a&b",
        b"(a)",
        b"a*b",
        b"a+b",
        b"a,b",
        b"a=b",
        b"a;b",
        b"a'b",
    ):
        yield Case(
            name=f"Host: {value!r}",
            why=f"{GRAMMAR}. Within the grammar, though no name is written so: peers differ, either will do",
            sends=lines("GET /x HTTP/1.1", b"Host: " + value),
            expect=AnyOf((told(value), Forwarded(), Refused())),
        )
    for value in (
        b"", b" ", b"a b", b"a.example b.example", b"a.example, b.example", b"a.example\tb", b"a/b", b"a.example/",
        b"/", b"a?b", b"a#b", b"a.example?",
        b"u@a.example", b"u:p@a.example", b"@a.example", b"a.example@", b":80", b":", b"a:b", b"a.example:x",
        b"a.example:80x", b"a.example:80:80",
        b"a.example:-1", b"a.example:+80", b"a.example: 80", b"a.example :80", b"a.example:99999",
        b"a.example:65536", b"a.example:123456789012",
        b"[::1", b"::1", b"::1]", b"[]", b"[::1]x", b"x[::1]", b"[::g]", b"[::1]:x", b"[::1]80", b"[[::1]]", b"a[b]",
        b"a\\b", b'"a"', b"a\"b", b"<a>",
        b"a^b", b"a`b", b"a|b", b"{a}", b"http://a.example", b"http://a.example/", b"//a.example", b"a\x00b",
        b"a\x01b", b"a\x7fb", b"a\xe9b",
        "bücher.example".encode(), b"a.example\x0b", b"\x0ba.example", b"a%", b"a%zz", b"a%0d%0ab%", b"a\rb",
        b"a.example\r", b"a" * 2_000,
        "a。example".encode(), b"[127.0.0.1]", b"[1]", b"[:]", b"[::1::2]", b"[12345::]",
    ):  # fmt: skip
        expect: Expectation = Refused()
        sends = lines("GET /x HTTP/1.1", b"Host: " + value)
        yield Case(name=f"Host: {value!r}", why=f"{ONE}; {GRAMMAR}", sends=sends, expect=expect)


def position_rows() -> Iterator[Case]:
    for name, sends in (
        ("Host last", lines("GET /x HTTP/1.1", "Accept: */*", "X-A: 1", "Host: a.example")),
        ("small letters", lines("GET /x HTTP/1.1", "host: a.example")),
        ("large letters", lines("GET /x HTTP/1.1", "HOST: a.example")),
        ("no space", lines("GET /x HTTP/1.1", "Host:a.example")),
        ("much space", lines("GET /x HTTP/1.1", "Host: \t a.example \t ")),
    ):
        why = "RFC 9110, 5.1 and 5.5: names compare without case, space around a value is none of it"
        yield Case(name=f"Host: {name}", why=why, sends=sends, expect=told(b"a.example"))
    for target, authority in (("/x", "a.example"), ("http://b.example:81/x", "b.example:81")):
        yield Case(
            name=f"nothing of {target} tells the upstream another Host than its own",
            why="http.md: Host to the upstream is the target's by default. The kit's upstream takes exactly one Host",
            sends=lines(f"GET {target} HTTP/1.1", "Host: a.example", "X-Host: c.example", "X-Original-Host: c.example"),
            expect=told(authority.encode()),
        )


CASES = (*count_rows(), *value_rows(), *position_rows())


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_host(pair: Pair, case: Case, delivery: str) -> None:
    check(case, pair.gateway, pair.upstream, delivery)


def test_the_upstream_gets_the_targets_own_host(pair: Pair) -> None:
    with pair.gateway.connect() as client:
        client.ask(lines("GET /x HTTP/1.1", "Host: a.example"))
    assert pair.upstream.requests[-1].all(b"host") == [b"127.0.0.1:%d" % pair.upstream.port]
