"""What a route asks of a request, and changes in it and in its answer, over sockets."""

from collections.abc import Iterator

import pytest

from microgateway.snapshot import Snapshot
from microgateway.testing import CircuitPolicy
from tests.kit.configuration import key, route, service, settings
from tests.kit.fixtures import Pair, running_pair
from tests.kit.gateway import running_gateway
from tests.kit.messages import lines
from tests.kit.steps import Send
from tests.kit.upstream import RecordedRequest

EDITS = {
    "set": {"X-Team": "red", "Accept": "text/plain"},
    "add": {"X-Tag": "gateway"},
    "remove": ["cookie"],
}
KEY = key()
ANSWER_EDITS = {"set": {"Server": "hidden"}, "add": {"Set-Cookie": "own=1"}, "remove": ["X-Powered-By"]}


def get(path: str, *fields: str) -> bytes:
    return lines(f"GET {path} HTTP/1.1", "Host: a.example", *fields)


def asked(pair: Pair, request: bytes) -> RecordedRequest:
    """The request as the service got it."""
    known = len(pair.upstream.requests)
    with pair.gateway.connect() as client:
        answer = client.ask(request)
    assert answer.status == 200, answer.body
    (sent,) = pair.upstream.requests_since(known)
    return sent


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    beta = [{"name": "X-Version", "pattern": "beta*"}]
    routes = [
        route("/shop", rewrite="/stable/{rest}"),
        route("/shop", id="beta", headers=beta, rewrite="/beta/{rest}"),
        route("/shop", id="debug", query=[{"name": "debug"}], headers=beta, rewrite="/debug/{rest}"),
        route("/users/{id}", rewrite="/u/{id}.json"),
        route("/only-json", headers=[{"name": "Accept", "value": "application/json"}], methods=["GET"]),
        route("/edited", request_headers=EDITS, response_headers=ANSWER_EDITS),
        route("/small", max_body_bytes=8),
        route("/large", max_body_bytes=0),
        route("/inside", allow_addresses=["10.0.0.0/8"]),
        route("/outside", deny_addresses=["10.1.0.0/16"]),
    ]
    with running_pair(routes=routes, keys=[KEY.entity], max_body_bytes=64, trusted_proxies="127.0.0.1") as running:
        yield running


@pytest.mark.parametrize(
    ("request_", "sent"),
    [
        (get("/shop/cart?x=%20&x"), b"/stable/cart?x=%20&x"),
        (get("/shop"), b"/stable"),
        (get("/shop/cart", "X-Version: beta-2"), b"/beta/cart"),
        (get("/shop/cart", "x-version: alpha"), b"/stable/cart"),
        (get("/shop/cart?debug", "X-Version: beta"), b"/debug/cart?debug"),
        (get("/shop/cart?debug"), b"/stable/cart?debug"),
        (get("/shop/../shop/a%2Fb//c"), b"/stable/a%2Fb//c"),
        (get("/users/7?full=1"), b"/u/7.json?full=1"),
    ],
    ids=str,
)
def test_conditions_choose_the_route_and_its_rewriting(pair: Pair, request_: bytes, sent: bytes) -> None:
    assert asked(pair, request_).target == sent


def test_a_route_whose_condition_fails_is_not_there(pair: Pair) -> None:
    credential = f"X-API-Key: {KEY.secret}"
    with pair.gateway.connect() as client:
        assert client.ask(get("/only-json", "Accept: application/json")).status == 200
        assert client.ask(get("/only-json", "Accept: text/html")).status == 401, "strangers are told nothing of routes"
        assert client.ask(get("/only-json", "Accept: text/html", credential)).status == 404
        put = ("PUT /only-json HTTP/1.1", "Host: a", credential)
        refused = client.ask(lines(*put, "Accept: application/json"))
        assert (refused.status, refused.one(b"allow")) == (405, b"GET")
        assert (refused.problem()["code"], refused.problem()["stage"]) == ("method_not_allowed", "router")
        assert client.ask(lines(*put)).status == 404


def test_a_route_for_get_takes_no_head(pair: Pair) -> None:
    with pair.gateway.connect() as client:
        fields = ("Host: a.example", "Accept: application/json", f"X-API-Key: {KEY.secret}")
        refused = client.ask(lines("HEAD /only-json HTTP/1.1", *fields), b"HEAD")
        assert (refused.status, refused.one(b"allow"), refused.body) == (405, b"GET", b"")


def test_a_request_that_comes_back_to_the_gateway_does_not_go_round_for_ever() -> None:
    """RFC 9110, 7.6: a message to oneself needs protection from an infinite loop. Each round adds a Via."""
    with running_gateway(services=[], routes=[], settings=settings(max_header_fields=24)) as gateway:
        itself = service(f"http://127.0.0.1:{gateway.port}")
        gateway.apply(Snapshot().with_table([itself], [route("/")], CircuitPolicy()))
        with gateway.connect() as client:
            answer = client.ask(get("/round"))
    assert (answer.status, answer.problem()["code"]) == (431, "header_fields_too_many")


