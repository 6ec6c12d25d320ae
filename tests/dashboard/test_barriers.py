"""Barriers: axe-core finds none in any view, and every view works in 320 pixels, without motion and with large text."""

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, ViewportSize, expect

from tests.dashboard.browser import WIDE, Dashboard
from tests.process.gateway import Gateway, request
from tests.process.stoppable import StoppableUpstream

AXE = Path(__file__).resolve().parents[2] / ".axe" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
REPLAY = 'explain?mode=replay&patch={"rate_limits":{"strangers":{"burst_size":1}}}'
VIEWS = ["overview", "services", "routes", "keys", "issuers", "limits", "logs", "history", "explain?path=/gone", REPLAY]
SOMETHING = "main .row-open, main .walk a, main .flush td"
DIALOGS = [
    ("services", "New service"),
    ("services", "behind /gone"),
    ("routes", "New route"),
    ("limits", "New rule"),
    ("issuers", "New issuer"),
    ("keys", "New key"),
    ("keys", "Rotate mobile"),
    ("keys", "Make a token from mobile"),
    ("keys", "Revoke mobile"),
    ("logs", "/gone"),
    ("logs", "Shortcuts"),
]
NARROW: ViewportSize = {"width": 320, "height": 640}
LARGE: ViewportSize = {"width": 3840, "height": 2160}
NEW = {
    "services": "New service",
    "routes": "New route",
    "keys": "New key",
    "limits": "New rule",
    "issuers": "New issuer",
}
IS_LAID_OUT = "async (width) => (await new Promise(requestAnimationFrame)) > 0 && innerWidth === width"
LETTERS = "() => parseFloat(getComputedStyle(document.querySelector('.chart .tick')).fontSize)"
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture
def axe() -> str:
    if not AXE.is_file():
        assert os.environ.get("CI") != "true", "CI has no axe-core: barriers would go unseen"
        pytest.skip("there is no axe-core; ./test.sh fetches it where there is npm")
    return AXE.read_text(encoding="utf-8")


async def barriers(page: Page, axe: str) -> list[str]:
    """What axe-core finds, with the elements."""
    if await page.evaluate("typeof axe === 'undefined'"):
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
    """Something in every view: an open circuit, a key about to expire, requests of all kinds, limits that were met."""
    operator = gateway.operator
    operator.create_public_route("/users", upstream.url)
    operator.create_public_route("/gone", "http://127.0.0.1:1", priority=5, methods=["GET", "POST"])
    operator.create("keys", name="mobile", owner="Ada", team="core", expires_at="2099-01-01T00:00:00Z")
    operator.create("keys", name="off", enabled=False)
    operator.create("services", name="n" * 100, base_url="http://127.0.0.1:1")
    issuer = {"issuer": "https://login.example.com", "jwks_url": "http://127.0.0.1:1/keys"}
    operator.create("token-issuers", name="staff", audiences=["shop"], **issuer)
    limit = {"requests_per_minute": 1, "burst_size": 6}
    operator.create("rate-limits", name="strangers", count_by="address", before_auth=True, **limit)
    operator.create("rate-limits", name="watched", count_by="all", mode="shadow", path="/users", **limit)
    for path in ("/users/1", "/nothing", "/gone", "/gone", "/gone", "/gone"):
        gateway.ask(request(path))
    return gateway


async def show(dashboard: Dashboard, view: str) -> None:
    """A view with what there is to see in it."""
    await dashboard.go(view)
    if view == REPLAY:
        await dashboard.button("Replay").click()
    await expect(dashboard.page.locator(SOMETHING).first).to_be_visible()


async def test_no_view_has_a_barrier_on_a_desk_or_on_a_telephone_and_nothing_runs_off_either(
    dashboard: Dashboard, furnished: Gateway, axe: str
) -> None:
    page = dashboard.page
    await dashboard.sign_in()
    for view in VIEWS:
        await show(dashboard, view)
        assert await barriers(page, axe) == [], view
        await page.set_viewport_size(NARROW)
        await page.wait_for_function(IS_LAID_OUT, arg=NARROW["width"])
        assert await page.evaluate(OVERFLOW) <= 0, view
        assert await barriers(page, axe) == [], f"{view}, narrow"
        if view in NEW:
            await dashboard.button(NEW[view]).click()
            await expect(dashboard.dialog()).to_be_visible()
            assert await page.evaluate(OVERFLOW) <= 0, view
            await dashboard.press("Escape")
            await expect(dashboard.dialog()).to_have_count(0)
        await page.set_viewport_size(WIDE)


