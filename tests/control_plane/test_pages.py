"""Pages that work without internet, and answers that a browser trusts with as little as possible."""

import asyncio
import re
import threading
from html.parser import HTMLParser
from typing import Any

import pytest
from fastapi import FastAPI

from microgateway.control_plane.access import FOR_KEY_HOLDERS, SIGN_IN
from tests.control_plane.control import Control

PAGES = ["/", "/docs"]
TAKE_THE_CREDENTIAL_IN_THE_BODY = {("post", path) for path in (SIGN_IN, *FOR_KEY_HOLDERS)}
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class References(HTMLParser):
    """Collects what a page loads or links to, and scripts that stand in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_script = tag == "script"
        self.addresses += [value for name, value in attrs if name in ("src", "href") and value is not None]
        self.inline += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        if self._in_script and data.strip():
            self.inline.append(data)


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_loads_from_here_alone(control: Control, page: str) -> None:
    answer = await control.client.get(page)
    assert answer.headers["content-type"].startswith("text/html")
    references = References(answer.text)
    assert references.inline == []
    assert references.addresses
    for address in references.addresses:
        assert "//" not in address
        assert (await control.client.get("/" + address)).status_code == 200


async def test_swagger_ui_is_whole_and_asks_nobody(control: Control) -> None:
    script = await control.client.get("/docs/swagger-ui-bundle.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert len(script.content) > 500_000
    assert (await control.client.get("/docs/swagger-ui.css")).headers["content-type"].startswith("text/css")
    assert (await control.client.get("/docs/favicon-32x32.png")).content.startswith(b"\x89PNG")
    start = (await control.client.get("/docs/start.js")).text
    assert "validatorUrl: null" in start
    assert re.findall(r'url: "([^"]+)"', start) == ["openapi.json"]


async def test_the_policy_of_a_page_allows_no_foreign_address_and_no_script_in_it(control: Control) -> None:
    for page in PAGES:
        policy = (await control.client.get(page)).headers["content-security-policy"]
        directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
        assert directives["default-src"] == "'none'"
        assert directives["script-src"] == "'self'"
        assert directives["connect-src"] == "'self'"
        assert "http" not in policy


@pytest.mark.parametrize("path", [*PAGES, "/openapi.json", "/health", "/api/services", "/nowhere", "/docs/start.js"])
async def test_every_answer_carries_the_security_headers(control: Control, path: str) -> None:
    headers = (await control.client.get(path)).headers
    assert {name: headers.get(name) for name in HEADERS} == HEADERS
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == {"/": "no-cache", "/docs/start.js": "public, max-age=3600"}.get(path, "no-store")


async def openapi(control: Control) -> Any:
    return await control.get("/openapi.json")


async def test_the_description_is_made_beside_the_traffic(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes long the first time, and the proxy port may be served by this very loop."""
    made_in: list[int] = []
    make = FastAPI.openapi

    def watched(app: FastAPI) -> dict[str, Any]:
        made_in.append(threading.get_ident())
        return make(app)

    monkeypatch.setattr(FastAPI, "openapi", watched)
    one, other = await asyncio.gather(openapi(control), openapi(control))
    assert one == other
    assert len(made_in) == 2
    assert threading.get_ident() not in made_in
    assert "413" in one["paths"]["/api/services"]["post"]["responses"], "it is complete"


async def test_the_description_covers_the_api(control: Control) -> None:
    document = await openapi(control)
    assert {path: sorted(methods) for path, methods in document["paths"].items()} == {
        "/api/services": ["get", "post"],
        "/api/services/{service_id}": ["delete", "get", "patch", "put"],
        "/api/routes": ["get", "post"],
        "/api/routes/warnings": ["get"],
        "/api/routes/{route_id}": ["delete", "get", "patch", "put"],
        "/api/keys": ["get", "post"],
        "/api/keys/{key_id}": ["delete", "get", "patch", "put"],
        "/api/keys/{key_id}/rotate": ["post"],
        "/api/rate-limits": ["get", "post"],
        "/api/rate-limits/{rule_id}": ["delete", "get", "patch", "put"],
        "/api/circuit-breakers": ["get"],
        "/api/circuit-breakers/{service_id}": ["get"],
        "/api/circuit-breakers/{service_id}/reset": ["post"],
        "/api/logs": ["delete", "get"],
        "/api/logs/export": ["get"],
        "/api/logs/{row_id}": ["get"],
        "/api/metrics/dashboard": ["get"],
        "/api/metrics/latency": ["get"],
        "/api/metrics/rate-limits": ["get"],
        "/api/metrics/services": ["get"],
        "/api/metrics/volume": ["get"],
        "/api/token-issuers": ["get", "post"],
        "/api/token-issuers/{issuer_id}": ["delete", "get", "patch", "put"],
        "/api/auth/token": ["post"],
        "/api/auth/validate": ["post"],
        "/api/session": ["delete", "get", "post"],
        "/api/services/{service_id}/health-check": ["post"],
        "/api/health/services": ["get"],
        "/api/health/check-all": ["post"],
        "/api/live": ["get"],
        "/api/gateway/request": ["post"],
        "/api/gateway/batch": ["post"],
        "/api/gateway/replay": ["post"],
        "/api/gateway/rows/{row_id}": ["get"],
        "/api/gateway/jobs/{job_id}": ["delete", "get"],
        "/api/config/history": ["get"],
        "/api/config/history/{version}": ["get"],
        "/api/config/history/{version}/diff": ["get"],
        "/api/config/history/{version}/restore": ["post"],
        "/metrics": ["get"],
        "/health": ["get"],
        "/livez": ["get"],
        "/readyz": ["get"],
    }


async def test_the_description_says_which_calls_need_the_token_and_how_they_fail(control: Control) -> None:
    for path, methods in (await openapi(control))["paths"].items():
        for method, operation in methods.items():
            is_guarded = (
                path.startswith(("/api/", "/metrics")) and (method, path) not in TAKE_THE_CREDENTIAL_IN_THE_BODY
            )
            assert ("security" in operation) == is_guarded
            if is_guarded and path != "/metrics":
                assert {"401", "422", "503"} <= operation["responses"].keys()
                assert "application/problem+json" in operation["responses"]["401"]["content"]


async def test_the_description_never_shows_a_hash(control: Control) -> None:
    schemas = (await openapi(control))["components"]["schemas"]
    assert "key_hash" not in str(schemas)
    with_key = {name for name, schema in schemas.items() if "key" in schema.get("properties", {})}
    assert with_key == {"NewKeyAnswer", "LogRowAnswer", "Changed"}  # in the log and in a replay it is the key's name
