"""/api/metrics: windows over exchanges that a test hands in, at times that it chooses."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from microgateway.exchange import Exchange
from microgateway.observability.outcomes import OUTCOMES
from microgateway.observability.runs import runs_of
from tests.control_plane.control import Control
from tests.observability.exchanges import destination, exchange, principal, refused, rule

USERS = destination("/users", "users")
BILLS = destination("/bills", "billing")
ADA, BOB = principal("ada"), principal("bob")
ENDPOINTS = ["dashboard", "latency", "services", "volume", "rate-limits"]


def ended(control: Control, batch: Sequence[Exchange]) -> None:
    control.live.monitoring.metrics.count(runs_of(batch))
    control.live.monitoring.up_to_date()


def minutes_pass(control: Control, minutes: float) -> None:
    control.live.monitoring.up_to_date()
    control.clock.advance(minutes * 60)


async def ask(control: Control, endpoint: str, **query: object) -> Any:
    return await control.get(f"/api/metrics/{endpoint}", params=query)


async def test_the_dashboard_tells_of_this_window_and_the_one_before(control: Control) -> None:
    minutes_pass(control, 10)
    ended(control, [exchange(to=USERS, by=ADA, milliseconds=100.0, overhead=1.0) for _ in range(10)])
    minutes_pass(control, 1)
    ended(
        control,
        [
            *(exchange(to=USERS, by=ADA, milliseconds=20.0, overhead=1.0) for _ in range(14)),
            exchange(500, to=USERS, by=ADA, milliseconds=40.0, overhead=1.0),
            exchange(502, to=USERS, by=ADA, stage="proxy", code="upstream_unreachable"),
            refused(401, "auth", "api_key_missing"),
            refused(429, "rate_limit", "rate_limited", by=BOB),
            refused(429, "rate_limit", "rate_limited", by=BOB),
            refused(404, "router", "route_not_found", by=BOB),
        ],
    )
    told = await ask(control, "dashboard", window=60)
    seconds = told["window"]["seconds"]
    assert told["window"]["slot_seconds"] == 1
    assert 59 <= seconds <= 60
    assert told["requests"] == {"value": 20, "previous": 10}
    assert told["requests_per_second"]["value"] == pytest.approx(20 / seconds, abs=0.001)
    assert told["requests_per_second"]["previous"] == pytest.approx(10 / 60, abs=0.001)
    assert told["error_rate"] == {"value": 0.1, "previous": 0}
    assert told["latency_ms"]["p50"]["value"] == pytest.approx(20, rel=0.02)
    assert told["latency_ms"]["p99"]["value"] == pytest.approx(40, rel=0.02)
    assert told["latency_ms"]["p50"]["previous"] == pytest.approx(100, rel=0.02)
    assert told["overhead_ms"]["mean"] == pytest.approx(1, abs=0.002)
    assert told["refused"] == {"value": 1, "previous": 0}
    assert told["limited"] == {"value": 2, "previous": 0}
    assert told["statuses"] == {"200": 14, "429": 2, "401": 1, "404": 1, "500": 1, "502": 1}
    assert set(told["outcomes"]) == set(OUTCOMES)
    assert sum(told["outcomes"].values()) == 20
    (service,) = told["services"]
    assert (service["id"], service["current"]["requests"], service["previous"]["requests"]) == ("users", 16, 10)


async def test_before_the_start_nothing_is_known(control: Control) -> None:
    ended(control, [exchange()])
    told = await ask(control, "dashboard", window="24h")
    assert told["requests"] == {"value": 1, "previous": None}
    assert told["latency_ms"]["p99"]["previous"] is None


async def test_latency_by_service_route_key_and_status_with_its_history(control: Control) -> None:
    ended(control, [exchange(to=USERS, by=ADA, milliseconds=10.0, overhead=2.0)])
    minutes_pass(control, 5)
    ended(control, [exchange(404, to=BILLS, by=BOB, milliseconds=80.0, overhead=3.0)])
    told = await ask(control, "latency", window="10m")
    assert [point["p95_ms"] for point in told["history"]] == pytest.approx([10, 80], rel=0.02)
    assert told["upstream_ms"]["p50"] == pytest.approx(8, rel=0.02)
    assert told["overhead_ms"]["p99"] == pytest.approx(3, rel=0.02)
    found = {
        kind: {item["name"]: item["current"]["latency_ms"]["p50"] for item in told[kind]}
        for kind in ("services", "routes", "keys", "statuses")
    }
    assert found["services"] == pytest.approx({"users": 10, "billing": 80}, rel=0.02)
    assert found["routes"] == pytest.approx({"/users": 10, "/bills": 80}, rel=0.02)
    assert found["keys"] == pytest.approx({"Ada": 10, "Bob": 80}, rel=0.02)
    assert found["statuses"] == pytest.approx({"200": 10, "404": 80}, rel=0.02)
    assert {item["service"] for item in told["routes"]} == {"users", "billing"}
    of_one = await ask(control, "latency", window="10m", service="billing")
    assert of_one["total"]["current"]["requests"] == 1


async def test_every_service_is_listed_also_without_traffic(control: Control) -> None:
    one, other = await control.service("one"), await control.service("other")
    ended(control, [exchange(to=destination("/one", one["id"]))])
    told = await ask(control, "services")
    assert {item["name"]: item["current"]["requests"] for item in told["items"]} == {"one": 1, "other": 0}
    assert told["total"] == 2
    assert (await ask(control, "volume", service=other["id"]))["requests"] == 0


async def test_volume_has_every_slot_of_the_window(control: Control) -> None:
    ended(control, [exchange(), exchange(503, stage="proxy", code="upstream_overloaded")])
    minutes_pass(control, 2)
    ended(control, [exchange(302)])
    for window, slots, requests in (("60s", 60, 1), ("10m", 60, 3), ("1h", 60, 3), ("24h", 144, 3)):
        told = await ask(control, "volume", window=window)
        assert len(told["history"]) == slots
        assert sum(point["requests"] for point in told["history"]) == told["requests"] == requests
    told = await ask(control, "volume", window="10m")
    busy = [point for point in told["history"] if point["requests"]]
    assert [point["requests"] for point in busy] == [2, 1]
    assert busy[1]["start"] - busy[0]["start"] == 120
    assert busy[0]["outcomes"]["gateway_error"] == busy[0]["outcomes"]["success"] == 1


async def test_who_is_limited_most_comes_first(control: Control) -> None:
    ended(
        control,
        [
            *(exchange(to=USERS, by=ADA) for _ in range(9)),
            refused(429, "rate_limit", "rate_limited", by=ADA, limited_by=ADA),
            *(refused(429, "rate_limit", "rate_limited", by=BOB, limited_by=rule("crawlers")) for _ in range(3)),
            exchange(to=USERS, by=principal("eve"), shadowed=(rule("tried"),)),
        ],
    )
    told = await ask(control, "rate-limits", window="1m")
    assert told["limited"]["value"] == 4
    assert [(key["id"], key["limited"]["value"], key["share"]) for key in told["keys"]] == [
        ("bob", 3, 1.0),
        ("ada", 1, 0.1),
    ]
    assert [(item["name"], item["limited"], item["shadowed"]) for item in told["rules"]] == [
        ("Crawlers", 3, 0),
        ("key", 1, 0),
        ("Tried", 0, 1),
    ]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("window", ["", "0", "4", "4s", "1x", "-5", "5.5", "86401", "25h", "2d", "1e3", "٥", "9999999"])
async def test_a_window_that_makes_no_sense_is_named(control: Control, endpoint: str, window: str) -> None:
    problem = await control.get(f"/api/metrics/{endpoint}", 422, params={"window": window})
    assert [error["field"] for error in problem["errors"]] == ["window"]


@pytest.mark.parametrize(("window", "seconds"), [("5", 5), ("90s", 90), ("5m", 300), ("24h", 86_400), ("1d", 86_400)])
async def test_windows(control: Control, window: str, seconds: int) -> None:
    assert (await ask(control, "volume", window=window))["window"]["asked_seconds"] == seconds


async def test_a_service_that_is_not_there(control: Control) -> None:
    for endpoint in ("latency", "volume"):
        told = await control.get(f"/api/metrics/{endpoint}", 404, params={"service": "nobody"})
        assert told["code"] == "not_found"


async def test_a_route_tells_when_it_was_last_hit(control: Control) -> None:
    service = await control.post("/api/services", {"name": "users", "base_url": "http://127.0.0.1:9"})
    made = [
        (await control.post("/api/routes", {"path": path, "service_id": service["id"]})) for path in ("/users", "/idle")
    ]
    assert made[0]["last_hit_at"] is None
    control.live.monitoring.metrics.count(runs_of([exchange(401, to=destination("/users", route_id=made[0]["id"]))]))
    when = datetime.fromtimestamp(int(control.clock.wall()), UTC)
    listed = (await control.get("/api/routes"))["items"]
    assert [(route["path"], route["last_hit_at"]) for route in listed] == [
        ("/users", when.isoformat().replace("+00:00", "Z")),
        ("/idle", None),
    ]
    assert (await control.get(f"/api/routes/{made[0]['id']}"))["last_hit_at"] == listed[0]["last_hit_at"]
    assert (await control.client.put(f"/api/routes/{made[0]['id']}", json=listed[0])).status_code == 200
    assert (await control.client.delete(f"/api/routes/{made[0]['id']}")).status_code == 204
    assert control.live.usage.last_hits == {}
