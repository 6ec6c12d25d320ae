"""The admin token: where it comes from, and what it opens."""

import os
from pathlib import Path

import pytest
from fastapi.routing import iter_route_contexts

from microgateway.control_plane.access import FOR_KEY_HOLDERS, load_or_create_admin_token
from microgateway.errors import StartupError
from microgateway.persistence.secret_file import LoadedSecret
from tests.control_plane.control import METRICS_TOKEN, TOKEN, Control, client_for

API_PATHS = ["/api/services", "/api/services/svc_1", "/api/unknown", "/api", "/api/"]


def load(folder: Path, token: str | None = None) -> LoadedSecret:
    return load_or_create_admin_token(token, folder)


class TestTokenFile:
    def test_the_first_start_makes_one_for_the_owner_alone(self, folder: Path) -> None:
        token, is_new = load(folder)
        assert is_new
        assert len(token) >= 40
        file = folder / "admin_token"
        assert file.read_text() == token + "\n"
        assert file.stat().st_mode & 0o777 == 0o600
        assert folder.stat().st_mode & 0o777 == 0o700
        assert [path.name for path in folder.iterdir()] == ["admin_token"]

    def test_the_next_start_finds_it(self, folder: Path) -> None:
        assert load(folder)[0] == load(folder)[0]
        assert load(folder).newly_created is False

    def test_every_gateway_has_its_own(self, tmp_path: Path) -> None:
        assert load(tmp_path / "a").text != load(tmp_path / "b").text

    def test_the_operator_s_own_is_taken_and_written_nowhere(self, folder: Path) -> None:
        assert load(folder, "chosen-by-hand") == ("chosen-by-hand", False)
        assert not folder.exists()

    def test_a_file_that_others_may_read_is_closed_to_them(self, folder: Path) -> None:
        token = load(folder).text
        (folder / "admin_token").chmod(0o644)
        assert load(folder).text == token
        assert (folder / "admin_token").stat().st_mode & 0o777 == 0o600

    def test_the_umask_does_not_matter(self, folder: Path) -> None:
        before = os.umask(0)
        try:
            load(folder)
        finally:
            os.umask(before)
        assert (folder / "admin_token").stat().st_mode & 0o777 == 0o600

    def test_an_empty_file_is_refused(self, folder: Path) -> None:
        load(folder)
        (folder / "admin_token").write_text("\n")
        with pytest.raises(StartupError, match="is empty; delete it"):
            load(folder)

    def test_a_folder_in_its_place_is_refused(self, folder: Path) -> None:
        (folder / "admin_token").mkdir(parents=True)
        with pytest.raises(StartupError, match=r"admin_token' can't be used: Is a directory"):
            load(folder)


class TestAccess:
    @pytest.mark.parametrize("path", API_PATHS)
    async def test_nothing_below_api_opens_without_the_token(self, control: Control, path: str) -> None:
        async with client_for(control.app, None) as stranger:
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "PURGE"):
                answer = await stranger.request(method, path)
                assert answer.status_code == 401, (method, path)
                assert answer.headers["www-authenticate"].startswith("Bearer")
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.headers["cache-control"] == "no-store"

    async def test_every_endpoint_of_the_api_is_behind_it(self, control: Control) -> None:
        contexts = list(iter_route_contexts(control.app.routes))
        guarded = [context for context in contexts if context.path and context.path.startswith("/api")]
        guarded = [context for context in guarded if context.path not in FOR_KEY_HOLDERS]
        assert len(guarded) > 15
        async with client_for(control.app, None) as stranger:
            for context in guarded:
                for method in (context.methods or set()) - ({"POST"} if context.path == "/api/session" else set()):
                    assert (await stranger.request(method, context.path or "")).status_code == 401

    @pytest.mark.parametrize(
        "credential",
        [
            "",
            "Bearer",
            "Bearer ",
            "Bearer wrong",
            f"Bearer {TOKEN}x",
            f"Bearer {TOKEN[:-1]}",
            f"Basic {TOKEN}",
            TOKEN,
            f"Bearer  {TOKEN.upper()}",
            "Bearer \u00e9",
        ],
    )
    async def test_a_wrong_credential(self, control: Control, credential: str) -> None:
        async with client_for(control.app, None) as stranger:
            answer = await stranger.get("/api/services", headers=[(b"Authorization", credential.encode())])
        assert answer.status_code == 401
        assert answer.json()["code"] == "admin_token_required"

    async def test_two_credentials_are_none(self, control: Control) -> None:
        async with client_for(control.app, None) as stranger:
            both = [("Authorization", f"Bearer {TOKEN}"), ("Authorization", "Bearer wrong")]
            assert (await stranger.get("/api/services", headers=both)).status_code == 401

    async def test_the_scheme_s_case_does_not_matter(self, control: Control) -> None:
        async with client_for(control.app, None) as client:
            answer = await client.get("/api/services", headers={"Authorization": f"bEARER {TOKEN}"})
        assert answer.status_code == 200

    async def test_it_is_asked_for_before_the_body_is_looked_at(self, control: Control) -> None:
        async with client_for(control.app, None) as stranger:
            for body in (b"{", b"x" * 200_000):
                answer = await stranger.post(
                    "/api/services", content=body, headers={"Content-Type": "application/json"}
                )
                assert answer.status_code == 401

    @pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/health", "/livez", "/readyz"])
    async def test_what_is_open_to_everybody(self, control: Control, path: str) -> None:
        async with client_for(control.app, None) as stranger:
            assert (await stranger.get(path)).status_code == 200

    async def test_a_prefix_before_the_application_does_not_open_the_door(self, control: Control) -> None:
        """A server may say that the application is mounted below `/gateway`; then the path carries that too."""

        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": b"", "more_body": False}

        for path in ("/gateway/api/services", "/api/services"):
            statuses: list[object] = []

            async def send(message: object, statuses: list[object] = statuses) -> None:
                assert isinstance(message, dict)
                statuses.append(message.get("status"))

            scope = {
                "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
                "path": path, "raw_path": path.encode(), "root_path": "/gateway", "query_string": b"", "headers": [],
                "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "state": {},
            }  # fmt: skip
            await control.app(scope, receive, send)
            assert statuses[0] == 401


class TestMetricsToken:
    async def test_it_opens_the_metrics_and_nothing_else(self, control: Control) -> None:
        async with client_for(control.app, METRICS_TOKEN) as client:
            answer = await client.get("/metrics")
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
            assert "# TYPE microgateway_requests_total counter" in answer.text
            for path in [*API_PATHS, "/api/metrics/dashboard"]:
                assert (await client.get(path)).status_code == 401

    async def test_the_admin_token_opens_them_too(self, control: Control) -> None:
        assert (await control.client.get("/metrics")).status_code == 200

    @pytest.mark.parametrize("token", [None, "", "another token", TOKEN + METRICS_TOKEN])
    async def test_nobody_else_sees_them(self, control: Control, token: str | None) -> None:
        async with client_for(control.app, token) as client:
            answer = await client.get("/metrics")
        assert answer.status_code == 401
        assert answer.json()["code"] == "admin_token_required"
