"""Header hygiene: what goes on to the upstream, what does not, and what the gateway says itself (RFC 9110, 7.6;
http.md).
"""

from collections.abc import Iterator

import pytest

from tests.kit.cases import AnyOf, Case, Forwarded, Refused, Seen, check
from tests.kit.client import Answer
from tests.kit.configuration import key, route, service, settings
from tests.kit.fixtures import Pair, running_pair
from tests.kit.gateway import running_gateway
from tests.kit.messages import answer, lines
from tests.kit.steps import Send
from tests.kit.upstream import RecordedRequest, running_upstream

HOP = "RFC 9110, 7.6.1: hop-by-hop fields and those that Connection names are removed before a message is sent on"
KEPT = "http.md: Connection never names away Host, forwarding or authentication fields, nor framing"
ORDER = "RFC 9110, 5.3: lines with one name keep their order; http.md: order and repetition are kept"
LOOK_ALIKE = "http.md: look-alikes with an underscore of framing and forwarding fields are dropped"


def get(*fields: str | bytes) -> bytes:
    return lines("GET /x HTTP/1.1", "Host: a.example", *fields)


def lacks(*names: bytes) -> Forwarded:
    return Forwarded((Seen(lacks=names),))


def has(*fields: tuple[bytes, bytes]) -> Forwarded:
    return Forwarded((Seen(has=fields),))


def hop_rows() -> Iterator[Case]:
    for fields, names in (
        (("Connection: keep-alive",), (b"connection",)),
        (("Connection: keep-alive", "Keep-Alive: timeout=5"), (b"connection", b"keep-alive")),
        (("Keep-Alive: timeout=5",), (b"keep-alive",)),
        (("Proxy-Connection: keep-alive",), (b"proxy-connection",)),
        (("TE: trailers",), (b"te",)),
        (("Connection: TE", "TE: trailers, deflate"), (b"te", b"connection")),
        (("Trailer: X-Trailer",), (b"trailer",)),
        (("Proxy: http://evil.example/",), (b"proxy",)),
        (("HTTP2-Settings: AAMAAABkAAQAAP__",), (b"http2-settings",)),
        (("Connection: Max-Forwards", "Max-Forwards: 5"), (b"max-forwards",)),
        (("Proxy-Authorization: Basic eDp5",), (b"proxy-authorization",)),
        (("Upgrade: foo",), (b"upgrade",)),
        (("Connection: upgrade", "Upgrade: foo/2"), (b"upgrade", b"connection")),
        (("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"), (b"upgrade",
        b"http2-settings", b"connection")),
        (("Connection: X-A", "X-A: 1"), (b"x-a",)),
        (("Connection: x-a", "X-A: 1", "x-A: 2"), (b"x-a",)),
        (("X-A: 1", "Connection: X-A"), (b"x-a",)),
        (("Connection: keep-alive, X-A , X-B", "X-A: 1", "X-B: 1"), (b"x-a", b"x-b")),
        (("Connection: X-A", "Connection: X-B", "X-A: 1", "X-B: 1"), (b"x-a", b"x-b", b"connection")),
        (("Connection: ,, X-A,,", "X-A: 1"), (b"x-a",)),
        (("Connection:\tX-A\t", "X-A: 1"), (b"x-a",)),
        (("Connection: X-A, X-A", "X-A: 1"), (b"x-a",)),
        (("Connection: Accept-Language", "Accept-Language: en"), (b"accept-language",)),
    ):  # fmt: skip
        yield Case(name=" + ".join(fields), why=HOP, sends=get(*fields), expect=lacks(*names))
    for value in ("", ",", " , "):
        why = "RFC 9110, 5.6.1: empty members of a list are ignored"
        sends = get(f"Connection: {value}", "X-A: 1")
        yield Case(name=f"Connection: {value!r}", why=why, sends=sends, expect=has((b"x-a", b"1")))
    for value in ("X A", "X-A;q=1", '"X-A"', "X-A: 1", "close;x", "(x)", "X-Á"):
        yield Case(
            name=f"Connection: {value!r}",
            why="RFC 9110, 7.6.1: connection-option is a token. Refused, or the nonsense names nothing",
            sends=get(f"Connection: {value}", "X-A: 1"),
            expect=AnyOf((has((b"x-a", b"1")), lacks(b"connection"), Refused())),
        )


