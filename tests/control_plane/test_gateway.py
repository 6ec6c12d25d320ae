"""POST /api/gateway/request: what the gateway would do, asked by an operator."""

from typing import Any

import pytest

from tests.control_plane.control import Control


async def asked(control: Control, **request: Any) -> Any:
    return await control.post("/api/gateway/request", {"path": "/", **request}, 200)


def stage(answer: Any, name: str) -> Any:
    return next(one for one in answer["stages"] if one["stage"] == name)


async def shop(control: Control) -> tuple[Any, Any]:
    """Two routes for `/orders`, behind a key with a burst of two."""
    service = await control.service("orders")
    await control.route(service["id"], "/orders", methods=["GET"])
    writes = {"methods": ["POST"], "headers": [{"name": "X-Version", "value": "2"}], "priority": 5}
    await control.route(service["id"], "/orders", **writes)
    return service, await control.key("mobile", requests_per_minute=60, burst_size=2)


class TestExplaining:
    async def test_a_request_that_would_be_forwarded(self, control: Control) -> None:
        service, key = await shop(control)
        answer = await asked(control, path="/orders/./7", query="full=1", api_key=key["key"], headers={"X-Foo": "bar"})
        assert (answer["status"], answer["stage"], answer["code"]) == (None, "proxy", None)
        assert (answer["key_id"], answer["service_id"]) == (key["id"], service["id"])
        assert stage(answer, "normalise")["request"]["path"] == "/orders/7"
        (limit,) = stage(answer, "rate_limit")["limits"]
        assert (limit["tokens_before"], limit["tokens_after"], limit["next_token_seconds"]) == (2.0, 1.0, 1.0)
        sent = stage(answer, "target")["upstream_request"]
        assert sent["url"] == "http://127.0.0.1:9000/orders/7?full=1"
        assert ["X-Foo", "bar"] in sent["headers"]
        assert [name for name, _ in sent["removed"]] == ["X-API-Key"]
        assert ["Host", "localhost", "127.0.0.1:9000"] in sent["changed"]
        assert ["X-RateLimit-Remaining", "1"] in answer["headers"]

    async def test_every_candidate_says_which_of_its_conditions_failed(self, control: Control) -> None:
        _, key = await shop(control)
        answer = await asked(control, path="/orders", api_key=key["key"])
        writes, reads = stage(answer, "route")["candidates"]
        assert (reads["chosen"], reads["failed"]) == (True, [])
        assert not writes["chosen"]
        assert writes["failed"] == ["method: GET is not POST", "header x-version: it must be 2, and it is missing"]

    async def test_a_route_that_comes_after_another_one(self, control: Control) -> None:
        service = await control.service()
        for path in ("/", "/users"):
            await control.route(service["id"], path, auth="none")
        answer = await asked(control, path="/users/1")
        assert [one["failed"] for one in stage(answer, "route")["candidates"]] == [
            [],
            ["another route comes before it"],
        ]

    async def test_a_stranger_is_refused_and_nothing_behind_that_is_reached(self, control: Control) -> None:
        await shop(control)
        answer = await asked(control, path="/orders")
        assert (answer["status"], answer["code"], answer["stage"]) == (401, "api_key_missing", "auth")
        verdicts = [one["verdict"] for one in answer["stages"]]
        assert verdicts == ["passed", "skipped", "refused", *["not_reached"] * 5]

    async def test_a_request_that_makes_no_sense_gets_the_answer_to_that(self, control: Control) -> None:
        answer = await asked(control, path="/a b")
        assert (answer["status"], answer["code"], answer["stage"]) == (400, "bad_request", "parse")
        assert stage(answer, "normalise")["verdict"] == "refused"

    async def test_an_open_circuit_says_when_it_is_asked_again(self, control: Control) -> None:
        service = await control.service(circuit_breaker={"mode": "forced_open"})
        await control.route(service["id"], "/", auth="none")
        answer = await asked(control)
        assert (answer["status"], answer["code"]) == (503, "circuit_open")
        assert stage(answer, "circuit")["circuit"]["state"] == "open"
        assert ["Retry-After", "30"] in answer["headers"]

    async def test_asking_a_hundred_times_takes_nothing(self, control: Control) -> None:
        _, key = await shop(control)
        answers = [await asked(control, path="/orders", api_key=key["key"]) for _ in range(5)]
        assert {stage(answer, "rate_limit")["limits"][0]["tokens_before"] for answer in answers} == {2.0}


