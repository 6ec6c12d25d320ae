"""Many requests in virtual time and in real, as stories: what is counted, what happens when; and both times agree."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from microgateway.control_plane.gateway_batches import BatchAnswer, BatchRequest
from microgateway.control_plane.jobs import Progress
from microgateway.testing import FakeClock, RunningProxy, serve
from tests.kit.configuration import IssuedKey, key, limit_rule, route, service, settings
from tests.simulation.both_clocks import PER_SECOND, compare
from tests.simulation.portraits import portrait

NOWHERE = "http://127.0.0.1:9"


@asynccontextmanager
async def town(
    *, per_minute: int = 600, burst: int = 10, **fields: Any
) -> AsyncIterator[tuple[RunningProxy, IssuedKey]]:
    issued = key("mobile", per_minute=per_minute, burst=burst)
    configuration: dict[str, Any] = {
        "services": [service(NOWHERE)],
        "routes": [route("/orders", auth="required"), route("/open")],
        "keys": [issued.entity],
        "settings": settings(
            circuit_failure_threshold=5, circuit_recovery_timeout=10, circuit_half_open_max_calls=1, debug=True
        ),
    }
    async with serve(**configuration | fields) as served:
        yield served, issued


async def batch(served: RunningProxy, requests: list[dict[str, Any]], **fields: Any) -> BatchAnswer:
    asked = BatchRequest.model_validate({"requests": requests, **fields})
    return await served.simulation.batch(asked, served.listener.snapshot, Progress())


def statuses(answer: BatchAnswer) -> dict[int, int]:
    found: dict[int, int] = {}
    for one in answer.counts:
        found[one.status] = found.get(one.status, 0) + one.requests
    return found


def circuit(answer: BatchAnswer) -> list[tuple[float, str]]:
    return [(one.at, one.after) for one in answer.timeline if one.what == "circuit"]


class TestVirtualTime:
    async def test_a_bucket_gives_its_burst_and_its_rate_and_no_more(self) -> None:
        async with town(per_minute=60, burst=10) as (served, issued):
            answer = await batch(
                served,
                [{"path": "/orders", "api_key": issued.secret}],
                arrivals={"per_second": 5, "seconds": 60},
            )
        assert statuses(answer) == {200: 69, 429: 231}
        assert (answer.requests, answer.admitted) == (300, 69)
        (first,) = [one for one in answer.timeline if one.what == "first"]
        assert (first.name, first.after) == ("rate_limited", "429")
        assert first.at == pytest.approx(2.4, abs=0.21)  # ten at once and one a second, asked for five times a second
        assert [(one.name, one.requests, one.limited) for one in answer.keys] == [("mobile", 300, 231)]

    async def test_an_hour_takes_a_moment(self) -> None:
        async with town() as (served, _):
            began = time.perf_counter()
            answer = await batch(served, [{"path": "/open"}], arrivals={"per_second": 1, "seconds": 3_600})
            assert time.perf_counter() - began < 20
        assert statuses(answer) == {200: 3_600}
        assert answer.seconds == pytest.approx(3_599, abs=2)

    async def test_a_service_that_fails_for_a_while_is_left_alone_and_found_well_again(self) -> None:
        script = {"latency_ms": 5, "phases": [{"from_seconds": 30, "to_seconds": 60, "error_rate": 1}]}
        async with town() as (served, _):
            answer = await batch(
                served, [{"path": "/open"}], arrivals={"per_second": 10, "seconds": 90}, upstream=script
            )
        moments = [at for at, _ in circuit(answer)]
        assert [state for _, state in circuit(answer)] == ["open", *["half_open", "open"] * 2, "half_open", "closed"]
        assert moments[0] == pytest.approx(30.4, abs=0.02)
        assert moments[-1] == pytest.approx(60.7, abs=0.1)
        assert statuses(answer)[500] == 5 + 2

    async def test_hung_and_reset_requests_end_as_they_would(self) -> None:
        async with town(services=[service(NOWHERE, read_timeout_seconds=2)]) as (served, _):
            arrivals = {"per_second": 1, "seconds": 4}
            hung = await batch(served, [{"path": "/open"}], arrivals=arrivals, upstream={"hang_rate": 1})
            reset = await batch(
                served, [{"path": "/open", "method": "POST"}], arrivals=arrivals, upstream={"reset_rate": 1}
            )
        assert [(one.status, one.code) for one in hung.counts] == [(504, "upstream_timeout")]
        assert hung.latency_ms.p50 == pytest.approx(2_000, abs=260)
        assert [(one.status, one.code) for one in reset.counts] == [(502, "upstream_connection_lost")]

    async def test_the_same_seed_is_the_same_story_and_another_one_is_not(self) -> None:
        script = {"latency": "lognormal", "latency_ms": 20, "error_rate": 0.2, "reset_rate": 0.1}
        async with town(per_minute=6_000) as (served, issued):

            async def story(seed: int) -> dict[str, Any]:
                answer = await batch(
                    served,
                    [{"path": "/orders", "api_key": issued.secret}, {"path": "/open"}],
                    arrivals={"kind": "poisson", "per_second": 50, "seconds": 20},
                    upstream=script,
                    seed=seed,
                )
                return answer.model_dump(exclude={"took_seconds"})

            first = await story(1)
            assert await story(1) == first
            assert await story(2) != first

    async def test_it_is_the_same_story_whenever_it_is_told(self) -> None:
        """Also where a token is there at the very moment of a request, by which a nanosecond decides."""
        stories = []
        for now in (0.1, 12_345.678_901):
            rules = [limit_rule("everybody", per_minute=9_000, burst=20)]
            async with town(clock=FakeClock(now=now), rate_limits=rules) as (served, _):
                answer = await batch(served, [{"path": "/open"}], arrivals={"per_second": 200, "seconds": 10})
                stories.append(answer.model_dump(exclude={"took_seconds"}))
        assert stories[0] == stories[1]

    @pytest.mark.parametrize(
        ("arrivals", "requests"),
        [
            ({"kind": "ramp", "per_second": 1, "to_per_second": 9, "seconds": 10}, 50),
            ({"kind": "ramp", "per_second": 9, "to_per_second": 1, "seconds": 10}, 50),
            ({"kind": "bursts", "burst_size": 7, "every_seconds": 3, "seconds": 10}, 28),
            ({"kind": "constant", "per_second": 10, "seconds": 10, "count": 12}, 12),
        ],
    )
    async def test_ways_to_arrive(self, arrivals: dict[str, Any], requests: int) -> None:
        async with town() as (served, _):
            answer = await batch(served, [{"path": "/open"}], arrivals=arrivals)
        assert answer.requests == requests

    async def test_no_more_than_the_concurrency_are_under_way_and_the_others_wait(self) -> None:
        async with town() as (served, _):
            arrivals = {"kind": "bursts", "burst_size": 10, "every_seconds": 60, "seconds": 1}
            answer = await batch(
                served, [{"path": "/open"}], arrivals=arrivals, concurrency=2, upstream={"latency_ms": 1_000}
            )
        assert answer.requests == 10
        assert answer.seconds == pytest.approx(5, abs=0.1)

    async def test_outcomes_over_time_are_told(self) -> None:
        script = {"latency_ms": 5, "phases": [{"from_seconds": 30, "to_seconds": 60, "error_rate": 1}]}
        async with town() as (served, _):
            answer = await batch(
                served, [{"path": "/open"}], arrivals={"per_second": 10, "seconds": 60}, upstream=script
            )
        assert answer.slot_seconds == 1
        assert [slot.at for slot in answer.history] == list(range(len(answer.history)))
        kinds = [{name for name, number in slot.outcomes.items() if number} for slot in answer.history]
        assert kinds[:30] == [{"success"}] * 30
        assert "upstream_error" in kinds[30]  # until five failures have opened the circuit
        assert kinds[31:40] == [{"gateway_error"}] * 9
        assert sum(sum(slot.outcomes.values()) for slot in answer.history) == 600

    async def test_slots_are_few_however_late_answers_come(self) -> None:
        async with town() as (served, _):
            answer = await batch(
                served,
                [{"path": "/open"}],
                arrivals={"per_second": 100, "seconds": 0.6},
                upstream={"latency": "uniform", "latency_ms": 1, "to_ms": 9_000},
            )
        assert len(answer.history) <= 120
        assert sum(sum(slot.outcomes.values()) for slot in answer.history) == 60
        assert answer.history[-1].at <= answer.seconds <= answer.history[-1].at + answer.slot_seconds

    async def test_tokens_over_time_are_told(self) -> None:
        async with town(per_minute=60, burst=10) as (served, issued):
            answer = await batch(
                served, [{"path": "/orders", "api_key": issued.secret}], arrivals={"per_second": 5, "seconds": 60}
            )
        (series,) = answer.tokens
        assert (series.limit, series.subject) == ("mobile", "mobile")
        assert [tokens for at, tokens in series.tokens if at >= 10] == pytest.approx([0.5] * 51, abs=0.51)

    async def test_retries_are_counted(self) -> None:
        async with town(routes=[route("/open", retries=2)]) as (served, _):
            answer = await batch(served, [{"path": "/open"}] * 4, upstream={"reset_rate": 1})
            assert (statuses(answer), answer.retries) == ({502: 4}, 8)

    @pytest.mark.parametrize(
        ("script", "median", "of_the_slowest"),
        [
            ({"latency": "constant"}, 20.0, 20.0),
            ({"latency": "uniform", "to_ms": 40}, 30.0, 39.0),
            ({"latency": "exponential"}, 13.9, 59.9),
            ({"latency": "lognormal", "sigma": 1.0}, 20.0, 103.6),
        ],
        ids=lambda value: value["latency"] if isinstance(value, dict) else "",
    )
    async def test_latencies_are_spread_as_the_script_says(
        self, script: dict[str, Any], median: float, of_the_slowest: float
    ) -> None:
        async with town() as (served, _):
            arrivals = {"per_second": 100, "seconds": 8}
            answer = await batch(served, [{"path": "/open"}], arrivals=arrivals, upstream={"latency_ms": 20, **script})
            assert answer.latency_ms.p50 == pytest.approx(median, rel=0.12)
            assert answer.latency_ms.p95 == pytest.approx(of_the_slowest, rel=0.12)

    async def test_nothing_of_it_is_seen_by_traffic(self) -> None:
        async with town() as (served, issued):
            before = portrait(served)
            for state in ("fresh", "copy"):
                await batch(
                    served,
                    [{"path": "/orders", "api_key": issued.secret}],
                    arrivals={"per_second": 50, "seconds": 10},
                    state=state,
                    upstream={"error_rate": 0.5},
                )
            assert portrait(served) == before


class TestState:
    async def test_a_copy_goes_on_from_where_traffic_is(self) -> None:
        async with town(per_minute=1, burst=10) as (served, issued):
            request = {"path": "/orders", "api_key": issued.secret}
            used = await batch(served, [request] * 7, clock="real", state="traffic")
            assert statuses(used) == {200: 7}
            assert statuses(await batch(served, [request] * 7, state="copy")) == {200: 3, 429: 4}
            assert statuses(await batch(served, [request] * 7)) == {200: 7}

    async def test_a_circuit_that_traffic_has_opened_is_open_in_a_copy(self) -> None:
        async with town() as (served, _):
            request = {"path": "/open"}
            await batch(served, [request] * 5, clock="real", state="traffic", upstream={"error_rate": 1})
            assert statuses(await batch(served, [request] * 3, state="copy")) == {503: 3}
            assert statuses(await batch(served, [request] * 3)) == {200: 3}

    async def test_that_of_traffic_is_counted_and_marked(self) -> None:
        async with town() as (served, issued):
            await batch(served, [{"path": "/orders", "api_key": issued.secret}] * 3, clock="real", state="traffic")
            assert served.usage.of_key("mobile").total_requests == 3


class TestBothTimes:
    """Limits, a failing service and a circuit that recovers. `--real-seconds 60` takes the minute that it says."""

    @pytest.mark.parametrize("sockets", [False, True], ids=["batch", "sockets"])
    async def test_a_scenario_in_real_time_is_the_same_in_virtual_time(
        self, pytestconfig: pytest.Config, sockets: bool
    ) -> None:
        seconds = pytestconfig.getoption("--real-seconds") or 1.4
        both = await compare(seconds, sockets=sockets)
        assert both.batch.took_seconds < 2
        assert both.meant.states == ["open", *["half_open", "open"] * 2, "half_open", "closed"]
        assert both.unexplained == []
        assert both.real.states == both.came.states
        # A machine that is a little late makes a request more or less of each change; one that misses a phase,
        # another story
        late = max(map(abs, both.late))
        if late < seconds / 40:
            assert both.real.states == both.meant.states
            assert abs(both.real.admitted - both.meant.admitted) <= (1 + late * PER_SECOND) * len(both.meant.changes)

    async def test_a_batch_is_what_comes_of_its_requests_one_by_one(self) -> None:
        both = await compare(0.5)
        assert statuses(both.batch) == {status: both.meant.with_status(status) for status in (200, 429, 500, 503)}
        assert [state for _, state in circuit(both.batch)] == both.meant.states
        assert [at for at, _ in circuit(both.batch)] == pytest.approx([at for at, _ in both.meant.changes], abs=1e-5)


class Told(Progress):
    """Progress that one can wait for."""

    def __init__(self) -> None:
        self.came_on = asyncio.Event()
        super().__init__()

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "share" and value:
            self.came_on.set()


class TestCancelling:
    @pytest.mark.parametrize("clock", ["virtual", "real"])
    async def test_it_ends_with_what_it_has_come_to(self, clock: str) -> None:
        async with town() as (served, _):
            asked = BatchRequest.model_validate(
                {"requests": [{"path": "/open"}], "clock": clock, "arrivals": {"per_second": 100, "seconds": 500}}
            )
            progress = Told()
            running = asyncio.ensure_future(served.simulation.batch(asked, served.listener.snapshot, progress))
            await progress.came_on.wait()
            progress.is_cancelled = True
            answer = await running
            assert not answer.is_complete
            assert answer.requests < 50_000
