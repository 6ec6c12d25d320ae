"""What the upstream is told of the client and of the way: X-Forwarded-*, Via, X-Request-Id, traceparent (http.md)."""

import re
from collections.abc import Iterator

import pytest

from tests.kit.configuration import route
from tests.kit.fixtures import Pair, running_pair
from tests.kit.messages import answer, lines
from tests.kit.steps import Send
from tests.kit.upstream import RecordedRequest

TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE_FORM = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\Z")
SANE_ID = re.compile(rb"[A-Za-z0-9._~+/=:@-]{1,128}\Z")


@pytest.fixture(scope="module")
def trusting() -> Iterator[Pair]:
    with running_pair(trusted_proxies="127.0.0.0/8, ::1") as pair:
        yield pair


@pytest.fixture(scope="module")
def wary() -> Iterator[Pair]:
    """It trusts somebody, but not this client."""
    with running_pair(trusted_proxies="192.0.2.0/24, 2001:db8::/32") as pair:
        yield pair


def sent_on(
    pair: Pair, *fields: str | bytes, start: str = "GET /x HTTP/1.1", host: str | None = "a.example"
) -> RecordedRequest:
    pair.upstream.forget()
    with pair.gateway.connect() as client:
        host_line = () if host is None else (f"Host: {host}",)
        assert client.ask(lines(start, *host_line, *fields)).status == 200
    return pair.upstream.requests[-1]


CLAIMS = [
    "X-Forwarded-For: 192.0.2.9", "X-Forwarded-For: 192.0.2.9, 127.0.0.1", "X-Forwarded-For:",
    "X-FORWARDED-FOR: 192.0.2.9", "X-Real-IP: 192.0.2.9",
    "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https", "X-Forwarded-Port: 443",
    "Forwarded: for=192.0.2.9;host=evil.example;proto=https",
    "X-Forwarded-For: 192.0.2.9\r\nX-Forwarded-For: 192.0.2.8", "X-Forwarded-Server: evil", "X-Forwarded-By: evil",
    "X-Forwarded: for=evil", "X-Client-IP: 192.0.2.9",
    "X-Forwarded-Prefix: /evil", "True-Client-IP: 192.0.2.9", "X-Cluster-Client-IP: 192.0.2.9",
    "X-Original-Forwarded-For: 192.0.2.9", "X-Forwarded-Ssl: on",
    "X-Url-Scheme: https", "X-Original-URL: /evil", "X-Rewrite-URL: /evil",
]  # fmt: skip
SETTLED = 15  # of the claims above; the others are no forwarding fields that http.md names, and peers pass them on


@pytest.mark.parametrize("claim", CLAIMS[:SETTLED])
@pytest.mark.parametrize("trust", ["nobody", "others"])
def test_a_strangers_claims_are_overwritten(pair: Pair, wary: Pair, trust: str, claim: str) -> None:
    request = sent_on(pair if trust == "nobody" else wary, claim)
    upstream = (pair if trust == "nobody" else wary).gateway.port
    assert request.all(b"x-forwarded-for") == [b"127.0.0.1"]
    assert request.all(b"x-real-ip") == [b"127.0.0.1"]
    assert request.all(b"x-forwarded-host") == [b"a.example"]
    assert request.all(b"x-forwarded-proto") == [b"http"]
    assert request.all(b"x-forwarded-port") == [b"%d" % upstream]
    for claimed in (b"evil", b"192.0.2."):
        assert claimed not in request.head.raw, request.head.raw


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_leaves_one_of_each(pair: Pair, claim: str) -> None:
    request = sent_on(pair, claim)
    for name in (
        b"x-forwarded-for",
        b"x-real-ip",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-forwarded-port",
        b"host",
    ):
        assert len(request.all(name)) == 1, request.head.raw


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ((), {"for": b"127.0.0.1", "real": b"127.0.0.1", "proto": b"http", "host": b"a.example"}),
        (("X-Forwarded-For: 192.0.2.9",), {"for": b"192.0.2.9, 127.0.0.1", "real": b"192.0.2.9"}),
        (("X-Forwarded-For: 192.0.2.9", "X-Forwarded-For: 192.0.2.8"), {"for": b"192.0.2.9, 192.0.2.8, 127.0.0.1"}),
        (("X-Forwarded-For: 192.0.2.9,192.0.2.8",), {"for": b"192.0.2.9,192.0.2.8, 127.0.0.1"}),
        (("X-Forwarded-For: 2001:db8::9",), {"for": b"2001:db8::9, 127.0.0.1", "real": b"2001:db8::9"}),
        (("X-Forwarded-For:",), {"for": b"127.0.0.1", "real": b"127.0.0.1"}),
        (("X-Forwarded-Proto: https",), {"proto": b"https"}),
        (("X-Forwarded-Host: b.example",), {"host": b"b.example"}),
        (("X-Forwarded-Port: 8443",), {"port": b"8443"}),
    ],
)
def test_a_trusted_proxys_claims_are_kept(trusting: Pair, fields: tuple[str, ...], expected: dict[str, bytes]) -> None:
    """http.md: believed from configured networks; the gateway adds whom it heard it from."""
    request = sent_on(trusting, *fields)
    names = {
        "for": b"x-forwarded-for",
        "real": b"x-real-ip",
        "proto": b"x-forwarded-proto",
        "host": b"x-forwarded-host",
        "port": b"x-forwarded-port",
    }
    for short, value in expected.items():
        got = request.all(names[short])
        assert [item.replace(b", ", b",") for item in got] == [value.replace(b", ", b",")], request.head.raw


