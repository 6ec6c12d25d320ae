"""Signing in to the dashboard: what a session opens, what it does not, and how it ends."""

from typing import Any

import httpx2
import pytest

from microgateway.control_plane.sessions import LIFETIME, MOST_SESSIONS, PROOF_FIELD
from tests.control_plane.control import TOKEN, Control, client_for


class Browser:
    """A client with cookies, as a browser on `origin` has them, and the proof that its page has kept."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self.client = client
        self.proof = ""
        self.cookie = ""

    async def sign_in(self, token: str = TOKEN, status: int = 200) -> httpx2.Response:
        answer = await self.client.post("/api/session", json={"token": token})
        assert answer.status_code == status, answer.text
        if status == 200:
            self.proof = answer.json()["proof"]
            self.cookie = answer.headers["set-cookie"]
        return answer

    async def ask(self, method: str = "GET", path: str = "/api/services", **options: Any) -> httpx2.Response:
        headers = {PROOF_FIELD: self.proof, **options.pop("headers", {})}
        return await self.client.request(method, path, headers=headers, **options)


@pytest.fixture
async def browser(control: Control) -> Any:
    async with client_for(control.app, None) as client:
        yield Browser(client)


class TestSignIn:
    async def test_the_admin_token_begins_a_session(self, control: Control, browser: Browser) -> None:
        answer = await browser.sign_in()
        assert answer.headers["cache-control"] == "no-store"
        assert (await browser.ask()).status_code == 200
        created = await browser.ask("POST", "/api/keys", json={"name": "made in a browser"})
        assert created.status_code == 201
        session = (await browser.ask("GET", "/api/session")).json()
        assert session["expires_at"] == answer.json()["expires_at"]

    async def test_no_script_can_read_the_cookie_and_no_other_site_sends_it(self, browser: Browser) -> None:
        await browser.sign_in()
        attributes = {part.strip().lower() for part in browser.cookie.split(";")[1:]}
        assert {"httponly", "samesite=strict", "path=/api", f"max-age={LIFETIME:.0f}"} <= attributes
        assert "secure" not in attributes  # over plain http no browser would take it

    async def test_over_https_the_cookie_is_for_https_alone(self, control: Control) -> None:
        transport = httpx2.ASGITransport(control.app)
        async with httpx2.AsyncClient(transport=transport, base_url="https://control.test") as client:
            answer = await client.post("/api/session", json={"token": TOKEN})
        assert "Secure" in answer.headers["set-cookie"]

    async def test_two_gateways_on_one_host_keep_their_cookies_apart(self, control: Control) -> None:
        names = []
        for port in ("8017", "8018"):
            transport = httpx2.ASGITransport(control.app)
            async with httpx2.AsyncClient(transport=transport, base_url=f"http://127.0.0.1:{port}") as client:
                answer = await client.post("/api/session", json={"token": TOKEN})
                names.append(answer.headers["set-cookie"].partition("=")[0])
        assert names == ["microgateway_session_8017", "microgateway_session_8018"]

    @pytest.mark.parametrize("token", ["wrong", TOKEN + "x", TOKEN[:-1], "ü", "x" * 1_024])
    async def test_a_wrong_token(self, browser: Browser, token: str) -> None:
        answer = await browser.sign_in(token, 401)
        assert answer.json()["code"] == "admin_token_required"
        assert "set-cookie" not in answer.headers
        assert (await browser.ask()).status_code == 401

    @pytest.mark.parametrize(
        "body", [{}, {"token": ""}, {"token": 1}, {"token": "x" * 1_025}, {"token": "a", "more": 1}]
    )
    async def test_a_body_that_makes_no_sense(self, browser: Browser, body: object) -> None:
        answer = await browser.client.post("/api/session", json=body)
        assert answer.status_code == 422
        assert TOKEN not in answer.text

    async def test_wrong_tokens_are_slowed_down_for_their_address(self, control: Control, browser: Browser) -> None:
        for _ in range(20):
            await browser.sign_in("wrong", 401)
        answer = await browser.sign_in(TOKEN, 429)
        assert answer.json()["code"] == "too_many_attempts"
        control.clock.advance(float(answer.headers["retry-after"]))
        await browser.sign_in("wrong", 401)
        await browser.sign_in("wrong", 429)
        control.clock.advance(1)
        await browser.sign_in()

    async def test_right_tokens_are_not(self, browser: Browser) -> None:
        for _ in range(30):
            await browser.sign_in()

    async def test_what_is_remembered_is_bounded(self, control: Control) -> None:
        sessions = control.app.state.control_plane.sessions
        first = sessions.begin()
        for _ in range(MOST_SESSIONS):
            sessions.begin()
        assert len(sessions._sessions) == MOST_SESSIONS  # noqa: SLF001  what this is about
        assert first.secret not in repr(first)


class TestForgery:
    """A cookie goes to every port of its host, and a page of another port counts as the same site."""

    async def test_the_cookie_alone_opens_nothing(self, browser: Browser) -> None:
        await browser.sign_in()
        assert (await browser.client.get("/api/services")).status_code == 401
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert (await browser.client.request(method, "/api/keys/key_1", json={})).status_code == 401
        assert (await browser.client.get("/api/session")).status_code == 401

    async def test_the_proof_alone_opens_nothing(self, browser: Browser) -> None:
        await browser.sign_in()
        browser.client.cookies.clear()
        assert (await browser.ask()).status_code == 401

    async def test_the_proof_of_another_session_does_not_fit(self, control: Control, browser: Browser) -> None:
        await browser.sign_in()
        async with client_for(control.app, None) as client:
            other = Browser(client)
            await other.sign_in()
        browser.proof = other.proof
        assert (await browser.ask()).status_code == 401

    @pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
    async def test_a_browser_that_says_it_asks_for_another_page_is_refused(self, browser: Browser, site: str) -> None:
        await browser.sign_in()
        assert (await browser.ask("DELETE", headers={"Sec-Fetch-Site": site})).status_code == 401
        assert (await browser.ask(headers={"Sec-Fetch-Site": "same-origin"})).status_code == 200

    @pytest.mark.parametrize("origin", ["http://control.test:8080", "http://evil.example", "null"])
    async def test_so_is_one_that_names_another_origin(self, browser: Browser, origin: str) -> None:
        await browser.sign_in()
        assert (await browser.ask(headers={"Origin": origin})).status_code == 401
        assert (await browser.ask(headers={"Origin": "http://control.test"})).status_code == 200

    async def test_a_session_does_not_mend_a_wrong_token(self, browser: Browser) -> None:
        await browser.sign_in()
        assert (await browser.ask(headers={"Authorization": "Bearer wrong"})).status_code == 401


class TestEnd:
    async def test_signing_out_ends_it_for_whoever_has_copied_it_too(self, control: Control, browser: Browser) -> None:
        await browser.sign_in()
        async with client_for(control.app, None) as client:
            thief = Browser(client)
            thief.proof = browser.proof
            client.cookies.update(browser.client.cookies)
            assert (await thief.ask()).status_code == 200
            answer = await browser.ask("DELETE", "/api/session")
            assert answer.status_code == 204
            assert "Max-Age=0" in answer.headers["set-cookie"]
            assert (await thief.ask()).status_code == 401
        assert (await browser.ask()).status_code == 401

    async def test_it_ends_by_itself(self, control: Control, browser: Browser) -> None:
        await browser.sign_in()
        control.clock.advance(LIFETIME - 1)
        assert (await browser.ask()).status_code == 200
        control.clock.advance(1)
        assert (await browser.ask()).status_code == 401

    async def test_with_the_admin_token_there_is_nothing_to_end(self, control: Control) -> None:
        assert await control.get("/api/session") == {"expires_at": None, "proxy": None}
        assert await control.delete("/api/session") is None
        assert (await control.get("/api/services"))["total"] == 0
