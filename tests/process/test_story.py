"""The story that the gateway is for, told from outside: two ports, an operator, a client and an upstream."""

import time
from collections.abc import Iterator

import pytest

from tests.kit.client import Answer, Client
from tests.kit.upstream import Upstream, running_upstream
from tests.kit.waiting import until
from tests.process.gateway import ENTRIES, Gateway, assert_problem, request, running_gateway
from tests.process.stoppable import StoppableUpstream, stoppable_upstream

FAILURE_THRESHOLD = 3
RECOVERY = 1.0  # seconds
STORIES = 10  # told until the machine is quick enough for one: what is to happen within RECOVERY must happen within it
PROBES = 2


@pytest.fixture(scope="module", params=list(ENTRIES))
def gateway(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One for the module; a test configures what it needs under a path of its own."""
    with running_gateway(
        tmp_path_factory.mktemp("story") / "data",
        entry=request.param,
        CIRCUIT_FAILURE_THRESHOLD=str(FAILURE_THRESHOLD),
        CIRCUIT_RECOVERY_TIMEOUT=str(RECOVERY),
        CIRCUIT_HALF_OPEN_MAX_CALLS=str(PROBES),
    ) as gateway:
        yield gateway


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        yield upstream


@pytest.fixture
def shop() -> Iterator[StoppableUpstream]:
    with stoppable_upstream() as upstream:
        yield upstream


class TestPipeline:
    def test_what_is_announced_works(self, gateway: Gateway) -> None:
        assert gateway.operator.readiness() == 200
        assert gateway.operator.http.get("/health").json()["status"] == "ok"
        assert_problem(gateway.ask(request("/")), 401, "api_key_missing", "auth")

    def test_service_route_and_key_let_a_request_through(self, gateway: Gateway, upstream: Upstream) -> None:
        operator = gateway.operator
        service = operator.create("services", name="users", base_url=upstream.url)
        operator.create("routes", path="/users", service_id=service["id"], methods=["GET"])
        key = operator.create("keys", name="client")["key"]

        assert_problem(gateway.ask(request("/users/1")), 401, "api_key_missing", "auth")
        assert_problem(gateway.ask(request("/users/1", key[:-1] + "!")), 401, "api_key_invalid", "auth")
        assert upstream.requests == []

        answer = gateway.ask(request("/users/1?full=1", key))
        assert (answer.status, answer.body) == (200, b"GET /users/1?full=1")
        assert upstream.requests[0].all(b"x-api-key") == []

        assert_problem(gateway.ask(request("/nothing-here", key)), 404, "route_not_found", "router")
        refused = gateway.ask(request("/users/1", key, method="DELETE"))
        assert_problem(refused, 405, "method_not_allowed", "router")
        assert refused.one(b"allow") in (b"GET", b"GET, HEAD")
        assert len(upstream.requests) == 1

    def test_the_eleventh_of_a_burst_of_ten_is_refused(self, gateway: Gateway, upstream: Upstream) -> None:
        gateway.operator.create_public_route("/burst", upstream.url, auth="required")
        key = gateway.operator.create("keys", name="hasty", requests_per_minute=1, burst_size=10)
        with gateway.connect() as client:
            answers = [client.ask(request("/burst", key["key"])) for _ in range(12)]
        assert [answer.status for answer in answers] == [200] * 10 + [429] * 2
        assert [answer.one(b"x-ratelimit-remaining") for answer in answers[:10]] == [
            b"%d" % n for n in range(9, -1, -1)
        ]
        for refused in answers[10:]:
            assert_problem(refused, 429, "rate_limited", "rate_limit")
            assert 1 <= int(refused.one(b"retry-after") or 0) <= 60
        assert len(upstream.requests) == 10
        until(lambda: usage_of(gateway, key["id"]) == (12, 2), "all twelve are counted")

    def test_an_upstream_that_goes_and_comes_back(self, gateway: Gateway, shop: StoppableUpstream) -> None:
        service = gateway.operator.create_public_route("/shop", shop.url)
        ask_shop = request("/shop")
        with gateway.connect() as client:
            assert client.ask(ask_shop).status == 200
            shop.stop()
            tripped = (trip(gateway, client, service["id"]) for _ in range(STORIES))
            refused, state, last_failure = next(trip for trip in tripped if time.monotonic() < trip[2] + RECOVERY)
            assert_circuit_open(refused)
            assert state == "open"

            shop.start()
            asked_before = shop.asked
            until(lambda: is_open_no_more(client.ask(ask_shop)), "the circuit asks the upstream again")
            assert time.monotonic() - last_failure >= RECOVERY
            assert shop.asked == asked_before + 1, "the upstream was asked before its time"
            assert [client.ask(ask_shop).status for _ in range(5)] == [200] * 5
        assert circuit_of(gateway, service["id"]) == "closed"


class TestInForce:
    """What an admin call has answered is what the very next request meets, though its connection was open before."""

    def test_keys(self, gateway: Gateway, upstream: Upstream) -> None:
        gateway.operator.create_public_route("/keyed", upstream.url, auth="required")
        with gateway.connect() as client:
            for number in range(50):
                key = gateway.operator.create("keys", name=f"key {number}")
                assert client.ask(request("/keyed", key["key"])).status == 200
                gateway.operator.delete("keys", key["id"])
                assert_problem(client.ask(request("/keyed", key["key"])), 401, "api_key_disabled", "auth")
        assert len(upstream.requests) == 50

    def test_limits(self, gateway: Gateway, upstream: Upstream) -> None:
        gateway.operator.create_public_route("/limited", upstream.url, auth="required")
        key = gateway.operator.create("keys", name="limited", requests_per_minute=1, burst_size=1)
        with gateway.connect() as client:
            for burst_size in range(2, 12):
                assert client.ask(request("/limited", key["key"])).status == 200
                assert_problem(client.ask(request("/limited", key["key"])), 429, "rate_limited", "rate_limit")
                gateway.operator.change("keys", key["id"], burst_size=burst_size)

    def test_routes(self, gateway: Gateway, upstream: Upstream) -> None:
        service = gateway.operator.create("services", name="routed", base_url=upstream.url)
        key = gateway.operator.create("keys", name="routed", burst_size=1_000)["key"]
        with gateway.connect() as client:
            for number in range(20):
                path = f"/routed/{number}"
                assert_problem(client.ask(request(path, key)), 404, "route_not_found", "router")
                route = gateway.operator.create("routes", path=path, service_id=service["id"])
                assert client.ask(request(path, key)).status == 200
                gateway.operator.change("routes", route["id"], methods=["POST"])
                assert_problem(client.ask(request(path, key)), 405, "method_not_allowed", "router")
                gateway.operator.delete("routes", route["id"])

    def test_services(self, gateway: Gateway, upstream: Upstream) -> None:
        service = gateway.operator.create_public_route("/moved", upstream.url)
        with running_upstream() as other, gateway.connect() as client:
            for number in range(20):
                here, there = (upstream, other) if number % 2 else (other, upstream)
                gateway.operator.change("services", service["id"], base_url=here.url)
                reached = len(here.requests), len(there.requests)
                assert client.ask(request("/moved")).status == 200
                assert (len(here.requests), len(there.requests)) == (reached[0] + 1, reached[1])
                gateway.operator.change("services", service["id"], enabled=False)
                assert_problem(client.ask(request("/moved")), 503, "service_disabled", "router")
                gateway.operator.change("services", service["id"], enabled=True)


def trip(gateway: Gateway, client: Client, service_id: str) -> tuple[Answer, str, float]:
    """Fails until the circuit opens: what is answered then, what the circuit says, and when the last failure was."""
    gateway.operator.http.post(f"/api/circuit-breakers/{service_id}/reset")
    last_failure = time.monotonic()
    for _ in range(FAILURE_THRESHOLD):
        last_failure = time.monotonic()
        assert_problem(client.ask(request("/shop")), 502, "upstream_unreachable", "proxy")
    return client.ask(request("/shop")), circuit_of(gateway, service_id), last_failure


def usage_of(gateway: Gateway, key_id: str) -> tuple[int, int]:
    key = next(item for item in gateway.operator.all("keys") if item["id"] == key_id)
    return key["total_requests"], key["rejected_requests"]


def circuit_of(gateway: Gateway, service_id: str) -> str:
    circuit: str = gateway.operator.http.get(f"/api/services/{service_id}").json()["circuit"]
    return circuit


def assert_circuit_open(answer: Answer) -> None:
    assert_problem(answer, 503, "circuit_open", "circuit_breaker")
    assert answer.one(b"retry-after") == b"1"


def is_open_no_more(answer: Answer) -> bool:
    """Until then the circuit answers, and nobody else."""
    if answer.status == 200:
        return True
    assert_circuit_open(answer)
    return False
