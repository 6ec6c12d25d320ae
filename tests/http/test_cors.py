"""Browsers: what they ask before, and what they are told with every answer (the Fetch standard's CORS protocol)."""

from collections.abc import Iterator

import pytest

from tests.kit.client import Answer
from tests.kit.configuration import key, route
from tests.kit.fixtures import Pair, running_pair
from tests.kit.messages import lines
from tests.kit.steps import Send

APP = "https://app.example"
CORS = {"allow_origins": [APP, "https://*.team.example"], "expose_headers": ["RateLimit"], "allow_credentials": True}
ISSUED = key(per_minute=60, burst=4)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    routes = [
        route("/api", auth="required", methods=["GET", "PUT"], cors=CORS),
        route("/api", id="other", auth="required", methods=["DELETE"], cors={"allow_origins": ["https://d.example"]}),
        route("/beta", headers=[{"name": "X-Beta"}], cors={"allow_origins": ["*"], "allow_methods": ["*"]}),
        route("/inside", cors=CORS, allow_addresses=["10.0.0.0/8"]),
        route("/", id="rest"),
    ]
    with running_pair(routes=routes, keys=[ISSUED.entity]) as running:
        yield running


def preflight(pair: Pair, path: str, method: str = "PUT", origin: str = APP) -> Answer:
    with pair.gateway.connect() as client:
        return client.ask(
            lines(
                f"OPTIONS {path} HTTP/1.1",
                "Host: a.example",
                f"Origin: {origin}",
                f"Access-Control-Request-Method: {method}",
                "Access-Control-Request-Headers: x-api-key",
            ),
            b"OPTIONS",
        )


def get(path: str, *fields: str) -> bytes:
    return lines(f"GET {path} HTTP/1.1", "Host: a.example", *fields)


@pytest.mark.parametrize("origin", [APP, "https://x.y.team.example"])
def test_a_preflight_needs_no_key_and_does_not_reach_the_service(pair: Pair, origin: str) -> None:
    known = len(pair.upstream.requests)
    answer = preflight(pair, "/api/things", origin=origin)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.one(b"access-control-allow-origin") == origin.encode()
    assert answer.one(b"access-control-allow-methods") == b"GET, PUT"
    assert answer.one(b"access-control-allow-headers") == b"Authorization, Content-Type, X-API-Key"
    assert answer.one(b"access-control-allow-credentials") == b"true"
    assert answer.one(b"access-control-max-age") == b"600"
    assert answer.one(b"vary") == b"Origin"
    assert answer.one(b"content-length") is None
    assert answer.one(b"ratelimit") is None
    assert pair.upstream.requests_since(known) == []


def test_another_origin_is_allowed_nothing(pair: Pair) -> None:
    answer = preflight(pair, "/api", origin="https://evil.example")
    assert answer.status == 204
    assert [name for name in answer.head.names() if name.startswith(b"access-control-")] == []


def test_the_route_of_the_request_to_come_answers(pair: Pair) -> None:
    assert preflight(pair, "/api", "DELETE", "https://d.example").one(b"access-control-allow-methods") == b"DELETE"
    assert preflight(pair, "/api", "DELETE").one(b"access-control-allow-origin") is None
    beta = preflight(pair, "/beta")
    assert beta.one(b"access-control-allow-origin") == b"*", "a preflight has none of the fields of what follows"
    assert (beta.one(b"access-control-allow-methods"), beta.one(b"vary")) == (b"*", None)


def test_any_other_options_request_goes_its_usual_way(pair: Pair) -> None:
    """No route of `/api` takes OPTIONS, so the one for `/` does; and a preflight for it is the service's to answer."""
    known = len(pair.upstream.requests)
    with pair.gateway.connect() as client:
        assert client.ask(lines("OPTIONS /api HTTP/1.1", "Host: a", f"Origin: {APP}"), b"OPTIONS").status == 200
        assert client.ask(lines("OPTIONS /api HTTP/1.1", "Host: a"), b"OPTIONS").status == 200
    assert preflight(pair, "/elsewhere").status == 200
    assert len(pair.upstream.requests_since(known)) == 3


def test_preflights_are_not_counted_and_every_answer_can_be_read(pair: Pair) -> None:
    """401 and 429 too: a page that can't read them can't tell its user what is wrong."""
    with pair.gateway.connect() as client:
        unknown = client.ask(get("/api", f"Origin: {APP}"))
        answers = [client.ask(get("/api", f"Origin: {APP}", f"X-API-Key: {ISSUED.secret}")) for _ in range(2)]
        for _ in range(5):
            assert preflight(pair, "/api").status == 204
        answers += [client.ask(get("/api", f"Origin: {APP}", f"X-API-Key: {ISSUED.secret}")) for _ in range(3)]
    assert [answer.status for answer in (unknown, *answers)] == [401, 200, 200, 200, 200, 429]
    for answer in (unknown, *answers):
        assert answer.one(b"access-control-allow-origin") == APP.encode()
        assert answer.one(b"access-control-expose-headers") == b"RateLimit"
        assert answer.one(b"access-control-allow-credentials") == b"true"
        assert answer.one(b"vary") == b"Origin"


def test_a_refused_address_is_not_even_told_by_preflight(pair: Pair) -> None:
    assert preflight(pair, "/inside").status == 403
    with pair.gateway.connect() as client:
        refused = client.ask(get("/inside", f"Origin: {APP}"))
    assert (refused.status, refused.one(b"access-control-allow-origin")) == (403, APP.encode())


def test_what_the_service_says_of_it_is_replaced() -> None:
    with running_pair(routes=[route("/", cors=CORS)]) as pair, pair.gateway.connect() as client:
        theirs = ("Access-Control-Allow-Origin: *", "access-control-expose-headers: X", "Vary: Accept, origin")
        for origin, allowed in (([f"Origin: {APP}"], APP.encode()), (["Origin: https://b.example"], None), ([], None)):
            pair.upstream.script(Send(lines("HTTP/1.1 200 OK", *theirs, "Content-Length: 0")))
            answer = client.ask(get("/", *origin))
            assert answer.one(b"access-control-allow-origin") == allowed
            assert answer.one(b"access-control-expose-headers") == (b"RateLimit" if allowed else None)
            assert answer.one(b"vary") == b"Accept, origin"


def test_a_route_without_it_passes_on_what_the_service_says() -> None:
    with running_pair() as pair, pair.gateway.connect() as client:
        pair.upstream.script(Send(lines("HTTP/1.1 200 OK", "Access-Control-Allow-Origin: *", "Content-Length: 0")))
        assert client.ask(get("/", f"Origin: {APP}")).one(b"access-control-allow-origin") == b"*"