def kept_rows() -> Iterator[Case]:
    for name in ("Cookie", "Authorization", "X-Request-Id", "Via", "traceparent"):
        value = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" if name == "traceparent" else "abc"
        sent = b"abc, 1.1 microgateway" if name == "Via" else value.encode()
        if name == "Via":
            continue
        yield Case(
            name=f"Connection: {name}",
            why=KEPT,
            sends=get(f"Connection: {name}", f"{name}: {value}"),
            expect=has((name.lower().encode(), sent)),
        )
    for name in (
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Port",
        "X-Real-IP",
        "Via",
        "Host",
    ):
        yield Case(
            name=f"Connection: {name}",
            why=KEPT,
            sends=get(f"Connection: close, {name}"),
            expect=StillThere(name.lower().encode()),
        )
    body = "Content-Length: 5"
    for name in ("Content-Length", "Transfer-Encoding", "Host, Content-Length", "content-type"):
        has_type = ((b"content-length", b"5"),)
        yield Case(
            name=f"Connection: {name} on a body",
            why=KEPT,
            sends=lines("POST /x HTTP/1.1", "Host: a.example", f"Connection: {name}", body) + b"hello",
            expect=Forwarded((Seen(method=b"POST", body=b"hello", has=has_type),)),
        )
    yield Case(
        name="Connection: Transfer-Encoding on chunks",
        why=KEPT,
        sends=lines(
            "POST /x HTTP/1.1", "Host: a.example", "Connection: Transfer-Encoding", "Transfer-Encoding: chunked"
        )
        + b"5\r\nhello\r\n0\r\n\r\n",
        expect=Forwarded((Seen(method=b"POST", body=b"hello"),)),
    )


class StillThere(Forwarded):
    """The field is there once, said by the gateway, though the client named it in Connection."""

    def __init__(self, name: bytes) -> None:
        super().__init__((Named(name),), closes=True)


class Named(Seen):
    def __init__(self, name: bytes) -> None:
        super().__init__()
        object.__setattr__(self, "lacks", (b"connection",))
        object.__setattr__(self, "has", ())
        object.__setattr__(self, "body", b"")
        self.__dict__["name"] = name

    def check(self, request: RecordedRequest) -> None:
        super().check(request)
        assert len(request.all(self.__dict__["name"])) == 1, request.head.raw


def end_to_end_rows() -> Iterator[Case]:
    for name, fields, expect in (
        ("three lines with one name", ("X-A: 1", "X-B: 2", "X-A: 3", "X-A: 1"), ((b"x-a", b"1"), (b"x-b", b"2"),
        (b"x-a", b"3"), (b"x-a", b"1"))),
        ("two Cookie lines", ("Cookie: a=1", "Cookie: b=2; c=3"), ((b"cookie", b"a=1"), (b"cookie", b"b=2; c=3"))),
        ("two Accept lines", ("Accept: a/b", "Accept: */*"), ((b"accept", b"a/b"), (b"accept", b"*/*"))),
        ("conditional fields", ('If-None-Match: "x", W/"y"', "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT"),
        ((b"if-none-match", b'"x", W/"y"'),)),
        ("a range", ("Range: bytes=0-1,5-", 'If-Range: "x"'), ((b"range", b"bytes=0-1,5-"), (b"if-range", b'"x"'))),
        ("encodings", ("Accept-Encoding: gzip;q=1.0, identity; q=0.5, *;q=0",), ((b"accept-encoding",
        b"gzip;q=1.0, identity; q=0.5, *;q=0"),)),
        ("the user agent", ("User-Agent: x/1 (y; z)",), ((b"user-agent", b"x/1 (y; z)"),)),
        ("Cache-Control and Pragma", ("Cache-Control: no-cache", "Pragma: no-cache"), ((b"cache-control",
        b"no-cache"), (b"pragma", b"no-cache"))),
        ("Basic credentials", ("Authorization: Basic eDp5",), ((b"authorization", b"Basic eDp5"),)),
        ("Origin and Referer", ("Origin: null", "Referer: http://a.example/?x"), ((b"origin", b"null"), (b"referer", b"http://a.example/?x"))),
        ("a name with an underscore", ("X_A: 1",), ((b"x_a", b"1"),)),
        ("a name of one letter", ("Z: 1",), ((b"z", b"1"),)),
        ("tracestate and baggage", ("tracestate: a=b", "baggage: c=d"), ((b"tracestate", b"a=b"), (b"baggage",
        b"c=d"))),
    ):  # fmt: skip
        yield Case(name=name, why=ORDER, sends=get(*fields), expect=has(*expect))
    for name in (
        "X_Forwarded_For", "x_forwarded_for", "X-Forwarded_For", "X_Forwarded-For", "X_Real_IP", "X_Forwarded_Host",
        "X_Forwarded_Proto",
        "X_Forwarded_Port", "X_API_Key", "x_api-key", "Transfer_Encoding", "Content_Length",
    ):  # fmt: skip
        yield Case(name=f"{name}: 1", why=LOOK_ALIKE, sends=get(f"{name}: 1"), expect=lacks(name.lower().encode()))


