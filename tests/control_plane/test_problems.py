"""Every error is a problem (RFC 9457), says what to do, and gives nothing away."""

from typing import Any

import pytest

from microgateway.errors import MicroGatewayError
from tests.control_plane.control import Control

JSON = {"Content-Type": "application/json"}


async def refused(control: Control, body: bytes, status: int, headers: dict[str, str] | None = None) -> Any:
    return await control.ask(
        "POST", "/api/services", status, content=body, headers=JSON if headers is None else headers
    )


class TestShape:
    async def test_of_a_problem(self, control: Control) -> None:
        assert await control.get("/api/services/svc_1", 404) == {
            "type": "urn:microgateway:problem:not_found",
            "title": "Not Found",
            "status": 404,
            "detail": "There is no service with the id 'svc_1'.",
            "code": "not_found",
        }

    async def test_every_field_at_fault_is_named(self, control: Control) -> None:
        body = {"name": "", "base_url": "nowhere", "targets": [{"url": "http://a"}, {"url": "b"}], "colour": "red"}
        problem = await control.post("/api/services", body, 422)
        assert problem["code"] == "invalid"
        assert problem["title"] == "Unprocessable Content"
        assert [error["field"] for error in problem["errors"]] == ["name", "base_url", "targets.1.url", "colour"]
        messages = [error["message"] for error in problem["errors"]]
        assert "a base URL begins with http:// or https://" in messages

    async def test_a_patch_names_fields_in_the_same_way(self, control: Control) -> None:
        service = await control.service()
        patch = {"base_url": "nowhere", "circuit_breaker": {"failure_threshold": 0}}
        problem = await control.patch(f"/api/services/{service['id']}", patch, 422)
        assert [error["field"] for error in problem["errors"]] == ["base_url", "circuit_breaker.failure_threshold"]

    async def test_what_was_sent_is_not_repeated(self, control: Control) -> None:
        answer = await control.client.post("/api/keys", json={"name": "demo", "key": "mgw_live_secret", "owner": 5})
        assert answer.status_code == 422
        assert "secret" not in answer.text


class TestBodies:
    @pytest.mark.parametrize("body", [b"{", b"{'a': 1}", b"\xff\xfe\x00", b"[" * 50_000])
    async def test_no_json(self, control: Control, body: bytes) -> None:
        assert (await refused(control, body, 400))["code"] == "malformed_json"

    @pytest.mark.parametrize("body", [b"", b"null", b"[]", b'"text"', b"7", b"[{}]"])
    async def test_json_that_is_no_object(self, control: Control, body: bytes) -> None:
        problem = await refused(control, body, 422)
        assert [error["field"] for error in problem["errors"]] == ["body"]

    @pytest.mark.parametrize(
        "media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a"]
    )
    async def test_another_media_type(self, control: Control, media_type: str) -> None:
        body = b'{"name": "a", "base_url": "http://a"}'
        assert (await refused(control, body, 415, {"Content-Type": media_type}))["code"] == "unsupported_media_type"

    async def test_no_media_type(self, control: Control) -> None:
        assert (await refused(control, b"{}", 415, {}))["code"] == "unsupported_media_type"

    async def test_a_patch_may_call_itself_one(self, control: Control) -> None:
        service = await control.service()
        answer = await control.client.patch(
            f"/api/services/{service['id']}",
            content=b'{"enabled": false}',
            headers={"Content-Type": "application/merge-patch+json"},
        )
        assert answer.json()["enabled"] is False

    @pytest.mark.parametrize("patch", [b"[]", b"null", b"7"])
    async def test_a_patch_that_is_no_object(self, control: Control, patch: bytes) -> None:
        service = await control.service()
        problem = await control.ask("PATCH", f"/api/services/{service['id']}", 422, content=patch, headers=JSON)
        assert [error["field"] for error in problem["errors"]] == ["body"]

    @pytest.mark.parametrize(
        "body",
        [
            b'{"name": "\\ud800", "base_url": "http://a"}',
            b'{"name": "\\u0000", "base_url": "http://a"}',
            b'{"name": "a", "base_url": "http://a", "read_timeout_seconds": NaN}',
            b'{"name": "a", "base_url": "http://a", "read_timeout_seconds": 1e999}',
            b'{"name": "a", "base_url": "http://a", "circuit_breaker": {"failure_threshold": 100000000000000000000}}',
            b'{"name": "a", "base_url": "http://a", "health_check_path": "/\\ud800"}',
            b'{"name": "a", "base_url": "http://\\ud800"}',
        ],
    )
    async def test_what_json_allows_and_nothing_else_does(self, control: Control, body: bytes) -> None:
        assert (await refused(control, body, 422))["code"] == "invalid"

    async def test_a_body_that_is_too_large(self, control: Control) -> None:
        problem = await refused(control, b" " * 100_001, 413)
        assert (problem["code"], problem["title"]) == ("body_too_large", "Content Too Large")

    async def test_a_body_that_is_too_large_and_does_not_say_so(self, control: Control) -> None:
        async def chunks() -> Any:
            for _ in range(11):
                yield b" " * 10_000

        answer = await control.client.post("/api/services", content=chunks(), headers=JSON)
        assert "content-length" not in answer.request.headers
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")

    async def test_a_body_that_is_just_not_too_large(self, control: Control) -> None:
        body = b'{"name": "a", "base_url": "http://a"}'
        created = await refused(control, body + b" " * (100_000 - len(body)), 201)
        assert created["name"] == "a"


