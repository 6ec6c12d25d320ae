"""How services are, asked of real ones, by hand."""

import asyncio
from typing import Any

from tests.control_plane.control import Control
from tests.kit.messages import lines
from tests.kit.steps import Echo, Send
from tests.kit.upstream import running_upstream
from tests.kit.waiting import PATIENCE

UP = lines("HTTP/1.1 204 No Content")
DOWN = lines("HTTP/1.1 500 Internal Server Error", "Content-Length: 0")
ONCE = {"unhealthy_threshold": 1}


def seen(target: dict[str, Any]) -> tuple[str, bool, int | None, str]:
    check = target["last_check"]
    return target["status"], check["passed"], check["status"], check["detail"]


async def test_before_anybody_has_asked_nothing_is_known(control: Control) -> None:
    service = await control.service()
    (item,) = (await control.get("/api/health/services"))["items"]
    assert item == {
        "id": service["id"],
        "name": "users",
        "enabled": True,
        "health": "unknown",
        "targets": [
            {
                "url": "http://127.0.0.1:9000",
                "weight": 1,
                "status": "unknown",
                "asked": True,
                "in_flight": 0,
                "failures": 0,
                "ejected_for_seconds": 0.0,
                "last_check": None,
                "average_latency_ms": None,
                "checks": [],
            }
        ],
    }


async def test_a_service_is_asked_by_hand_with_all_its_targets(control: Control) -> None:
    with running_upstream() as well, running_upstream() as ill:
        well.usually(Send(UP))
        ill.usually(Send(DOWN))
        service = await control.service(
            targets=[{"url": f"{well.url}/v1"}, {"url": ill.url, "weight": 3}],
            health_check_path="/up",
            health_check=ONCE,
        )
        answer = await control.post(f"/api/services/{service['id']}/health-check", None, 200)
        assert [seen(target) for target in answer["targets"]] == [
            ("healthy", True, 204, "it answered 204"),
            ("unhealthy", False, 500, "it answered 500"),
        ]
        assert answer["health"] == "degraded"
        assert [target["asked"] for target in answer["targets"]] == [True, False]
        assert answer["targets"][0]["average_latency_ms"] > 0
        assert answer["targets"][1]["average_latency_ms"] is None
        (request,) = well.requests
        assert (request.method, request.target) == (b"GET", b"/v1/up")
        assert request.one(b"host") == f"127.0.0.1:{well.port}".encode()
        assert request.one(b"connection") == b"close"
        read = await control.get(f"/api/services/{service['id']}")
        assert (read["health"], [one["status"] for one in read["target_health"]]) == (
            "degraded",
            ["healthy", "unhealthy"],
        )


async def test_all_are_asked_in_parallel_but_those_switched_off(control: Control) -> None:
    with running_upstream() as upstream:
        upstream.usually(Echo())
        for name in "abc":
            await control.service(name, base_url=f"{upstream.url}/{name}")
        await control.service("off", base_url=f"{upstream.url}/off", enabled=False)
        answer = await control.post("/api/health/check-all", None, 200)
        assert [(item["name"], item["health"]) for item in answer["items"]] == [
            ("a", "healthy"),
            ("b", "healthy"),
            ("c", "healthy"),
            ("off", "unknown"),
        ]
        assert sorted(request.target for request in upstream.requests) == [b"/a/health", b"/b/health", b"/c/health"]


async def test_those_who_ask_at_once_share_one_check(control: Control) -> None:
    with running_upstream() as upstream:
        service = await control.service(base_url=upstream.url)
        path = f"/api/services/{service['id']}/health-check"
        answers = await asyncio.gather(*(control.post(path, None, 200) for _ in range(5)))
        assert {answer["health"] for answer in answers} == {"healthy"}
        assert len(upstream.requests) < 5


async def test_one_that_does_not_answer_holds_nobody_up_for_longer_than_its_timeout(control: Control) -> None:
    with running_upstream() as upstream:
        upstream.usually()
        service = await control.service(base_url=upstream.url, health_check={"timeout_seconds": 0.2} | ONCE)
        async with asyncio.timeout(PATIENCE):
            answer = await control.post(f"/api/services/{service['id']}/health-check", None, 200)
        assert seen(answer["targets"][0]) == ("unhealthy", False, None, "it did not answer within 0.2 s")


async def test_there_is_none_without_a_service(control: Control) -> None:
    assert (await control.post("/api/services/svc_0000000000000000/health-check", None, 404))["code"] == "not_found"
