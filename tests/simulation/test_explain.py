"""Explain never lies: what it says of a random request to a random gateway is what the proxy port then answers.

A few hundred here; `pytest tests/simulation/test_explain.py --explanations 10000` asks longer.
"""

import json
from collections import Counter
from typing import Any

import pytest

from microgateway.control_plane.gateway_requests import GatewayAnswer, GatewayRequest
from tests.simulation.portraits import portrait
from tests.simulation.towns import STATUSES, Fields, Message, Town, random_town

IN_THE_SUITE = 400
REQUESTS = 16  # to each gateway
NEW_IN_EACH = {"x-request-id", "traceparent", "date"}
SERVICES_OWN = {"x-own", "content-length", "connection", "transfer-encoding"}


def sorted_fields(fields: Fields, without: set[str]) -> Fields:
    return [(name, value) for name, value in fields if name.lower() not in without]


def problem(body: str | bytes | None) -> dict[str, Any]:
    """An answer's body without what is new in each."""
    return {name: value for name, value in json.loads(body or "{}").items() if name != "request_id"}


async def check(town: Town, request: GatewayRequest) -> GatewayAnswer:
    """What is said beforehand, and then the truth."""
    told = town.served.simulation.explain(request)
    received = len(town.upstream.received)
    answer = await town.send(request)
    status = int(answer.start.split(" ")[1])
    if told.status is None:
        assert status == town.upstream.status
        assert len(town.upstream.received) == received + 1
        assert sorted_fields(told.headers, NEW_IN_EACH) == sorted_fields(answer.fields, NEW_IN_EACH | SERVICES_OWN)
        check_sent(told, town.upstream.received[-1], town.upstream.port)
    else:
        assert (told.status, len(town.upstream.received)) == (status, received)
        assert sorted_fields(told.headers, NEW_IN_EACH) == sorted_fields(answer.fields, NEW_IN_EACH)
        assert problem(told.body) == problem(answer.body)
        if answer.body:
            assert (told.code, told.stage) == (problem(answer.body)["code"], problem(answer.body)["stage"])
    return told


def check_sent(told: GatewayAnswer, received: Message, port: int) -> None:
    (sent,) = [stage.upstream_request for stage in told.stages if stage.upstream_request is not None]
    method, target, _ = received.start.split(" ")
    assert (sent.method, sent.url) == (method, f"http://127.0.0.1:{port}{target}")
    assert sorted_fields(sent.headers, NEW_IN_EACH) == sorted_fields(received.fields, NEW_IN_EACH)


def check_stages(told: GatewayAnswer) -> str:
    """They go on until one refuses, which one does where there is an answer. Answers which that is."""
    verdicts = [stage.verdict for stage in told.stages]
    ends = [place for place, stage in enumerate(told.stages) if stage.verdict == "refused"]
    if told.status in (None, 204):
        assert "refused" not in verdicts
        return "preflight" if told.status else "forwarded"
    assert len(ends) == 1, verdicts
    assert set(verdicts[ends[0] + 1 :]) <= {"not_reached"}
    assert "not_reached" not in verdicts[: ends[0]]
    return told.code or ""


async def random_requests(seed: int) -> Counter[str]:
    seen: Counter[str] = Counter()
    async with random_town(seed) as town:
        for _ in range(REQUESTS):
            town.clock.advance(town.dice.choice((0, 0, 0, 0.25, 1, 5, 40)))
            town.upstream.status = town.dice.choice(STATUSES)
            request = town.request()
            try:
                seen[check_stages(await check(town, request))] += 1
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {request!r}: {error}") from error
    return seen


async def test_what_is_said_is_what_happens(pytestconfig: pytest.Config) -> None:
    requests = pytestconfig.getoption("--explanations") or IN_THE_SUITE
    seen: Counter[str] = Counter()
    for seed in range(requests // REQUESTS):
        seen += await random_requests(seed)
    assert sum(seen.values()) >= requests - REQUESTS
    wanted = {"forwarded", "rate_limited", "route_not_found", "api_key_missing", "circuit_open", "service_not_allowed"}
    assert wanted <= seen.keys(), seen


async def test_nothing_is_changed_by_being_explained() -> None:
    """Not a counter, not a bucket, not a circuit, no target's turn, nothing remembered: all is as it was."""
    asked = 0
    for seed in range(12):
        async with random_town(seed) as town:
            for _ in range(6):
                town.upstream.status = town.dice.choice(STATUSES)
                await town.send(town.request())  # so that there is something to change
                town.clock.advance(town.dice.choice((0, 1, 40)))
            town.served.recorder.flush()
            before, received = portrait(town.served), len(town.upstream.received)
            for _ in range(10):
                town.served.simulation.explain(town.request())
                asked += 1
            assert portrait(town.served) == before
            assert len(town.upstream.received) == received
    assert asked == 120