@pytest.mark.parametrize("case", [*hop_rows(), *kept_rows(), *end_to_end_rows()], ids=str)
def test_request_fields(pair: Pair, case: Case) -> None:
    check(case, pair.gateway, pair.upstream)


# -- answers -----------------------------------------------------------------------------------------------------------


def relayed(pair: Pair, *fields: str, status: int = 200, body: bytes = b"ok", asked: bytes | None = None) -> Answer:
    pair.upstream.forget()
    pair.upstream.script(Send(answer(status, *fields, body=body)))
    with pair.gateway.connect() as client:
        return client.ask(asked or get())


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        (("Connection: keep-alive", "Keep-Alive: timeout=5, max=100"), (b"keep-alive", b"connection")),
        (("Connection: X-Hop", "X-Hop: 1"), (b"x-hop", b"connection")),
        (("Connection: x-hop, X-OTHER", "X-Hop: 1", "x-other: 2"), (b"x-hop", b"x-other")),
        (("Proxy-Connection: keep-alive",), (b"proxy-connection",)),
        (("Trailer: X-Trailer",), (b"trailer",)),
        (("Upgrade: h2c",), (b"upgrade",)),
        (("Connection: upgrade", "Upgrade: h2,h2c"), (b"upgrade", b"connection")),
        (("TE: trailers",), (b"te",)),
    ],
)
def test_hop_by_hop_fields_of_an_answer(pair: Pair, fields: tuple[str, ...], names: tuple[bytes, ...]) -> None:
    got = relayed(pair, *fields)
    assert got.status == 200
    assert not got.head.names() & set(names), got.head.raw


def test_order_and_repetition_of_an_answers_fields(pair: Pair) -> None:
    """RFC 6265, 3: Set-Cookie lines are never joined; RFC 9110, 5.3: lines with one name keep their order."""
    fields = (
        "X-A: 1",
        "Set-Cookie: a=1; Path=/",
        "X-B: 2",
        "Set-Cookie: b=2, c",
        "Set-Cookie: a=1; Path=/",
        "X-A: 3",
        "Link: <x>; rel=a",
        "Link: <y>",
    )
    got = relayed(pair, *fields)
    wanted = {b"x-a", b"x-b", b"set-cookie", b"link"}
    kept = [(name.lower(), value) for name, value in got.head.fields if name.lower() in wanted]
    assert kept == [(line.partition(": ")[0].lower().encode(), line.partition(": ")[2].encode()) for line in fields]


