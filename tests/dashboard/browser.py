"""The dashboard as its users meet it: Chromium in front of a gateway that runs."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, ConsoleMessage, Locator, Page, ViewportSize, expect

from tests.process.gateway import Gateway

# Resolved when the page has turned to the address: the view before is gone then
GO = """view => new Promise((resolve) => {
    if (location.hash === "#/" + view) return resolve();
    addEventListener("hashchange", () => resolve(), { once: true });
    location.hash = "#/" + view;
})"""
IS_SIGNED_IN = "() => document.getElementById('view') !== null"
# A view that asks for nothing by itself, at an address that no test goes to
REST = """() => {
    document.getElementById("toasts")?.replaceChildren();
    for (const name of Object.keys(localStorage)) if (!name.endsWith("-proof")) localStorage.removeItem(name);
    location.hash = "#/explain?rest=" + performance.now();
}"""
WIDE: ViewportSize = {"width": 1280, "height": 860}


class Dashboard:
    """One tab. `refusals` are statuses of the API that a test brings about, which Chromium tells on its console."""

    def __init__(self, page: Page, gateway: Gateway) -> None:
        self.page = page
        self.gateway = gateway
        self.refusals: set[int] = set()
        self.complaints: list[str] = []
        page.context.on("console", self._listen)
        page.context.on("weberror", lambda error: self.complaints.append(f"uncaught: {error.error}"))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.gateway.control_port}/"

    async def sign_in(self, view: str = "") -> None:
        """By the address that the gateway prints, unless that was done; and on to a view."""
        if not await self.page.evaluate(IS_SIGNED_IN):
            await self.page.goto(f"{self.url}#token={self.gateway.admin_token}")
            await self.page.locator("main .view-head").wait_for()
        await self.go(view)

    async def go(self, view: str) -> None:
        """Until the view stands there: its module is loaded when it is shown for the first time."""
        await self.page.evaluate(GO, view)
        await self.page.locator("main .view-head").wait_for()

    async def rest(self) -> None:
        """Leaves nothing of this test for the next one that gets the tab."""
        await self.page.unroute_all()
        if self.page.viewport_size != WIDE:
            await self.page.set_viewport_size(WIDE)
        if await self.page.evaluate(IS_SIGNED_IN):
            await self.page.evaluate(REST)
        self.refusals = set()

    async def look_again(self) -> None:
        """As somebody who comes back to the tab: what it shows is asked for at once."""
        await self.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.page.keyboard.press(key)

    def row(self, name: str) -> Locator:
        return self.page.get_by_role("row").filter(has=self.page.get_by_role("button", name=name, exact=True))

    def button(self, name: str, *, inside: Locator | None = None) -> Locator:
        return (inside or self.page).get_by_role("button", name=name, exact=True)

    def dialog(self, name: str | None = None) -> Locator:
        return self.page.get_by_role("dialog", name=name) if name else self.page.get_by_role("dialog")

    def field(self, label: str) -> Locator:
        return self.dialog().get_by_label(label, exact=True)

    def found(self, name: str = "") -> Locator:
        """What the palette offers."""
        return self.page.locator("dialog.palette").get_by_role("option", name=name)

    async def notice(self, text: str) -> None:
        await expect(self.page.locator(".toast", has_text=text)).to_be_visible()

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """What the page itself gets of the API."""
        return await self.page.evaluate(
            """async ([method, path, body]) => {
                const proof = localStorage.getItem("microgateway-proof") ?? "";
                const headers = { "Content-Type": "application/json", "X-MicroGateway-Session": proof };
                const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
                return answer.status;
            }""",
            [method, path, body],
        )

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        is_refusal = message.text.startswith("Failed to load resource: the server responded with a status of ")
        is_of_api = urlsplit(message.location.get("url", "")).path.startswith("/api/")
        if is_refusal and is_of_api and any(f" {status} " in message.text for status in self.refusals):
            return
        self.complaints.append(f"{message.type}: {message.text} ({json.dumps(message.location)})")


@asynccontextmanager
async def open_tab(browser: Browser, gateway: Gateway, **options: Any) -> AsyncIterator[Dashboard]:
    """A tab of a browser that has never been here. What it complains of, at any time, fails the test."""
    options.setdefault("viewport", WIDE)
    context = await browser.new_context(**options)
    context.set_default_timeout(10_000)
    dashboard = Dashboard(await context.new_page(), gateway)
    try:
        yield dashboard
        assert dashboard.complaints == [], dashboard.complaints
    finally:
        await context.close()
