"""Barriers: axe-core finds none in any view, and every view works in 320 pixels, without motion and with large text."""

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from tests.dashboard.browser import Dashboard, open_tab
from tests.process.gateway import Gateway, request
from tests.process.stoppable import StoppableUpstream

AXE = Path(__file__).resolve().parents[2] / ".axe" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
VIEWS = ["overview", "services", "routes", "keys", "logs", "explain?path=/gone"]
SOMETHING = "main .row-open, main .walk a"
DIALOGS = [
    ("services", "New service"),
    ("services", "behind /gone"),
    ("routes", "New route"),
    ("keys", "New key"),
    ("keys", "Rotate mobile"),
    ("keys", "Make a token from mobile"),
    ("keys", "Revoke mobile"),
    ("logs", "/gone"),
    ("logs", "Shortcuts"),
]
NARROW = {"width": 320, "height": 640}


@pytest.fixture
def axe() -> str:
    if not AXE.is_file():
        assert os.environ.get("CI") != "true", "CI has no axe-core: barriers would go unseen"
        pytest.skip("there is no axe-core; ./test.sh fetches it where there is npm")
    return AXE.read_text(encoding="utf-8")


async def barriers(page: Page, axe: str) -> list[str]:
    """What axe-core finds, with the elements."""
    await page.evaluate(axe)
    run = "rules => axe.run(document, { runOnly: { type: 'tag', values: rules }, resultTypes: ['violations'] })"
    result: dict[str, Any] = await page.evaluate(run, RULES)
    return [
        f"{violation['id']}: {violation['help']} at {node['html'][:200]} ({node['failureSummary']})"
        for violation in result["violations"]
        for node in violation["nodes"]
    ]


@pytest.fixture
def furnished(gateway: Gateway, upstream: StoppableUpstream) -> Gateway:
    """Something in every view: an open circuit, a key about to expire, requests of all kinds."""
    operator = gateway.operator
    operator.create_public_route("/users", upstream.url)
    operator.create_public_route("/gone", "http://127.0.0.1:1", priority=5, methods=["GET", "POST"])
    operator.create("keys", name="mobile", owner="Ada", team="core", expires_at="2099-01-01T00:00:00Z")
    operator.create("keys", name="off", enabled=False)
    for path in ("/users/1", "/nothing", "/gone", "/gone", "/gone", "/gone"):
        gateway.ask(request(path))
    return gateway


async def test_no_view_has_a_barrier(browser: Browser, furnished: Gateway, axe: str) -> None:
    async with open_tab(browser, furnished, reduced_motion="reduce") as dashboard:
        await dashboard.sign_in()
        for view in VIEWS:
            await dashboard.go(view)
            await expect(dashboard.page.locator(SOMETHING).first).to_be_visible()
            assert await barriers(dashboard.page, axe) == [], view


async def test_neither_has_the_sign_in_page(dashboard: Dashboard, axe: str) -> None:
    dashboard.refusals = {401}
    await dashboard.page.goto(f"{dashboard.url}#token=wrong")
    await expect(dashboard.page.get_by_role("alert")).to_have_text("This is not the admin token.")
    assert await barriers(dashboard.page, axe) == []


async def test_neither_has_an_empty_view(dashboard: Dashboard, axe: str) -> None:
    await dashboard.sign_in("services")
    await expect(dashboard.page.get_by_role("heading", name="No service yet")).to_be_visible()
    assert await barriers(dashboard.page, axe) == []


async def test_neither_has_a_dialog(browser: Browser, furnished: Gateway, axe: str) -> None:
    async with open_tab(browser, furnished, reduced_motion="reduce") as dashboard:
        await dashboard.sign_in()
        for view, name in DIALOGS:
            await dashboard.go(view)
            await dashboard.button(name).first.click()
            await expect(dashboard.dialog().first).to_be_visible()
            for group in await dashboard.dialog().locator("summary").all():
                await group.click()
            assert await barriers(dashboard.page, axe) == [], name
            await dashboard.press("Escape")
            await expect(dashboard.dialog()).to_have_count(0)


async def test_neither_has_a_fault_at_a_field_nor_the_palette(browser: Browser, gateway: Gateway, axe: str) -> None:
    async with open_tab(browser, gateway, reduced_motion="reduce") as dashboard:
        dashboard.refusals = {422}
        await dashboard.sign_in("keys")
        await dashboard.button("New key").click()
        await dashboard.button("Create key").click()
        await expect(dashboard.field("Name")).to_have_attribute("aria-invalid", "true")
        assert await barriers(dashboard.page, axe) == []
        await dashboard.press("Escape", "Control+k")
        await expect(dashboard.page.get_by_role("combobox", name="Find anything")).to_be_visible()
        assert await barriers(dashboard.page, axe) == []


async def test_nothing_runs_off_a_narrow_screen(browser: Browser, furnished: Gateway) -> None:
    overflow = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    async with open_tab(browser, furnished, viewport=NARROW) as dashboard:
        await dashboard.sign_in()
        for view in VIEWS:
            await dashboard.go(view)
            await expect(dashboard.page.locator(SOMETHING).first).to_be_visible()
            assert await dashboard.page.evaluate(overflow) <= 0, view
            if view in ("services", "routes", "keys"):
                await dashboard.button(f"New {view[:-1]}").click()
                await expect(dashboard.dialog()).to_be_visible()
                assert await dashboard.page.evaluate(overflow) <= 0, view
                await dashboard.press("Escape")


async def test_without_motion_nothing_moves(browser: Browser, furnished: Gateway) -> None:
    async with open_tab(browser, furnished, reduced_motion="reduce") as dashboard:
        await dashboard.sign_in("keys")
        await dashboard.button("New key").click()
        longest = "() => Math.max(...document.getAnimations().map((one) => one.effect.getComputedTiming().duration), 0)"
        assert await dashboard.page.evaluate(longest) <= 1