@pytest.mark.parametrize(
    "line",
    ["Server: x/1 (y)", "Date: Thu, 01 Jan 1970 00:00:00 GMT", 'ETag: W/"x"', "Location: http://127.0.0.1/x",
    "WWW-Authenticate: Basic realm=\"x\"", "Retry-After: 1",
     "Content-Encoding: gzip", "Content-Range: bytes 0-1/5", "Vary: *", "Strict-Transport-Security: max-age=1",
     "Alt-Svc: clear", "X-Empty:", "X-Obs: caf\xe9",
     "Age: 0", "Allow: GET", "Accept-Ranges: bytes", "Content-Type: text/plain;charset=utf-8",
     "Cache-Control: no-store", "Via: 1.1 other"],
)  # fmt: skip
def test_an_end_to_end_field_of_an_answer(pair: Pair, line: str) -> None:
    got = relayed(pair, line)
    name, _, value = line.encode("latin-1").partition(b":")
    assert got.all(name)[0].startswith(value.strip()), got.head.raw
    assert len(got.all(name)) <= (2 if name == b"Via" else 1), got.head.raw


@pytest.mark.parametrize("status", [200, 201, 202, 203, 206, 207, 226, 300, 301, 302, 303, 307, 308, 400, 401, 402,
403, 404, 405, 406, 407, 408, 409, 410, 411,
                                    412, 413, 414, 415, 416, 417, 418, 421, 422, 423, 424, 425, 426, 428, 429, 431,
                                    451, 499, 500, 501, 502, 503, 504, 505, 507, 511, 599])  # fmt: skip
def test_a_status_of_the_upstream_is_its_own(pair: Pair, status: int) -> None:
    """Whatever the upstream decides is its answer: status, reason and body, a gateway's numbers too."""
    got = relayed(pair, status=status, body=b"its own")
    assert (got.status, got.body) == (status, b"its own")
    assert got.head.start == b"HTTP/1.1 %d Scripted" % status


@pytest.mark.parametrize(
    "line",
    [
        "HTTP/1.1 200 ",
        "HTTP/1.1 200 Very well",
        "HTTP/1.1 200 caf\xe9",
        "HTTP/1.1 299 !",
        "HTTP/1.1 200 a\tb",
        "HTTP/1.0 200 OK",
    ],
)
def test_a_reason_is_passed_on_or_dropped(pair: Pair, line: str) -> None:
    """RFC 9112, 4: it means nothing, so it may be dropped; our own version goes before it."""
    pair.upstream.forget()
    pair.upstream.script(Send(lines(line, "Content-Length: 2", "Connection: close") + b"ok"))
    with pair.gateway.connect() as client:
        got = client.ask(get())
    assert got.head.start.startswith(b"HTTP/1.1 2"), got.head.start
    assert got.body == b"ok"


# -- credentials -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["X-API-Key", "x-api-key", "X-Api-KEY"])
@pytest.mark.parametrize("auth", ["none", "required"])
@pytest.mark.parametrize("forwards", [False, True])
def test_an_api_key_goes_on_only_where_the_route_says_so(spelling: str, auth: str, forwards: bool) -> None:
    issued = key()
    routes = [route("/", auth=auth, forward_credentials=forwards)]
    with running_pair(routes=routes, keys=[issued.entity]) as pair, pair.gateway.connect() as client:
        assert client.ask(get(f"{spelling}: {issued.secret}")).status == 200
        assert pair.upstream.requests[0].all(b"x-api-key") == ([issued.secret.encode()] if forwards else [])
        assert issued.secret.encode() not in pair.upstream.connections[0].received or forwards


@pytest.mark.parametrize(
    "fields",
    [(), ("X-API-Key:",), ("X-API-Key: x",), ("X_API_Key: {key}",), ("X-API-Key: {key}x",), ("X-API-Key: {key}",
    "X-API-Key: {key}"), ("X-API-Key: {key}, {key}",),
     ("X-API-Key: x", "X-API-Key: {key}"), ("Authorization: Basic {key}",), ("Cookie: X-API-Key={key}",),
     ("X-API-Key: Bearer {key}",), ('X-API-Key: "{key}"',),
     ("Connection: X-API-Key",), ("X-API-Key2: {key}",)],
)  # fmt: skip
def test_without_a_key_nothing_gets_through(fields: tuple[str, ...]) -> None:
    """401, with a challenge (RFC 9110, 11.6.1), and the upstream never hears of it."""
    issued = key()
    with (
        running_pair(routes=[route("/", auth="required")], keys=[issued.entity]) as pair,
        pair.gateway.connect() as client,
    ):
        got = client.ask(get(*(field.format(key=issued.secret) for field in fields)))
        assert got.status == 401, got
        assert got.one(b"www-authenticate")
        assert issued.secret not in got.body.decode()
        got.problem()
        assert pair.upstream.requests == []


