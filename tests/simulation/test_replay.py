"""The log replayed: under the configuration that served it nothing changes, and under another one what would have."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from microgateway.control_plane.gateway_batches import BatchAnswer, BatchRequest
from microgateway.control_plane.gateway_replays import ReplayAnswer
from microgateway.control_plane.jobs import Progress
from microgateway.control_plane.judging import Judged
from microgateway.core.circuit import CircuitPolicy
from microgateway.data_plane.options import Options
from microgateway.data_plane.pipeline import State
from microgateway.exchange import Exchange
from microgateway.observability.log_frames import raw_rows
from microgateway.observability.log_rows import ended
from microgateway.persistence.database import Database, locate_database, locate_log, store_url
from microgateway.persistence.log_store import open_store
from microgateway.persistence.log_stream import LogStream
from microgateway.persistence.log_zones import Row
from microgateway.persistence.migration import REQUEST_LOG
from microgateway.simulation.batch import Batch
from microgateway.simulation.explaining import Running
from microgateway.simulation.replaying import Period, replay
from microgateway.simulation.worlds import VirtualWorld
from microgateway.snapshot import Snapshot
from microgateway.state.limits import MemoryLimiter
from microgateway.state.memory import MemoryCircuits
from microgateway.testing import FakeClock
from tests.kit.configuration import IssuedKey, key, limit_rule, route, service
from tests.kit.log import log_row

NOWHERE = "http://127.0.0.1:9"
BEGAN = 1_700_000_000.0
CIRCUIT = CircuitPolicy(failure_threshold=5, recovery_timeout=3.0, half_open_max_calls=1)


@dataclass(slots=True)
class Shop:
    """A configuration that can be had with other numbers. Keys keep their text."""

    anna: IssuedKey = field(default_factory=lambda: key("anna"))
    otto: IssuedKey = field(default_factory=lambda: key("otto"))

    def snapshot(
        self,
        *,
        anna: int = 600,
        burst: int = 20,
        rules: Sequence[Any] = (),
        routes: Sequence[Any] | None = None,
        circuit: CircuitPolicy = CIRCUIT,
    ) -> Snapshot:
        limits = {"requests_per_minute": anna, "burst_size": burst}
        keys = [self.anna.entity.model_copy(update=limits), self.otto.entity]
        table = routes if routes is not None else self.routes()
        return Snapshot().with_keys(keys).with_table([service(NOWHERE)], table, circuit, list(rules))

    def routes(self) -> list[Any]:
        return [
            route("/orders", auth="required"),
            route("/open"),
            route("/host", hosts=["*.example"], headers=[{"name": "X-Version", "pattern": "2.*"}]),
        ]

    def requests(self) -> list[dict[str, Any]]:
        version = {"host": "a.example", "headers": {"X-Version": "2.1"}}
        return [
            {"path": "/orders/1", "api_key": self.anna.secret},
            {"path": "/orders/2", "api_key": self.anna.secret, "client_ip": "192.0.2.1"},
            {"path": "/orders/1", "api_key": self.otto.secret},
            {"path": "/open", "query": "page=2"},
            {"path": "/host", **version},
            {"path": "/orders", "api_key": "nonsense"},
            {"path": "/orders"},
            {"path": "/nowhere", "api_key": self.otto.secret},
            {"path": "/a b"},
        ]


class Log(list[Exchange]):
    """A recorder that keeps everything."""

    def record(self, exchange: Exchange) -> None:
        self.append(exchange)

    def rows(self) -> list[Row]:
        return [one.row() for one in ended(raw_rows(self))]


async def served(snapshot: Snapshot, requests: list[dict[str, Any]], **fields: Any) -> tuple[BatchAnswer, list[Row]]:
    """What a gateway logs that runs from BEGAN on, in virtual time."""
    log, clock = Log(), FakeClock(now=500.0, wall=BEGAN)
    running = Running(
        options=Options(),
        state=State(MemoryLimiter(), MemoryCircuits()),
        recorder=log,
        snapshot=lambda: snapshot,
        verifier=None,
        clock=clock,
        port=lambda: 8080,
    )
    asked = BatchRequest.model_validate({"requests": requests, "seed": 5, **fields})
    batch = Batch(asked.model_copy(update={"state": "traffic"}), running, snapshot, VirtualWorld(now=500.0, wall=BEGAN))
    return await batch.run(Progress()), log.rows()


@asynccontextmanager
async def kept(rows: list[Row], folder: Path) -> AsyncIterator[LogStream]:
    """These rows in a log."""
    located = locate_log(locate_database(None, folder), folder)
    database = Database(located, REQUEST_LOG)
    await database.open()

    def write() -> None:
        store = open_store(store_url(located))
        for start in range(0, len(rows), 1_000):
            store.append(rows[start : start + 1_000])
        store.close()

    await asyncio.to_thread(write)
    yield LogStream(database)
    await database.close()


async def replayed(
    stream: LogStream, before: Snapshot, after: Snapshot, *, since: float = BEGAN, warm_up: float = 0.0
) -> ReplayAnswer:
    period = Period(since=since, until=BEGAN + 86_400, warm_up=warm_up)

    async def judging(version: int | None) -> Judged:
        return Judged(before, after)

    return await replay(stream, period, judging=judging, against="in_force", progress=Progress())


def outcomes(answer: ReplayAnswer) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for one in answer.changes:
        found[one.before, one.after] = found.get((one.before, one.after), 0) + one.requests
    return found


POISSON = {"kind": "poisson", "per_second": 60, "seconds": 60}
FAILING = {
    "latency": "lognormal",
    "latency_ms": 30,
    "error_rate": 0.02,
    "reset_rate": 0.01,
    "phases": [{"from_seconds": 20, "to_seconds": 30, "error_rate": 0.9, "latency_ms": 200}],
}


class TestTheSameConfiguration:
    async def test_nothing_changes(self, tmp_path: Path) -> None:
        shop = Shop()
        rules = [
            limit_rule("guard", per_minute=300, burst=10, count_by="address", before_auth=True),
            limit_rule("shadow", per_minute=60, burst=1, mode="shadow"),
            limit_rule("open", per_minute=200, burst=5, path="/open"),
        ]
        snapshot = shop.snapshot(anna=200, rules=rules)
        answer, rows = await served(snapshot, shop.requests(), arrivals=POISSON, upstream=FAILING)
        codes = {one.code for one in answer.counts}
        assert {None, "rate_limited", "circuit_open", "api_key_invalid", "route_not_found", "bad_request"} <= codes
        async with kept(rows, tmp_path) as stream:
            told = await replayed(stream, snapshot, snapshot)
        assert (told.rows, told.changed, told.changes) == (len(rows), 0, [])
        assert told.is_complete

    async def test_what_can_not_be_known_is_said(self, tmp_path: Path) -> None:
        shop = Shop()
        rules = [limit_rule("tenants", per_minute=60, count_by="header", header="x-tenant")]
        snapshot = shop.snapshot(rules=rules)
        _, rows = await served(snapshot, shop.requests(), arrivals={"per_second": 9, "seconds": 10})
        async with kept(rows, tmp_path) as stream:
            told = await replayed(stream, snapshot, snapshot)
        said = " ".join(f"{one.requests} {one.what}" for one in told.unknown)
        assert "10 made no sense" in said
        assert "10 met conditions on Host" in said
        assert "1 rules count by a header" in said


class TestAnotherConfiguration:
    async def test_a_tighter_limit_refuses_what_it_would_have_refused(self, tmp_path: Path) -> None:
        shop = Shop()
        wide, tight = shop.snapshot(anna=6_000, burst=100), shop.snapshot(anna=120, burst=5)
        requests = [{"path": "/orders", "api_key": shop.anna.secret}, {"path": "/orders", "api_key": shop.otto.secret}]
        _, rows = await served(wide, requests, arrivals=POISSON)
        would, _ = await served(tight, requests, arrivals=POISSON)
        async with kept(rows, tmp_path) as stream:
            told = await replayed(stream, wide, tight)
        refused = {one.id: one.limited for one in would.keys}
        assert refused["anna"] > 1_000
        assert outcomes(told) == {("forwarded", "rate_limited"): refused["anna"]}
        (group,) = told.changes
        assert (group.key, group.route, group.limit, len(group.examples)) == ("anna", "/orders", "key", 3)
        assert BEGAN < group.first_at < group.last_at < BEGAN + 60
        assert [(one.name, one.limited_before, one.limited_after) for one in told.keys] == [
            ("anna", 0, refused["anna"])
        ]

    async def test_a_wider_limit_lets_requests_through_of_which_nobody_knows_more(self, tmp_path: Path) -> None:
        shop = Shop()
        tight, wide = shop.snapshot(anna=60, burst=5), shop.snapshot(anna=60_000, burst=10_000)
        answer, rows = await served(tight, [{"path": "/orders", "api_key": shop.anna.secret}], arrivals=POISSON)
        limited = answer.keys[0].limited
        async with kept(rows, tmp_path) as stream:
            told = await replayed(stream, tight, wide)
        assert outcomes(told) == {("rate_limited", "forwarded"): limited}
        assert [one.requests for one in told.unknown] == [limited]
        assert "not known" in told.unknown[0].what

    async def test_a_breaker_that_trips_sooner_or_later(self, tmp_path: Path) -> None:
        shop = Shop()
        never = shop.snapshot(circuit=CircuitPolicy(failure_threshold=1_000_000))
        arrivals = {"per_second": 50, "seconds": 40}
        answer, rows = await served(never, [{"path": "/open"}], arrivals=arrivals, upstream=FAILING)
        assert "circuit_open" not in {one.code for one in answer.counts}
        would, _ = await served(shop.snapshot(), [{"path": "/open"}], arrivals=arrivals, upstream=FAILING)
        expected = next(one.requests for one in would.counts if one.code == "circuit_open")
        async with kept(rows, tmp_path) as stream:
            told = await replayed(stream, never, shop.snapshot())
        assert outcomes(told)["forwarded", "circuit_open"] == pytest.approx(expected, rel=0.15)

    async def test_a_route_that_is_gone_and_one_that_is_closed(self, tmp_path: Path) -> None:
        shop = Shop()
        before = shop.snapshot()
        after = shop.snapshot(routes=[route("/open", auth="required")])
        requests = [{"path": "/orders", "api_key": shop.otto.secret}, {"path": "/open"}]
        _, rows = await served(before, requests, arrivals={"per_second": 10, "seconds": 4})
        async with kept(rows, tmp_path) as stream:
            told = await replayed(stream, before, after)
        assert outcomes(told) == {("forwarded", "route_not_found"): 20, ("forwarded", "api_key_missing"): 20}
        assert "taken to have none" in told.unknown[0].what

    async def test_a_route_that_takes_over_is_told_though_the_status_is_the_same(self, tmp_path: Path) -> None:
        shop = Shop()
        after = shop.snapshot(routes=[*shop.routes(), route("/open/new", id="new")])
        _, rows = await served(shop.snapshot(), [{"path": "/open/new"}], arrivals={"per_second": 10, "seconds": 1})
        async with kept(rows, tmp_path) as stream:
            told = await replayed(stream, shop.snapshot(), after)
        (group,) = told.changes
        assert (group.before, group.after, group.route, group.route_after) == (
            "forwarded",
            "forwarded",
            "/open",
            "/open/new",
        )


class TestThePeriod:
    async def test_what_came_before_fills_and_empties_buckets_and_is_not_compared(self, tmp_path: Path) -> None:
        shop = Shop()
        tight = shop.snapshot(anna=60, burst=30)
        _, rows = await served(
            tight, [{"path": "/orders", "api_key": shop.anna.secret}], arrivals={**POISSON, "per_second": 5}
        )
        async with kept(rows, tmp_path) as stream:
            warm = await replayed(stream, tight, tight, since=BEGAN + 30, warm_up=40)
            cold = await replayed(stream, tight, tight, since=BEGAN + 30)
        assert (warm.rows, warm.changed) == (cold.rows, 0)
        assert warm.warm_up_rows + warm.rows == len(rows)
        found = outcomes(cold)
        let_in, kept_out = found["rate_limited", "forwarded"], found.get(("forwarded", "rate_limited"), 0)
        assert let_in - kept_out == pytest.approx(30, abs=3)  # the burst that was used up before

    async def test_requests_are_judged_in_the_order_in_which_they_came(self, tmp_path: Path) -> None:
        """They are in the log in the order in which they ended: here a slow one took the only token."""
        shop = Shop()
        snapshot = shop.snapshot(anna=1, burst=1)
        slow = {"path": "/orders", "route_id": "route /orders", "key_id": "anna", "key": "anna"}
        refused = {
            "status": 429,
            "code": "rate_limited",
            "stage": "rate_limit",
            "breaker": None,
            "upstream_status": None,
        }
        rows = [
            log_row(1, **slow, **refused, timestamp=BEGAN + 1, latency_ms=1),
            log_row(2, **slow, timestamp=BEGAN, latency_ms=2_000),
        ]
        async with kept(rows, tmp_path) as stream:
            assert (await replayed(stream, snapshot, snapshot)).changed == 0

    async def test_many_rows_in_a_bounded_time(self, tmp_path: Path, pytestconfig: pytest.Config) -> None:
        """`--replay-rows 1000000` fails where a million take more than a minute of processor time, or 300 MB."""
        number = pytestconfig.getoption("--replay-rows") or 5_000
        shop = Shop()
        known = {"path": "/orders/1", "route_id": "route /orders", "route": "/orders"}
        rows = [
            log_row(
                each,
                **known | {"path": f"/orders/{each % 1_000}"},
                key_id=("anna", "otto")[each % 2],
                client_ip=f"192.0.2.{each % 250}",
                timestamp=BEGAN + each / 300,
                latency_ms=20 + each % 50,
            )
            for each in range(number)
        ]
        async with kept(rows, tmp_path) as stream:
            began = time.process_time()
            told = await replayed(stream, shop.snapshot(), shop.snapshot(anna=6_000))
            took = time.process_time() - began
        assert told.rows == number
        assert told.changed > number / 10
        assert took < 60 * max(0.1, number / 1_000_000), took