@pytest.mark.parametrize("fields", [("X-Forwarded-Proto: gopher",), ("X-Forwarded-Proto: https, http",),
("X-Forwarded-Port: x",), ("X-Forwarded-Port: 65536",), ("X-Forwarded-Port: " + "9" * 5_000,),
("X-Forwarded-Proto:",),
                                    ("X-Forwarded-Proto: http", "X-Forwarded-Proto: https")])  # fmt: skip
def test_a_trusted_proxys_nonsense_leaves_one_sane_value(trusting: Pair, fields: tuple[str, ...]) -> None:
    """One value, which an upstream can compare with `https`: Kong and Envoy overwrite what is not http or https."""
    request = sent_on(trusting, *fields)
    assert request.one(b"x-forwarded-proto") in (b"http", b"https"), request.head.raw
    assert request.one(b"x-forwarded-port") == b"%d" % trusting.gateway.port, request.head.raw


def test_the_client_is_the_nearest_address_that_is_not_trusted(trusting: Pair) -> None:
    """From the right: an address that a trusted proxy added is true, one in front of an untrusted one is a claim."""
    request = sent_on(trusting, "X-Forwarded-For: 192.0.2.66, 192.0.2.9, 127.0.0.2")
    assert request.one(b"x-real-ip") == b"192.0.2.9", request.head.raw


def test_the_chain_is_believed_before_real_ip(trusting: Pair) -> None:
    """Proxies that add to X-Forwarded-For often let a client's own X-Real-IP through (kong-fwd-14)."""
    request = sent_on(trusting, "X-Real-IP: 192.0.2.66", "X-Forwarded-For: 192.0.2.9")
    assert request.one(b"x-real-ip") == b"192.0.2.9", request.head.raw


def test_a_trusted_proxys_real_ip_is_kept(trusting: Pair) -> None:
    assert sent_on(trusting, "X-Real-IP: 192.0.2.9").one(b"x-real-ip") == b"192.0.2.9"


def test_the_first_proxy_names_the_host_asked_for(pair: Pair) -> None:
    assert sent_on(pair, host="a.example:8080").one(b"x-forwarded-host") == b"a.example:8080"
    assert sent_on(pair, start="GET http://b.example/x HTTP/1.1").one(b"x-forwarded-host") == b"b.example"


def test_host_goes_on_where_the_service_says_so() -> None:
    with running_pair(service_fields={"preserve_host": True}) as pair:
        assert sent_on(pair, host="A.example:81").one(b"host") == b"A.example:81"
        assert sent_on(pair, start="GET http://b.example/x HTTP/1.1").one(b"host") == b"b.example"
        without = sent_on(pair, start="GET /x HTTP/1.0", host=None)
        assert without.one(b"host") == b"127.0.0.1:%d" % pair.upstream.port  # HTTP/1.0 said none, and one there must be
        assert without.one(b"x-forwarded-for") == b"127.0.0.1"


# -- Via ---------------------------------------------------------------------------------------------------------------


def via_members(values: list[bytes]) -> list[bytes]:
    return [member.strip() for value in values for member in value.split(b",")]


@pytest.mark.parametrize(
    ("fields", "before"),
    [
        ((), []),
        (("Via: 1.0 fred",), [b"1.0 fred"]),
        (("Via: 1.0 fred, 1.1 p.example", "Via: 2 x"), [b"1.0 fred", b"1.1 p.example", b"2 x"]),
    ],
)
def test_via_grows_by_one(pair: Pair, fields: tuple[str, ...], before: list[bytes]) -> None:
    """RFC 9110, 7.6.3: a gateway MUST send Via, its own at the end."""
    members = via_members(sent_on(pair, *fields).all(b"via"))
    assert members[:-1] == before
    assert members[-1].startswith(b"1.1 ")