async def test_a_large_screen_has_larger_letters_and_charts_and_is_used(
    dashboard: Dashboard, furnished: Gateway
) -> None:
    page = dashboard.page
    await dashboard.sign_in()
    chart, head = page.locator("svg.chart").first, page.locator("main .view-head")
    await expect(chart.locator(".tick").first).to_be_attached()
    measured = []
    for size in (WIDE, LARGE):
        await page.set_viewport_size(size)
        await page.wait_for_function(IS_LAID_OUT, arg=size["width"])
        letters = float(await page.evaluate(LETTERS))
        box, width = await chart.bounding_box(), await head.evaluate("node => node.clientWidth")
        assert box
        measured.append((letters, box["height"], width / size["width"]))
        assert await page.evaluate(OVERFLOW) <= 0
    (small, low, _), (large, high, share) = measured
    assert large >= 1.4 * small
    assert high >= 2 * low
    assert share > 0.75
    for view in VIEWS[1:]:
        await show(dashboard, view)
        assert await page.evaluate(OVERFLOW) <= 0, view


async def test_neither_has_the_sign_in_page(stranger: Dashboard, axe: str) -> None:
    stranger.refusals = {401}
    await stranger.page.goto(f"{stranger.url}#token=wrong")
    await expect(stranger.page.get_by_role("alert")).to_have_text("This is not the admin token.")
    assert await barriers(stranger.page, axe) == []


async def test_neither_has_an_empty_view(dashboard: Dashboard, axe: str) -> None:
    await dashboard.sign_in()
    for view, title in (("services", "No service yet"), ("limits", "No rule yet"), ("issuers", "No issuer yet")):
        await dashboard.go(view)
        await expect(dashboard.page.get_by_role("heading", name=title)).to_be_visible()
        assert await barriers(dashboard.page, axe) == [], view


async def test_neither_has_a_dialog(dashboard: Dashboard, furnished: Gateway, axe: str) -> None:
    await dashboard.sign_in()
    for view, name in DIALOGS:
        await dashboard.go(view)
        await dashboard.button(name).first.click()
        await expect(dashboard.dialog().first).to_be_visible()
        await dashboard.page.evaluate(
            "document.querySelectorAll('dialog details').forEach((group) => { group.open = true; })"
        )
        assert await barriers(dashboard.page, axe) == [], name
        await dashboard.press("Escape")
        await expect(dashboard.dialog()).to_have_count(0)


async def test_neither_has_a_version_nor_its_restoring(dashboard: Dashboard, furnished: Gateway, axe: str) -> None:
    await dashboard.sign_in("history")
    await dashboard.page.locator("main .row-open").nth(2).click()
    await expect(dashboard.dialog().locator("section").first).to_be_visible()
    await dashboard.page.evaluate("document.querySelectorAll('details').forEach((group) => { group.open = true; })")
    assert await barriers(dashboard.page, axe) == []
    await dashboard.button("Restore …").click()
    await expect(dashboard.dialog("Restore version").get_by_role("region").first).to_be_visible()
    assert await barriers(dashboard.page, axe) == []


async def test_neither_has_a_fault_at_a_field_nor_a_new_key_nor_the_palette(dashboard: Dashboard, axe: str) -> None:
    dashboard.refusals = {422}
    await dashboard.sign_in("keys")
    await dashboard.button("New key").click()
    await dashboard.button("Create key").click()
    await expect(dashboard.field("Name")).to_have_attribute("aria-invalid", "true")
    assert await barriers(dashboard.page, axe) == []
    await dashboard.field("Name").fill("mobile")
    await dashboard.button("Create key").click()
    await expect(dashboard.dialog("Your new key")).to_be_visible()
    assert await barriers(dashboard.page, axe) == []
    await dashboard.button("I have stored it").click()
    assert await barriers(dashboard.page, axe) == []
    await dashboard.button("Yes, close").click()
    await dashboard.press("Control+k")
    await expect(dashboard.page.get_by_role("combobox", name="Find anything")).to_be_visible()
    assert await barriers(dashboard.page, axe) == []
    await dashboard.press("Escape")


async def test_without_motion_nothing_moves(dashboard: Dashboard) -> None:
    await dashboard.sign_in("keys")
    longest = "() => Math.max(...document.getAnimations().map((one) => one.effect.getComputedTiming().duration), 0)"
    await dashboard.button("New key").click()
    assert await dashboard.page.evaluate(longest) <= 1
