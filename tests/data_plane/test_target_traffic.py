"""Several targets under real traffic, over real sockets: who gets how much, and who is left alone."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from time import monotonic, perf_counter
from typing import Any

import pytest

from microgateway.testing import FakeClock, RunningProxy, serve
from tests.kit.client import Client
from tests.kit.configuration import key, route, service, settings
from tests.kit.gateway import Gateway, running_gateway
from tests.kit.messages import lines
from tests.kit.steps import Close, Echo, Send
from tests.kit.upstream import Upstream, running_upstream
from tests.kit.waiting import PATIENCE

GET = lines("GET /a HTTP/1.1", "Host: a.example")
OK = lines("HTTP/1.1 200 OK", "Content-Length: 0")
ILL = Send(lines("HTTP/1.1 500 Ill", "Content-Length: 0"))


@contextmanager
def several(count: int, *, retries: int = 0, **fields: Any) -> Iterator[tuple[Gateway, list[Upstream], FakeClock]]:
    """A gateway before so many upstreams, which are targets of one service."""
    clock = FakeClock()
    with ExitStack() as running:
        upstreams = [running.enter_context(running_upstream()) for _ in range(count)]
        weights = fields.pop("weights", [1] * count)
        targets = [{"url": upstream.url, "weight": weight} for upstream, weight in zip(upstreams, weights, strict=True)]
        spec = service(upstreams[0].url, targets=targets, **fields)
        gateway = running.enter_context(
            running_gateway(services=[spec], routes=[route("/", retries=retries)], clock=clock)
        )
        yield gateway, upstreams, clock


def shares(upstreams: Sequence[Upstream]) -> list[int]:
    return [len(upstream.requests) for upstream in upstreams]


def ask(client: Client, times: int, *fields: str) -> Counter[int]:
    request = lines("GET /a HTTP/1.1", "Host: a.example", *fields)
    return Counter(client.ask(request).status for _ in range(times))


def test_round_robin_gives_each_its_weight() -> None:
    with several(3, weights=[3, 2, 1]) as (gateway, upstreams, _), gateway.connect() as client:
        assert ask(client, 60) == {200: 60}
        assert shares(upstreams) == [30, 20, 10]


def test_one_that_fails_in_a_row_gets_nothing_for_a_while() -> None:
    fields = {"consecutive_failures": 3, "ejection_seconds": 20}
    with several(3, passive_health=fields) as (gateway, upstreams, clock), gateway.connect() as client:
        upstreams[1].usually(ILL)
        assert ask(client, 30) == {200: 27, 500: 3}
        assert shares(upstreams)[1] == 3
        clock.advance(19.9)
        assert ask(client, 10) == {200: 10}
        clock.advance(0.2)
        upstreams[1].usually(Echo())
        assert ask(client, 30) == {200: 30}
        assert shares(upstreams)[1] > 3 + 5


def test_one_that_can_not_be_reached_costs_retries_and_then_nothing() -> None:
    with several(2, retries=1, passive_health={"consecutive_failures": 2}) as (gateway, upstreams, _):
        upstreams[0].stop_listening()
        with gateway.connect() as client:
            assert ask(client, 20) == {200: 20}
        attempts = gateway.call(lambda served: served.targets.of(served.listener.snapshot.upstreams["upstream"]))
        assert [member.target.url.text for member in attempts.asked(1_000.0)] == [upstreams[1].url]
        assert [member.in_flight for member in attempts.members.values()] == [0, 0]


def test_what_a_client_does_ejects_nobody() -> None:
    post = lines("POST /a HTTP/1.1", "Host: a.example", "Content-Length: 5")
    with several(2, passive_health={"consecutive_failures": 1}) as (gateway, upstreams, _):
        for number in range(1, 7):
            with gateway.connect() as client:
                client.send(post + b"ab")
                deadline = monotonic() + PATIENCE
                while sum(shares(upstreams)) < number:
                    assert monotonic() < deadline, "the head does not come"
                client.reset()
        gateway.settle()
        group = gateway.call(lambda served: served.targets.of(served.listener.snapshot.upstreams["upstream"]))
        assert len(group.asked(1_000.0)) == 2
        assert [member.in_flight for member in group.members.values()] == [0, 0]


def test_a_target_that_breaks_off_its_answers_is_ejected() -> None:
    broken = (Send(lines("HTTP/1.1 200 OK", "Content-Length: 100"), b"some"), Close())
    with several(2, passive_health={"consecutive_failures": 2}) as (gateway, upstreams, _):
        upstreams[0].usually(*broken)
        whole = []
        for _ in range(12):
            with gateway.connect() as client:
                whole.append(client.ask(GET).complete)
        assert whole.count(False) == 2
        assert whole[-4:] == [True] * 4


@pytest.mark.parametrize("hash_on", ["key", "address", "header"])
def test_a_consistent_hash_keeps_a_client_on_its_target(hash_on: str) -> None:
    keys = [key(f"key-{number}") for number in range(12)]
    fields = {"load_balancing": "consistent_hash", "hash_on": hash_on, "hash_header": "X-Tenant"}
    with ExitStack() as running:
        upstreams = [running.enter_context(running_upstream()) for _ in range(4)]
        spec = service(upstreams[0].url, targets=[{"url": upstream.url} for upstream in upstreams], **fields)
        routes = [route("/", auth="required")]
        gateway = running.enter_context(
            running_gateway(
                services=[spec],
                routes=routes,
                keys=[one.entity for one in keys],
                settings=settings(trusted_proxies="127.0.0.0/8"),
            )
        )
        homes = []
        with gateway.connect() as client:
            for number, one in enumerate(keys):
                tells = {
                    "key": f"X-API-Key: {one.secret}",
                    "address": f"X-API-Key: {keys[0].secret}\r\nX-Forwarded-For: 192.0.2.{number}",
                    "header": f"X-API-Key: {keys[0].secret}\r\nX-Tenant: tenant-{number}",
                }[hash_on]
                before = shares(upstreams)
                assert ask(client, 5, *tells.split("\r\n")) == {200: 5}
                (home,) = (place for place, share in enumerate(shares(upstreams)) if share != before[place])
                homes.append(home)
        assert len(set(homes)) > 1, "not everybody has the same home"


# -- one slow target of three -----------------------------------------------------------------------------------------

SLOW, QUICK = 1.0, 0.003  # seconds
CLIENTS, DURATION = 6, 1.2
FEWEST = 1_000  # requests, of which the few that wait for the slow one are less than one in a hundred


class PacedUpstream(asyncio.Protocol):
    """Answers after a while, without keeping anybody else waiting."""

    def __init__(self, delay: float) -> None:
        self._delay = delay

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(self._delay, self._answer)

    def _answer(self) -> None:
        assert isinstance(self._transport, asyncio.Transport)
        if not self._transport.is_closing():
            self._transport.write(OK)


@asynccontextmanager
async def paced_proxy(method: str) -> AsyncIterator[RunningProxy]:
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as running:
        urls = []
        for delay in (SLOW, QUICK, QUICK):
            server = await loop.create_server(lambda delay=delay: PacedUpstream(delay), "127.0.0.1", 0)  # type: ignore[misc]
            running.callback(server.close)
            urls.append({"url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"})
        spec = service("http://127.0.0.1", targets=urls, load_balancing=method)
        yield await running.enter_async_context(serve(services=[spec], routes=[route("/")], settings=settings()))


async def latencies(method: str) -> list[float]:
    """Of a few clients that ask one thing after the other for a while."""
    took: list[float] = []

    async def one_client(port: int, until: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (began := perf_counter()) < until or (method == "least_requests" and len(took) < FEWEST):
            writer.write(GET)
            await reader.readuntil(b"\r\n\r\n")
            took.append(perf_counter() - began)
        writer.close()
        await writer.wait_closed()

    async with paced_proxy(method) as proxy:
        until = perf_counter() + DURATION
        await asyncio.gather(*(one_client(proxy.port, until) for _ in range(CLIENTS)))
    return sorted(took)


def p99(took: list[float]) -> float:
    return took[int(len(took) * 0.99)]


async def test_with_one_slow_target_of_three_least_requests_has_a_p99_three_times_better() -> None:
    in_turn = p99(await latencies("round_robin"))
    by_load = p99(await latencies("least_requests"))
    assert in_turn > 3 * by_load, (in_turn, by_load)