def test_via_tells_the_version_that_was_received(pair: Pair) -> None:
    """RFC 9110, 7.6.3: received-protocol is that of the message received."""
    assert via_members(sent_on(pair, start="GET /x HTTP/1.0").all(b"via"))[-1].startswith(b"1.0 ")


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_an_answer_has_via_too(pair: Pair, version: bytes) -> None:
    """A gateway SHOULD for answers that it relays; the version is the upstream's."""
    pair.upstream.forget()
    pair.upstream.script(Send(b"HTTP/%b 200 OK\r\nVia: 1.1 inner\r\nContent-Length: 2\r\n\r\nok" % version))
    with pair.gateway.connect() as client:
        got = client.ask(lines("GET /x HTTP/1.1", "Host: a.example"))
    members = via_members(got.all(b"via"))
    assert members[0] == b"1.1 inner"
    assert members[1].startswith(version + b" ")


# -- request ids and traces --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", ["abc", "f058ebd6-02f7-4d3f-942e-904344e8cde5", "A.b_c~d+e/f=g:h@i-j", "1", "x" * 128]
)
def test_a_sane_request_id_is_kept(pair: Pair, given: str) -> None:
    pair.upstream.forget()
    with pair.gateway.connect() as client:
        got = client.ask(lines("GET /x HTTP/1.1", "Host: a.example", f"X-Request-Id: {given}"))
    assert pair.upstream.requests[-1].all(b"x-request-id") == [given.encode()]
    assert got.all(b"x-request-id") == [given.encode()]


@pytest.mark.parametrize(
    "given",
    [
        "",
        "a b",
        "a\tb",
        "<script>",
        'a"b',
        "a'b",
        "a;b",
        "a,b",
        "a\\b",
        "caf\xe9",
        "x" * 129,
        "x" * 1_000,
        "a%0d%0ab",
        "{{7*7}}",
        "${jndi:x}",
        "a\xa0b",
    ],
)
def test_a_strange_request_id_is_replaced(pair: Pair, given: str) -> None:
    """It goes into logs, and back into an answer: only what is harmless in both is kept."""
    pair.upstream.forget()
    with pair.gateway.connect() as client:
        got = client.ask(lines("GET /x HTTP/1.1", "Host: a.example", f"X-Request-Id: {given}"))
    (sent,) = pair.upstream.requests[-1].all(b"x-request-id")
    assert sent != given.encode("latin-1")
    assert SANE_ID.match(sent), sent
    assert got.all(b"x-request-id") == [sent]


def test_request_ids_differ(pair: Pair) -> None:
    ids = {sent_on(pair).one(b"x-request-id") for _ in range(20)}
    assert len(ids) == 20


def test_two_request_ids_become_one(pair: Pair) -> None:
    request = sent_on(pair, "X-Request-Id: a", "X-Request-Id: b")
    assert len(request.all(b"x-request-id")) == 1


def test_the_upstreams_request_id_is_not_the_clients(pair: Pair) -> None:
    pair.upstream.forget()
    pair.upstream.script(Send(answer(200, "X-Request-Id: upstream")))
    with pair.gateway.connect() as client:
        got = client.ask(lines("GET /x HTTP/1.1", "Host: a.example", "X-Request-Id: client"))
    assert got.all(b"x-request-id") == [b"client"]


def test_a_trace_is_passed_or_started(pair: Pair) -> None:
    """W3C Trace Context: the trace-id stays; the parent may be replaced by our own."""
    passed = sent_on(pair, b"traceparent: " + TRACE, "tracestate: a=b")
    (trace,) = passed.all(b"traceparent")
    assert trace.split(b"-")[1] == TRACE.split(b"-")[1]
    assert passed.all(b"tracestate") == [b"a=b"]
    (started,) = sent_on(pair).all(b"traceparent")
    assert TRACE_FORM.match(started)


@pytest.mark.parametrize("given", [b"", b"x", b"00-0-0-0", TRACE[:-1], TRACE.upper(), b"ff" + TRACE[2:],
b"00-" + b"0" * 32 + TRACE[35:], TRACE[:36] + b"0" * 16 + TRACE[52:],
                                   TRACE + b"-x", b"00-" + b"g" * 32 + TRACE[35:]])  # fmt: skip
def test_a_malformed_trace_is_replaced(pair: Pair, given: bytes) -> None:
    """Trace Context, 3.2: an invalid traceparent is ignored and a new trace is begun, without its tracestate."""
    (sent,) = sent_on(pair, b"traceparent: " + given).all(b"traceparent")
    assert TRACE_FORM.match(sent), sent


def test_two_traces_become_one(pair: Pair) -> None:
    other = TRACE.replace(b"0af7", b"1bf8")
    assert len(sent_on(pair, b"traceparent: " + TRACE, b"traceparent: " + other).all(b"traceparent")) == 1


def test_a_problem_has_the_request_id_of_its_fields() -> None:
    with running_pair(routes=[route("/a")]) as pair, pair.gateway.connect() as client:
        got = client.ask(lines("GET /nowhere HTTP/1.1", "Host: a.example", "X-Request-Id: mine"))
        assert got.problem()["request_id"] == "mine"
        assert got.all(b"x-request-id") == [b"mine"]