class TestBadInput:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("path", "/a\r\nX-Injected: yes"),
            ("path", "/\u4e2d"),
            ("path", ""),
            ("method", "GET\n"),
            ("host", "a\rb"),
            ("api_key", "a\nb"),
            ("client_ip", "nowhere"),
            ("upstream", "perhaps"),
        ],
    )
    async def test_it_is_named(self, control: Control, field: str, value: str) -> None:
        problem = await control.post("/api/gateway/request", {"path": "/", field: value}, 422)
        assert [error["field"] for error in problem["errors"]] == [field]

    @pytest.mark.parametrize("headers", [{"X-A": "b\r\nc"}, {"X\n": "b"}, {"X-A": ["b", "c\nd"]}])
    async def test_a_header_makes_no_second_line(self, control: Control, headers: dict[str, Any]) -> None:
        problem = await control.post("/api/gateway/request", {"path": "/", "headers": headers}, 422)
        assert all(error["field"].startswith("headers") for error in problem["errors"])


async def many(control: Control, status: int = 200, **fields: Any) -> Any:
    return await control.post("/api/gateway/batch", {"requests": [{"path": "/open"}], **fields}, status)


def requests_by_status(job: Any) -> dict[int, int]:
    return {one["status"]: one["requests"] for one in job["result"]["counts"]}


class TestBatches:
    async def test_one_is_answered_when_it_is_done(self, control: Control) -> None:
        service = await control.service()
        await control.route(service["id"], "/open", auth="none")
        job = await many(control, arrivals={"per_second": 10, "seconds": 6}, wait_seconds=10)
        assert (job["state"], job["kind"], job["progress"]) == ("done", "batch", 1.0)
        assert requests_by_status(job) == {200: 60}
        assert job["result"]["services"][0]["id"] == service["id"]
        assert await control.get(f"/api/gateway/jobs/{job['id']}") == job

    async def test_a_long_one_is_asked_for_and_can_be_cancelled(self, control: Control) -> None:
        await control.route((await control.service())["id"], "/open", auth="none")
        long = {"arrivals": {"per_second": 500, "seconds": 1_900}, "wait_seconds": 0}
        job = await many(control, 202, **long)
        assert (job["state"], job["result"]) == ("running", None)
        ended = await control.delete(f"/api/gateway/jobs/{job['id']}", 200)
        assert (ended["state"], ended["result"]["is_complete"]) == ("cancelled", False)

    async def test_only_so_many_run_at_once(self, control: Control) -> None:
        long = {"arrivals": {"per_second": 500, "seconds": 1_900}, "wait_seconds": 0}
        jobs = [await many(control, 202, **long) for _ in range(4)]
        assert (await many(control, 429, **long))["code"] == "too_many_jobs"
        for job in jobs:
            await control.delete(f"/api/gateway/jobs/{job['id']}", 200)
        assert (await many(control, wait_seconds=10))["state"] == "done"

    async def test_an_unknown_job_is_not_found(self, control: Control) -> None:
        assert (await control.get("/api/gateway/jobs/job_0123456789abcdef", 404))["code"] == "not_found"

    @pytest.mark.parametrize(
        "fields",
        [
            {"requests": []},
            {"arrivals": {"per_second": 1_000, "seconds": 86_400}},
            {"arrivals": {"per_second": 1_000, "seconds": 600}, "clock": "real"},
            {"arrivals": {"seconds": 601, "per_second": 0.1}, "clock": "real"},
            {"state": "traffic"},
            {"upstream": {"error_rate": 1.5}},
        ],
    )
    async def test_what_is_too_much_or_makes_no_sense_is_refused(
        self, control: Control, fields: dict[str, Any]
    ) -> None:
        assert (await many(control, 422, **fields))["code"] == "invalid"


