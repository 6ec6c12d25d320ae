"""A simulated or a live request goes the way of traffic: it takes tokens, trips circuits, and is logged."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from microgateway.control_plane.gateway_requests import CircuitReading, GatewayAnswer, GatewayRequest, Stage
from microgateway.core.circuit import CircuitState
from microgateway.exchange import Exchange
from microgateway.observability.log_frames import raw_rows
from microgateway.observability.log_rows import as_mapping, ended
from microgateway.testing import RunningProxy, serve
from tests.kit.configuration import IssuedKey, key, route, service, settings

INTERIM = b"HTTP/1.1 102 Processing\r\n\r\n"
ANSWER = INTERIM + b"HTTP/1.1 200 OK\r\nX-Own: yes\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Town:
    served: RunningProxy
    key: IssuedKey
    exchanges: list[Exchange]
    received: list[bytes]

    async def ask(self, upstream: str = "simulated", **fields: Any) -> GatewayAnswer:
        request = {"path": "/orders", "api_key": self.key.secret, "upstream": upstream, **fields}
        return await self.served.simulation.ask(GatewayRequest.model_validate(request))

    def recorded(self) -> list[Exchange]:
        self.served.recorder.flush()
        return self.exchanges


@asynccontextmanager
async def town() -> AsyncIterator[Town]:
    issued, exchanges, received = key("mobile", per_minute=60, burst=3), list[Exchange](), list[bytes]()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(ANSWER)
        await reader.read()
        writer.close()

    def sink(batch: Sequence[Exchange]) -> None:
        exchanges.extend(batch)

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    configuration: dict[str, Any] = {
        "services": [service(base)],
        "routes": [route("/orders", auth="required")],
        "keys": [issued.entity],
        "settings": settings(circuit_failure_threshold=2, debug=True),
        "sinks": [sink],
    }
    async with server, serve(**configuration) as served:
        yield Town(served, issued, exchanges, received)


async def test_a_simulated_request_takes_a_token_and_is_recorded_as_simulated() -> None:
    async with town() as here:
        answers = [await here.ask() for _ in range(4)]
        assert [answer.status for answer in answers] == [200, 200, 200, 429]
        rows = [as_mapping(one.row()) for one in ended(raw_rows(here.recorded()))]
        assert [(row["simulated"], row["status"]) for row in rows] == [(True, 200)] * 3 + [(True, 429)]
        assert here.served.usage.of_key("mobile").total_requests == 4
        assert here.received == []
        (limit,) = next(stage.limits for stage in answers[2].stages if stage.limits)
        assert (round(limit.tokens_before), limit.admitted) == (1, True)


async def test_its_latency_is_the_scripts() -> None:
    async with town() as here:
        answer = await here.ask(script={"latency_ms": 30})
        assert answer.latency_ms is not None
        assert answer.latency_ms >= 30
        assert "answered 200" in answer.stages[-1].why


async def test_errors_of_a_simulated_service_open_the_circuit_of_the_real_one() -> None:
    async with town() as here:
        for _ in range(2):
            assert (await here.ask(script={"error_rate": 1, "error_status": 503})).status == 503
        assert here.served.circuits.state_of("upstream") is CircuitState.OPEN
        refused = await here.ask()
        assert (refused.status, refused.code) == (503, "circuit_open")


async def test_beforehand_it_is_told_what_the_circuit_would_say_and_what_would_be_sent() -> None:
    async with town() as here:

        def stages(**fields: Any) -> dict[str, Stage]:
            asked = GatewayRequest.model_validate({"api_key": here.key.secret, "query": "y=2", **fields})
            return {stage.stage: stage for stage in here.served.simulation.explain(asked).stages}

        for path, target in (("/orders", "/orders?y=2"), ("/orders?x=1", "/orders?x=1&y=2")):
            told = stages(path=path)
            circuit, sent = told["circuit"].circuit, told["target"].upstream_request
            assert circuit == CircuitReading(service_id="upstream", state="closed", failures=0, retry_after_seconds=0)
            assert sent is not None
            assert sent.url.endswith(target)
        for _ in range(2):
            await here.ask(script={"error_rate": 1, "error_status": 503})
        told = stages(path="/orders")
        circuit = told["circuit"].circuit
        assert circuit is not None
        assert (circuit.state, circuit.failures, 29 < circuit.retry_after_seconds <= 30) == ("open", 2, True)
        assert (told["circuit"].verdict, told["circuit"].code, told["target"].verdict) == (
            "refused",
            "circuit_open",
            "not_reached",
        )


async def test_a_connection_that_is_reset_is_an_answer_of_the_gateways() -> None:
    async with town() as here:
        answer = await here.ask(method="POST", script={"reset_rate": 1})
        assert (answer.status, answer.code, answer.stage) == (502, "upstream_connection_lost", "proxy")
        assert (answer.stages[-1].verdict, answer.stages[-1].code) == ("refused", "upstream_connection_lost")


async def test_the_same_seed_has_the_same_outcome() -> None:
    script = {"error_rate": 0.5, "latency_ms": 0}

    async def statuses() -> list[int | None]:
        async with town() as here:
            return [(await here.ask(script=script, seed=seed, path=f"/orders/{seed}")).status for seed in range(3)]

    first = await statuses()
    assert await statuses() == first


async def test_a_live_request_reaches_the_service_and_shows_its_answer() -> None:
    async with town() as here:
        answer = await here.ask("live", headers={"X-Foo": "bar"})
        assert (answer.status, answer.body, answer.stage) == (200, "hello", "proxy")
        assert ("X-Own", "yes") in answer.headers
        assert b"X-Foo: bar\r\n" in here.received[0]
        assert [exchange.simulated for exchange in here.recorded()] == [True]


async def test_a_live_request_that_is_refused_reaches_nobody() -> None:
    async with town() as here:
        answer = await here.ask("live", path="/nowhere")
        assert (answer.status, answer.code) == (404, "route_not_found")
        assert answer.stages[-1].verdict == "not_reached"
        assert here.received == []