def test_one_connection_changes_its_mind(pair: Pair) -> None:
    """A connection's fields are remembered from request to request: a condition must not be."""
    with pair.gateway.connect() as client:
        known = len(pair.upstream.requests)
        for version in ("beta", "alpha", "alpha", "beta"):
            assert client.ask(get("/shop", f"X-Version: {version}")).status == 200
        targets = [request.target for request in pair.upstream.requests_since(known)]
    assert targets == [b"/beta", b"/stable", b"/stable", b"/beta"]


def test_edits_of_a_request_leave_the_rest_alone(pair: Pair) -> None:
    sent = asked(pair, get("/edited", "X-Tag: 1", "Accept: */*", "Cookie: a=1", "X-Last: z", "X-Tag: 2", "Cookie: b=2"))
    own = (b"host", b"x-forwarded", b"x-real-ip", b"via", b"x-request-id", b"traceparent")
    kept = [(name, value) for name, value in sent.head.fields if not name.lower().startswith(own)]
    assert kept == [
        (b"X-Tag", b"1"), (b"X-Last", b"z"), (b"X-Tag", b"2"),
        (b"X-Team", b"red"), (b"Accept", b"text/plain"), (b"X-Tag", b"gateway"),
    ]  # fmt: skip


def test_edits_of_an_answer_leave_the_rest_alone(pair: Pair) -> None:
    fields = ("Server: s/1", "Set-Cookie: a=1", "X-Powered-By: p", "X-Z: 1", "Set-Cookie: b=2")
    pair.upstream.script(Send(lines("HTTP/1.1 200 OK", *fields, "Content-Length: 2") + b"ok"))
    with pair.gateway.connect() as client:
        answer = client.ask(get("/edited"))
    assert answer.all(b"set-cookie") == [b"a=1", b"b=2", b"own=1"]
    assert (answer.one(b"server"), answer.one(b"x-powered-by"), answer.one(b"x-z")) == (b"hidden", None, b"1")
    assert (answer.status, answer.body) == (200, b"ok")


def post(path: str, body: bytes) -> bytes:
    return lines(f"POST {path} HTTP/1.1", "Host: a.example", f"Content-Length: {len(body)}") + body


def chunked(path: str, *chunks: bytes) -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
    return lines(f"POST {path} HTTP/1.1", "Host: a.example", "Transfer-Encoding: chunked") + body


@pytest.mark.parametrize(
    ("path", "size", "status"),
    [("/small", 8, 200), ("/small", 9, 413), ("/shop", 64, 200), ("/shop", 65, 413), ("/large", 500, 200)],
)
def test_a_route_has_a_body_limit_of_its_own(pair: Pair, path: str, size: int, status: int) -> None:
    for request in (post(path, b"x" * size), chunked(path, b"x" * 5, b"x" * (size - 5))):
        known = len(pair.upstream.requests)
        with pair.gateway.connect() as client:
            answer = client.ask(request, b"POST")
        assert answer.status == status
        if status == 413:
            assert answer.problem()["code"] == "body_too_large"
            assert pair.upstream.requests_since(known) == []


def test_a_body_that_grows_too_large_on_its_way_is_cut_off(pair: Pair) -> None:
    with pair.gateway.connect() as client:
        client.send(lines("POST /small HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n")
        pair.upstream.wait_until(lambda: pair.upstream.open_connections() > 0, "the request began")
        client.send(b"5\r\nworld\r\n0\r\n\r\n")
        assert client.read_answer(b"POST").status == 413
    pair.upstream.violations.clear()  # the service saw the beginning only, which is the point


@pytest.mark.parametrize(
    ("path", "client_address", "status"),
    [
        ("/inside", "10.9.9.9", 200), ("/inside", "192.0.2.1", 403), ("/inside", None, 403),
        ("/outside", "10.9.9.9", 200), ("/outside", "10.1.9.9", 403), ("/outside", None, 200),
    ],
)  # fmt: skip
def test_addresses_are_those_of_the_client(pair: Pair, path: str, client_address: str | None, status: int) -> None:
    fields = [f"X-Forwarded-For: {client_address}"] if client_address else []
    with pair.gateway.connect() as client:
        answer = client.ask(get(path, *fields))
    assert answer.status == status
    if status == 403:
        assert (answer.problem()["code"], answer.problem()["stage"]) == ("address_not_allowed", "router")


def test_a_stranger_is_told_nothing_of_addresses() -> None:
    """The order of answers: 401, then 429, then 403, and 403 before the service's own state."""
    issued = key(per_minute=60, burst=1)
    guarded = route("/", auth="required", allow_addresses=["10.0.0.0/8"])
    with (
        running_pair(routes=[guarded], keys=[issued.entity], service_fields={"enabled": False}) as pair,
        pair.gateway.connect() as client,
    ):
        statuses = [client.ask(get("/", *fields)).status for fields in ([], *[[f"X-API-Key: {issued.secret}"]] * 2)]
    assert statuses == [401, 403, 429]
