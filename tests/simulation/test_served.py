"""Requests and changes of the configuration in any order: every row of the log can be had again as it was decided."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from microgateway.exchange import Exchange
from microgateway.observability.log_frames import raw_rows
from microgateway.observability.log_rows import ended
from microgateway.persistence.database import store_url
from microgateway.persistence.log_store import open_store
from microgateway.testing import RunningProxy, serve
from tests.control_plane.control import Control
from tests.control_plane.operators import Operators

STEPS = 160
OF_STATE = {"rate_limited", "circuit_open"}  # by what there was then of tokens and failures


@asynccontextmanager
async def moody_service(seed: int) -> AsyncIterator[str]:
    """It fails for a while, and works for a while."""
    moods = Random(seed)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        status = 500 if moods.random() < 0.6 else 200
        writer.write(b"HTTP/1.1 %d Moody\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def send(served: RunningProxy, path: str, key: str | None) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    credential = "" if key is None else f"X-API-Key: {key}\r\n"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n{credential}\r\n".encode())
    await reader.read()
    writer.close()


async def lived(control: Control, seed: int) -> list[dict[str, Any]]:
    """A gateway's life under operators who change it all the time; the rows of its log, which is written."""
    random, exchanges = Random(seed), list[Exchange]()
    async with (
        moody_service(seed) as url,
        serve(clock=control.clock, sinks=[exchanges.extend]) as served,
    ):
        operators = Operators(control, seed, url)
        for _ in range(STEPS):
            # At odd moments: the log keeps a quarter of a microsecond, and a token comes to the nanosecond
            control.clock.advance(random.choice([0.05, 0.3]) * (1 + random.random() / 10))
            if random.random() < 0.35:
                await operators.change()
                served.apply(control.published[-1])
            else:
                path = f"/{random.choice('aaabbcd')}/{random.randrange(3)}"
                key = random.choice([None, "nonsense", *operators.secrets[-5:] * 3])
                await send(served, path, key)
        served.recorder.flush()
    await write(control, exchanges)
    rows = (await control.get("/api/logs?page_size=500"))["items"]
    return sorted(rows, key=lambda row: int(row["id"]))


async def write(control: Control, exchanges: Sequence[Exchange]) -> None:
    await control.log_database.open()
    store = open_store(store_url(control.log_database.reading.url))
    store.append([one.row() for one in ended(raw_rows(exchanges))])
    store.close()


async def replayed(control: Control, **asked: Any) -> Any:
    asked = {"since": "2023-11-14T00:00:00Z", "until": "2023-11-16T00:00:00Z", "wait_seconds": 10, **asked}
    job = await control.post("/api/gateway/replay", asked, 200)
    assert job["error"] is None
    return job["result"]


@pytest.mark.parametrize("seed", [0, 20])
async def test_under_what_served_it_nothing_changes_and_every_row_is_explained(control: Control, seed: int) -> None:
    rows = await lived(control, seed)
    versions = Counter(row["configuration_version"] for row in rows)
    assert len(versions) > 10
    assert "restore" in {change.action for change in control.changes}
    assert {row["code"] for row in rows} >= OF_STATE | {"", "api_key_invalid", "route_not_found", "service_disabled"}

    told = await replayed(control, against="served")
    assert (told["rows"], told["changed"], told["changes"]) == (len(rows), 0, [])
    assert {one["version"]: one["rows"] for one in told["versions"]} == versions
    assert all(one["is_kept"] for one in told["versions"])
    assert (await replayed(control))["changed"] > 0  # what is in force now is another one

    for row in rows:
        explained = await control.get(f"/api/gateway/rows/{row['id']}")
        answer = explained["answer"]
        assert explained["is_served"]
        assert answer["configuration_version"] == row["configuration_version"]
        if row["code"] not in OF_STATE:
            assert (answer["code"] or "") == row["code"]
        if row["breaker"] == "closed":
            assert answer["route_id"] == row["route_id"]


async def test_a_change_to_what_served_each_request(control: Control) -> None:
    """Only what is proposed makes a difference, not what was changed anyway."""
    service = await control.service("orders")
    busy = {"requests_per_minute": 1, "burst_size": 3, "count_by": "all"}
    async with serve(clock=control.clock, sinks=[(exchanges := list[Exchange]()).extend]) as served:
        for path in ("/a", "/b"):
            route = await control.route(service["id"], path, auth="none")
            served.apply(control.published[-1])
            for _ in range(2):
                control.clock.advance(1.0)
                await send(served, path, None)
            await control.delete(f"/api/routes/{route['id']}")
        served.recorder.flush()
    await write(control, exchanges)
    proposal = {"rate_limits": {"busy": busy}}
    told = await replayed(control, against="served", configuration=proposal)
    assert [(one["requests"], one["after"], one["limit"]) for one in told["changes"]] == [(1, "rate_limited", "busy")]
    told = await replayed(control, configuration=proposal)
    assert told["changed"] == 4  # both routes are gone, too


async def test_a_version_that_is_no_longer_kept_is_said_and_the_one_in_force_stands_in(control: Control) -> None:
    service = await control.service("orders")
    await control.route(service["id"], "/orders", auth="none")
    async with serve(clock=control.clock, sinks=[(exchanges := list[Exchange]()).extend]) as served:
        served.apply(control.published[-1])
        await send(served, "/orders", None)
        served.recorder.flush()
    await write(control, exchanges)
    control.configuration.repository.history.keep = type(control.configuration.repository.history.keep)(changes=1)
    for number in range(80):
        await control.patch(f"/api/services/{service['id']}", {"enabled": number % 2 == 0})
    explained = await control.get("/api/gateway/rows/1")
    assert not explained["is_served"]
    assert explained["assumed"][0].startswith("Version 3, which served it, is no longer kept: this is under version ")
    assert explained["answer"]["code"] == "service_disabled"
    told = await replayed(control, against="served")
    assert [(one["version"], one["rows"], one["is_kept"]) for one in told["versions"]] == [(3, 1, False)]
    assert told["unknown"][-1]["what"].startswith("were served by a configuration that is not kept")


async def test_the_one_in_force_can_be_asked_for(control: Control) -> None:
    service = await control.service("orders")
    await control.route(service["id"], "/orders", auth="none")
    async with serve(clock=control.clock, sinks=[(exchanges := list[Exchange]()).extend]) as served:
        served.apply(control.published[-1])
        await send(served, "/orders", None)
        served.recorder.flush()
    await write(control, exchanges)
    await control.patch(f"/api/services/{service['id']}", {"enabled": False})
    then = await control.get("/api/gateway/rows/1")
    now = await control.get("/api/gateway/rows/1?against=in_force")
    assert (then["is_served"], then["answer"]["code"], now["is_served"], now["answer"]["code"]) == (
        True,
        None,
        False,
        "service_disabled",
    )