class TestProposals:
    async def test_another_limit_is_tried_and_not_put_in_force(self, control: Control) -> None:
        _, key = await shop(control)
        asked_for: dict[str, Any] = {
            "requests": [{"path": "/orders", "api_key": key["key"]}],
            "arrivals": {"per_second": 10, "seconds": 10},
            "wait_seconds": 10,
        }
        before = await many(control, **asked_for)
        wider = {"keys": {"mobile": {"requests_per_minute": 600, "burst_size": 100}}}
        after = await many(control, **asked_for, configuration=wider)
        assert requests_by_status(before) == {200: 11, 429: 89}
        assert requests_by_status(after) == {200: 100}
        assert (await control.get(f"/api/keys/{key['id']}"))["burst_size"] == 2
        assert requests_by_status(await many(control, **asked_for)) == requests_by_status(before)

    async def test_a_route_and_its_service_that_are_not_there_yet(self, control: Control) -> None:
        proposed = {
            "services": {"new": {"base_url": "http://127.0.0.1:9000"}},
            "routes": {"/open": {"service_id": "new", "auth": "none"}},
            "rate_limits": {"all": {"requests_per_minute": 60, "burst_size": 1, "count_by": "all"}},
        }
        job = await many(control, configuration=proposed, arrivals={"per_second": 2, "seconds": 10}, wait_seconds=10)
        assert requests_by_status(job) == {200: 10, 429: 10}
        assert (await control.get("/api/services"))["total"] == 0

    async def test_what_is_taken_away_is_gone(self, control: Control) -> None:
        _, key = await shop(control)
        asked_for: dict[str, Any] = {"requests": [{"path": "/orders", "api_key": key["key"]}], "wait_seconds": 10}
        routes = (await control.get("/api/routes"))["items"]
        without = {"routes": {one["id"]: None for one in routes}}
        assert requests_by_status(await many(control, **asked_for, configuration=without)) == {404: 1}
        assert requests_by_status(await many(control, **asked_for, configuration={"keys": {"mobile": None}})) == {
            401: 1
        }

    async def test_a_whole_file_as_a_seed_has_it(self, control: Control) -> None:
        _, key = await shop(control)
        other = await control.key("other")
        whole = {
            "services": [{"name": "new", "base_url": "http://127.0.0.1:9000"}],
            "routes": [
                {"path": "/orders", "service": "new", "methods": ["GET"]},
                {"path": "/orders", "service": "new", "methods": ["PUT"]},
            ],
            "keys": [{"name": "mobile", "services": ["new"], "requests_per_minute": 60, "burst_size": 5}],
            "rate_limits": [
                {"name": "busy", "service": "new", "requests_per_minute": 60, "burst_size": 3, "count_by": "all"}
            ],
        }
        ours = [{"path": "/orders", "api_key": key["key"], "method": method} for method in ("GET", "PUT")] * 2
        job = await many(control, requests=ours, configuration=whole, wait_seconds=10)
        assert requests_by_status(job) == {200: 3, 429: 1}
        theirs = [{"path": "/orders", "api_key": other["key"]}]
        assert requests_by_status(await many(control, requests=theirs, configuration=whole, wait_seconds=10)) == {
            401: 1
        }

    @pytest.mark.parametrize(
        ("configuration", "field"),
        [
            ({"keys": {"nobody": {}}}, "configuration.keys.nobody"),
            ({"routes": {"/nowhere": None}}, "configuration.routes./nowhere"),
            ({"services": {"orders": {"base_url": "nonsense"}}}, "configuration.services.orders.base_url"),
            ({"keys": {"mobile": {"burst_size": 0}}}, "configuration.keys.mobile.burst_size"),
        ],
    )
    async def test_nonsense_is_named(self, control: Control, configuration: dict[str, Any], field: str) -> None:
        await shop(control)
        problem = await many(control, 422, configuration=configuration)
        assert [error["field"] for error in problem["errors"]] == [field]


class TestReplays:
    async def test_an_empty_log_has_nothing_that_changes(self, control: Control) -> None:
        await control.log_database.open()
        job = await control.post("/api/gateway/replay", {"since": "1h", "wait_seconds": 10}, 200)
        assert (job["kind"], job["state"]) == ("replay", "done")
        assert (job["result"]["rows"], job["result"]["changed"], job["result"]["changes"]) == (0, 0, [])
        assert job["result"]["until"] - job["result"]["since"] == 3_600

    @pytest.mark.parametrize("field", ["since", "until"])
    async def test_a_moment_that_makes_no_sense_is_named(self, control: Control, field: str) -> None:
        problem = await control.post("/api/gateway/replay", {field: "yesterday"}, 422)
        assert [error["field"] for error in problem["errors"]] == [field]


class TestRows:
    async def test_one_that_is_not_there(self, control: Control) -> None:
        await control.log_database.open()
        await control.get("/api/gateway/rows/7", 404)
