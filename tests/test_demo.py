"""The demo upstream, started as the gateway starts it, and the sample data that speaks of it."""

import asyncio
import json
import shlex
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
import uvloop
from starlette.types import ASGIApp

from microgateway.demo import PORTS, DemoUpstreams, banner, seed_file, start_demo_upstreams
from microgateway.demo.server import listen
from microgateway.demo.shop import (
    MOST_ORDERS,
    OUTAGE_REQUESTS,
    Fate,
    Flakiness,
    orders_service,
    payments_service,
    users_service,
)
from microgateway.entities import ApiKeySpec, RouteSpec, ServiceSpec
from microgateway.errors import StartupError
from tests.kit.waiting import PATIENCE

ANY_PORT = dict.fromkeys(PORTS, 0)
REPOSITORY = Path(__file__).resolve().parent.parent
PARENT = """
import asyncio, json, os
from microgateway.demo import start_demo_upstreams

async def main():
    demo = await start_demo_upstreams(ports={"users": 0, "orders": 0, "payments": 0})
    print(json.dumps(demo.base_urls), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
async def demo() -> AsyncIterator[DemoUpstreams]:
    upstreams = await start_demo_upstreams(ports=ANY_PORT)
    yield upstreams
    await upstreams.close()


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(timeout=PATIENCE, trust_env=False) as client:
        yield client


def inside(app: ASGIApp) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://demo.test")


def fates(count: int, seed: int = 1) -> list[Fate]:
    flakiness = Flakiness(seed)
    return [flakiness.next_fate() for _ in range(count)]


def is_listening(url: str) -> bool:
    address = urlsplit(url)
    with socket.socket() as probe:
        return probe.connect_ex((address.hostname, address.port)) == 0


class TestProcess:
    async def test_three_services_answer_on_their_own_ports(
        self, demo: DemoUpstreams, client: httpx2.AsyncClient
    ) -> None:
        assert list(demo.base_urls) == ["users", "orders", "payments"]
        for name, url in demo.base_urls.items():
            answer = await client.get(f"{url}/health")
            assert answer.json() == {"status": "ok"}
            assert answer.headers["x-demo-service"] == name

    async def test_a_taken_port_gives_way_to_a_free_one(self, client: httpx2.AsyncClient) -> None:
        with socket.create_server(("127.0.0.1", 0)) as squatter:
            taken = squatter.getsockname()[1]
            demo = await start_demo_upstreams(ports={**ANY_PORT, "users": taken})
            try:
                assert urlsplit(demo.base_urls["users"]).port != taken
                assert (await client.get(f"{demo.base_urls['users']}/users/1")).json() == {"id": 1, "name": "Ada"}
            finally:
                await demo.close()

    async def test_closing_frees_the_ports_and_may_be_repeated(self) -> None:
        demo = await start_demo_upstreams(ports=ANY_PORT)
        assert all(is_listening(url) for url in demo.base_urls.values())
        await demo.close()
        await demo.close()
        assert not any(is_listening(url) for url in demo.base_urls.values())

    async def test_a_cancelled_close_still_ends_the_child(self) -> None:
        demo = await start_demo_upstreams(ports=ANY_PORT)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):  # cancels at the first wait, when the child can't be gone yet
                await demo.close()
        await demo.close()
        assert not any(is_listening(url) for url in demo.base_urls.values())

    async def test_an_address_that_is_not_ours_is_a_clear_error(self, capfd: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(StartupError, match="did not start"):
            await start_demo_upstreams(host="192.0.2.1", ports=ANY_PORT)
        assert "can't listen on 192.0.2.1" in capfd.readouterr().err

    def test_it_starts_and_stops_on_uvloop_too(self) -> None:
        async def start_and_stop() -> bool:
            demo = await start_demo_upstreams(ports=ANY_PORT)
            listening = is_listening(demo.base_urls["payments"])
            await demo.close()
            return listening

        assert uvloop.run(start_and_stop())

    async def test_the_child_goes_when_its_parent_is_killed(self) -> None:
        parent = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PARENT, stdout=asyncio.subprocess.PIPE, cwd=REPOSITORY
        )
        assert parent.stdout is not None
        url = json.loads(await parent.stdout.readline())["users"]
        address = urlsplit(url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        parent.send_signal(signal.SIGKILL)
        assert await reader.read() == b""  # the child closes its ports, then its connections
        assert not is_listening(url)
        writer.close()
        await writer.wait_closed()
        await parent.communicate()

    async def test_alone_it_takes_its_ports_from_the_command_line_and_stops_at_sigterm(self) -> None:
        options = [part for name in PORTS for part in (f"--{name}", "0")]
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "microgateway.demo", *options), stdout=asyncio.subprocess.PIPE, cwd=REPOSITORY
        )
        assert child.stdout is not None
        urls = json.loads(await child.stdout.readline())
        assert set(urls) == set(PORTS)
        assert is_listening(urls["users"])
        child.terminate()
        await child.communicate()
        assert not is_listening(urls["users"])


class TestShop:
    async def test_echo_tells_what_arrived(self) -> None:
        async with inside(users_service()) as client:
            answer = await client.post("/echo?a=1&b", content=b"12345", headers={"X-Seen": "yes"})
        seen = answer.json()
        assert (seen["method"], seen["path"], seen["query"], seen["body_bytes"]) == ("POST", "/echo", "a=1&b", 5)
        assert ["x-seen", "yes"] in seen["headers"]

    async def test_an_unknown_user_is_not_found(self) -> None:
        async with inside(users_service()) as client:
            assert (await client.get("/users/99")).status_code == 404

    async def test_an_order_can_be_made_found_and_listed(self) -> None:
        async with inside(orders_service()) as client:
            made = await client.post("/orders", json={"user_id": 2, "product_id": 1})
            assert made.status_code == 201
            assert (await client.get(made.headers["location"])).json() == made.json()
            assert (await client.get("/users/2/orders")).json() == [made.json()]

    @pytest.mark.parametrize("body", [b"not json", b"[]", b"\xff"])
    async def test_what_is_no_order_is_refused(self, body: bytes) -> None:
        async with inside(orders_service()) as client:
            assert (await client.post("/orders", content=body)).status_code == 400

    async def test_old_orders_make_room(self) -> None:
        async with inside(orders_service()) as client:
            for _ in range(MOST_ORDERS):
                await client.post("/orders", json={})
            orders = (await client.get("/orders")).json()
        assert len(orders) == MOST_ORDERS
        assert orders[0]["id"] == 2

    async def test_payments_answers_as_its_fates_say(self) -> None:
        count = 40
        async with inside(payments_service(Flakiness(1), slow_seconds=0)) as client:
            statuses = [(await client.post("/payments")).status_code for _ in range(count)]
        assert statuses == [500 if fate is Fate.FAILED else 200 for fate in fates(count)]
        assert 500 in statuses

    async def test_health_is_not_flaky(self) -> None:
        async with inside(payments_service(Flakiness(1))) as client:
            assert {(await client.get("/health")).status_code for _ in range(60)} == {200}


class TestFlakiness:
    def test_the_seed_alone_decides(self) -> None:
        assert fates(500, seed=3) == fates(500, seed=3)
        assert fates(500, seed=3) != fates(500, seed=4)

    def test_about_a_quarter_fails_and_about_a_twelfth_is_slow(self) -> None:
        counts = Counter(fates(20_000))
        assert 0.21 < counts[Fate.FAILED] / 20_000 < 0.27
        assert 0.06 < counts[Fate.SLOW] / 20_000 < 0.10

    def test_failures_come_in_whole_outages(self) -> None:
        text = "".join("F" if fate is Fate.FAILED else "." for fate in fates(5_000)).rstrip("F")
        assert {len(run) % OUTAGE_REQUESTS for run in text.split(".")} == {0}

    def test_the_demo_shows_an_outage_within_the_first_burst_or_two(self) -> None:
        assert Fate.FAILED in fates(20, seed=7)


class TestSampleData:
    @pytest.fixture
    def seed(self) -> dict[str, list[dict[str, Any]]]:
        seed: dict[str, list[dict[str, Any]]] = json.loads(seed_file().read_text())
        return seed

    def test_every_entry_is_accepted_as_it_stands(self, seed: dict[str, list[dict[str, Any]]]) -> None:
        assert set(seed) == {"services", "routes", "keys"}
        names = {ServiceSpec.model_validate(service).name for service in seed["services"]}
        for route in seed["routes"]:
            assert route["service"] in names
            without_name = {field: value for field, value in route.items() if field != "service"}
            RouteSpec.model_validate({**without_name, "service_id": route["service"]})
        for key in seed["keys"]:
            ApiKeySpec.model_validate(key)

    def test_its_services_are_the_demo_s_own(self, seed: dict[str, list[dict[str, Any]]]) -> None:
        found = {service["name"]: urlsplit(service["base_url"]).port for service in seed["services"]}
        assert found == dict(PORTS)

    def test_no_well_known_key_lies_in_the_file(self) -> None:
        assert "mgw_live_" not in seed_file().read_text()

    def test_one_route_is_public(self, seed: dict[str, list[dict[str, Any]]]) -> None:
        assert [route["path"] for route in seed["routes"] if route.get("auth") == "none"] == ["/public"]


class TestBanner:
    text = banner(
        dashboard_url="http://127.0.0.1:8017/#token=t",
        proxy_url="http://127.0.0.1:8080",
        api_key="mgw_live_example",
        base_urls={"users": "http://127.0.0.1:9101", "payments": "http://127.0.0.1:9103"},
    )

    def test_the_curl_line_can_be_pasted(self) -> None:
        lines = [shlex.split(line) for line in self.text.splitlines() if line.strip().startswith("curl")]
        assert lines[0] == [
            *("curl", "-i", "-H", "X-API-Key: mgw_live_example"),
            "http://127.0.0.1:8080/users/1",
        ]

    def test_it_names_the_dashboard_and_the_upstreams(self) -> None:
        for url in ("http://127.0.0.1:8017/#token=t", "http://127.0.0.1:9101", "http://127.0.0.1:9103"):
            assert url in self.text


def test_answers_do_not_wait_for_acknowledgements() -> None:
    """What a listener is told, the connections that it accepts are told too."""
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