def test_a_key_named_in_connection_is_still_a_key() -> None:
    """http.md: Connection never names away authentication fields."""
    issued = key()
    with (
        running_pair(routes=[route("/", auth="required")], keys=[issued.entity]) as pair,
        pair.gateway.connect() as client,
    ):
        assert client.ask(get("Connection: X-API-Key", f"X-API-Key: {issued.secret}")).status == 200


# -- what every answer says --------------------------------------------------------------------------------------------


def test_a_limited_answer_says_how_much_is_left() -> None:
    """IETF httpapi draft -11 and the X-RateLimit fields, once each, whatever the upstream says; 429 has Retry-After."""
    issued = key(per_minute=60, burst=2)
    with running_pair(routes=[route("/", auth="required")], keys=[issued.entity]) as pair:
        pair.upstream.script(
            Send(
                answer(
                    200, "X-RateLimit-Limit: 999", "X-RateLimit-Remaining: 998", "RateLimit: x", "RateLimit-Policy: y"
                )
            )
        )
        with pair.gateway.connect() as client:
            answers = [client.ask(get(f"X-API-Key: {issued.secret}")) for _ in range(3)]
    assert [got.status for got in answers] == [200, 200, 429]
    assert [got.one(b"x-ratelimit-remaining") for got in answers] == [b"1", b"0", b"0"]
    for got in answers:
        assert got.one(b"ratelimit-policy") == b'"default";q=60;w=60'
        assert got.one(b"x-ratelimit-limit") == b"60"
        assert (got.one(b"ratelimit") or b"").startswith(b'"default";r=')
        assert int(got.one(b"x-ratelimit-reset") or b"-1") >= 0
    assert answers[2].one(b"retry-after") == b"1"
    assert answers[2].problem()["stage"]


def test_an_open_circuit_says_when_to_come_back() -> None:
    from_upstream = answer(500, body=b"its own")
    with (
        running_pair(circuit_failure_threshold=2, circuit_recovery_timeout=20) as pair,
        pair.gateway.connect() as client,
    ):
        pair.upstream.usually(Send(from_upstream))
        answers = [client.ask(get()) for _ in range(3)]
        assert [got.status for got in answers] == [500, 500, 503]
        assert 1 <= int(answers[2].one(b"retry-after") or b"0") <= 20
        answers[2].problem()
        assert len(pair.upstream.requests) == 2


def test_a_problem_names_nothing_internal() -> None:
    """http.md: nothing internal leaks into an error page: no address, no module, no trace."""
    with running_upstream() as gone:
        url = gone.url
    with (
        running_gateway(services=[service(url)], routes=[route("/")], settings=settings()) as gateway,
        gateway.connect() as client,
    ):
        got = client.ask(get())
        assert got.status == 502
        problem = got.problem()
        assert problem["request_id"] == (got.one(b"x-request-id") or b"").decode()
        text = got.head.raw + got.body
        for secret in (
            url[7:].encode(),
            b"127.0.0.1",
            b"Traceback",
            b"Error:",
            b".py",
            b"uvloop",
            b"asyncio",
            b"httptools",
            b"python",
        ):
            assert secret not in text, text


def test_405_says_what_is_allowed(pair: Pair) -> None:
    """RFC 9110, 15.5.6."""
    routes = [route("/a", methods=["GET", "PUT"]), route("/a/b", methods=["DELETE"])]
    with running_pair(routes=routes) as pair, pair.gateway.connect() as client:
        got = client.ask(lines("POST /a HTTP/1.1", "Host: a.example"))
    assert got.status in (401, 405)
    if got.status == 405:
        assert got.one(b"allow") == b"GET, PUT"