class TestPaths:
    @pytest.mark.parametrize(
        "path", ["/nowhere", "/api/nowhere", "/api/services/", "/api/services/a/b", "/docs/", "/health/"]
    )
    async def test_an_unknown_one(self, control: Control, path: str) -> None:
        assert (await control.get(path, 404))["code"] == "unknown_path"

    async def test_whoever_is_lost_is_told_where_they_are(self, control: Control) -> None:
        assert "/api/keys has no slash at its end" in (await control.get("/api/keys/", 404))["detail"]
        assert "of the control port" in (await control.get("/users/1/", 404))["detail"]

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("DELETE", "/api/services", "GET, POST"),
            ("POST", "/api/services/svc_1", "DELETE, GET, PATCH, PUT"),
            ("GET", "/api/circuit-breakers/svc_1/reset", "POST"),
            ("POST", "/health", "GET, HEAD"),
            ("PUT", "/", "GET, HEAD"),
        ],
    )
    async def test_another_method(self, control: Control, method: str, path: str, allowed: str) -> None:
        answer = await control.client.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
        assert answer.headers["allow"] == allowed


class TestMistakesOfOurs:
    async def test_they_give_nothing_away(self, control: Control) -> None:
        @control.app.get("/broken")
        async def broken() -> None:
            raise RuntimeError("the password is h3rzblut")

        answer = await control.client.get("/broken")
        assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
        assert "h3rzblut" not in answer.text
        assert "RuntimeError" not in answer.text
        assert answer.headers["x-content-type-options"] == "nosniff"

    async def test_an_error_of_ours_that_nobody_gave_an_answer_is_one(
        self, control: Control, caplog: pytest.LogCaptureFixture
    ) -> None:
        class NewError(MicroGatewayError):
            """One that the table does not know."""

        @control.app.get("/broken")
        async def broken() -> None:
            raise NewError("something inside")

        problem = await control.get("/broken", 500)
        assert "inside" not in problem["detail"]
        assert "NewError" in caplog.text


class TestQueries:
    async def test_a_filter_that_is_misspelt_deletes_nothing(self, control: Control) -> None:
        problem = await control.delete("/api/logs?befor=7d", 422)
        assert problem["errors"] == [{"field": "befor", "message": "There is no such parameter here, only before."}]

    async def test_nor_does_it_let_everything_through(self, control: Control) -> None:
        problem = await control.get("/api/routes?service=svc_1", 422)
        assert problem["errors"][0]["field"] == "service"
        assert "limit, offset, service_id" in problem["detail"]

    async def test_where_there_is_no_parameter(self, control: Control) -> None:
        service = await control.service()
        problem = await control.get(f"/api/services/{service['id']}?verbose", 422)
        assert problem["detail"] == "There are no parameters here."
