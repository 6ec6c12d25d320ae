"""The dashboard and the log while requests come in: what is shown is what happened, and soon after."""

import asyncio
import json
import math
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from playwright.async_api import Locator, expect

from tests.dashboard.browser import Dashboard
from tests.process.gateway import Gateway, request
from tests.process.stoppable import StoppableUpstream

SOON = 2_000  # milliseconds within which a change of the traffic has to be seen
TRIES = 4  # of which the best counts: a busy machine is no fault of the gateway's
PATIENCE = 6  # seconds
# The moment at which the page has changed so that the condition holds
WATCH = """condition => {
    window.seen = new Promise((resolve) => {
        const observer = new MutationObserver(() => {
            if (!condition()) return;
            observer.disconnect();
            resolve(Date.now());
        });
        observer.observe(document.querySelector("main"), { childList: true, characterData: true, subtree: true });
    });
}"""

CIRCUIT_OF_USERS_IS_OPEN = """[...document.querySelectorAll("main tr")]
    .some(({ textContent }) => textContent.startsWith("usersopen"))"""
CHANGES_OF_USERS = """[...document.querySelectorAll(".chart .change title")]
    .filter(({ textContent }) => textContent.endsWith("service users changed")).length"""
# A page can't be hidden from a test; it believes what this says
HIDEABLE = """
let isHidden = false;
Object.defineProperty(document, "hidden", { get: () => isHidden });
window.hide = (wanted) => { isHidden = wanted; document.dispatchEvent(new Event("visibilitychange")); };
"""


@pytest.fixture
def traffic(gateway: Gateway, upstream: StoppableUpstream) -> "Traffic":
    return Traffic(gateway, upstream)


class Traffic:
    """A route `/users`, behind a key, to an upstream that can be stopped."""

    def __init__(self, gateway: Gateway, upstream: StoppableUpstream) -> None:
        self.gateway, self.upstream = gateway, upstream
        operator = self.gateway.operator
        assert operator.http.delete("/api/logs").status_code == 204
        self.service = operator.create("services", name="users", base_url=upstream.url)
        operator.create("routes", path="/users", service_id=self.service["id"])
        self.key = operator.create("keys", name="mobile", requests_per_minute=6_000, burst_size=100)["key"]

    def ask_until_the_circuit_opens(self) -> None:
        assert [self.ask() for _ in range(4)] == [502, 502, 502, 503]

    def close_circuit(self) -> None:
        self.upstream.start()
        path = f"/api/circuit-breakers/{self.service['id']}/reset"
        assert self.gateway.operator.http.post(path).status_code == 200

    def ask(self, path: str = "/users/1", key: str | None = "", method: str = "GET") -> int:
        return self.gateway.ask(request(path, self.key if key == "" else key, method=method)).status


def tile(dashboard: Dashboard, name: str) -> Locator:
    return dashboard.page.locator(".tile").filter(has=dashboard.page.get_by_role("heading", name=name, exact=True))


async def number_in(locator: Locator) -> float:
    return float((await locator.locator("strong").inner_text()).split()[0].replace(",", ""))


async def seconds_until(dashboard: Dashboard, condition: str, cause: Callable[[], object]) -> float:
    """From the end of `cause` to the change in the page, by one clock: this machine's."""
    await dashboard.page.evaluate(f"() => ({WATCH})(() => {condition})")
    cause()
    ended = time.time()
    try:
        async with asyncio.timeout(PATIENCE):
            seen: float = await dashboard.page.evaluate("() => window.seen")
    except TimeoutError:
        return math.inf
    return seen / 1_000 - ended


class TestOverview:
    async def test_requests_are_counted_within_two_seconds(self, dashboard: Dashboard, traffic: Traffic) -> None:
        await dashboard.sign_in()
        await dashboard.button("1 min").click()
        refused = tile(dashboard, "Refused")
        await expect(refused.locator("strong")).not_to_have_text("–")
        took: list[float] = []
        while len(took) < TRIES and min(took, default=math.inf) > SOON / 1_000:
            least = await number_in(refused) + 5
            shown = f"Number(document.querySelector('.tile:last-child strong')?.textContent) >= {least}"
            took.append(await seconds_until(dashboard, shown, lambda: [traffic.ask(key=None) for _ in range(5)]))
        assert min(took) <= SOON / 1_000, took
        await expect(dashboard.page.get_by_text("Live", exact=True)).to_be_visible()

    async def test_what_needs_attention_comes_first(self, dashboard: Dashboard, traffic: Traffic) -> None:
        traffic.gateway.operator.create("keys", name="short-lived", expires_at=_in_days(3))
        traffic.upstream.stop()
        assert [traffic.ask() for _ in range(4)] == [502, 502, 502, 503]
        await dashboard.sign_in()
        attention = dashboard.page.get_by_role("region", name="Needs attention")
        items = attention.get_by_role("listitem")
        await expect(items.filter(has_text="The circuit of users is open.")).to_be_visible()
        await expect(items.filter(has_text="short-lived expires in 2 d")).to_be_visible()
        await expect(items.first).to_contain_text("circuit of users")
        await items.first.get_by_role("link").click()
        await expect(dashboard.dialog("users")).to_contain_text("failures in a row")

    async def test_charts_can_be_read_as_tables(self, dashboard: Dashboard, traffic: Traffic) -> None:
        assert [traffic.ask(), traffic.ask(), traffic.ask(key=None)] == [200, 200, 401]
        await dashboard.sign_in()
        chart = dashboard.page.get_by_role("region", name="Requests", exact=True)
        await expect(chart.get_by_role("img")).to_be_visible()
        await expect(chart.locator("rect.c-success").first).to_be_attached()
        await dashboard.button("Table", inside=chart).click()
        table = chart.get_by_role("table")
        await expect(table.get_by_role("columnheader", name="Success")).to_be_visible()
        await expect(table.get_by_role("row")).to_have_count(61)
        await expect(chart.get_by_role("img")).to_be_hidden()

    async def test_the_window_is_kept_in_the_address(self, dashboard: Dashboard) -> None:
        await dashboard.sign_in()
        await dashboard.button("1 h").click()
        assert dashboard.page.url.endswith("#/?window=1h")
        await dashboard.page.reload()
        await expect(dashboard.button("1 h")).to_have_attribute("aria-pressed", "true")

    async def test_a_change_of_the_configuration_is_marked(self, dashboard: Dashboard, traffic: Traffic) -> None:
        await dashboard.sign_in()
        await dashboard.button("1 min").click()
        marks = dashboard.page.locator(".chart .change title")
        await expect(marks.filter(has_text="service users created")).to_be_attached()
        took: list[float] = []
        while len(took) < TRIES and min(took, default=math.inf) > SOON / 1_000:
            shown = f"{CHANGES_OF_USERS} > {len(took)}"
            switch = {"enabled": len(took) % 2 == 1}
            change = partial(traffic.gateway.operator.change, "services", traffic.service["id"], **switch)
            took.append(await seconds_until(dashboard, shown, change))
        assert min(took) <= SOON / 1_000, took
        await expect(marks.last).to_contain_text("service users changed")

    async def test_an_open_circuit_is_told_as_it_happens(self, dashboard: Dashboard, traffic: Traffic) -> None:
        await dashboard.sign_in()
        row = dashboard.page.get_by_role("row").filter(has=dashboard.page.get_by_role("link", name="users", exact=True))
        await expect(row).to_contain_text("closed")
        took: list[float] = []
        while len(took) < TRIES and min(took, default=math.inf) > SOON / 1_000:
            if took:
                traffic.close_circuit()
                await expect(row).to_contain_text("closed")
            traffic.upstream.stop()
            took.append(await seconds_until(dashboard, CIRCUIT_OF_USERS_IS_OPEN, traffic.ask_until_the_circuit_opens))
        assert min(took) <= SOON / 1_000, took
        await expect(dashboard.page.locator("#announcer")).to_contain_text("The circuit of users is open")

    async def test_silence_is_told(self, stranger: Dashboard) -> None:
        page = stranger.page
        await page.clock.install()
        await stranger.sign_in()
        await expect(page.get_by_text("Live", exact=True)).to_be_visible()
        await page.route("**/api/**", lambda route: route.abort())
        await page.clock.run_for(7_000)
        await expect(page.get_by_text("Stale: nothing new for")).to_be_visible()
        await page.unroute("**/api/**")
        await page.clock.run_for(7_000)
        await expect(page.get_by_text("Live", exact=True)).to_be_visible()
        await stranger.go("keys")
        await expect(page.get_by_text("0 keys")).to_be_visible()
        await page.route("**/api/**", lambda route: route.abort())
        await page.clock.run_for(20_000)
        await expect(page.get_by_text("As of ")).to_be_visible()
        await page.unroute("**/api/**")
        await page.clock.run_for(20_000)
        await expect(page.get_by_text("As of ")).to_be_hidden()
        stranger.complaints[:] = [line for line in stranger.complaints if "ERR_FAILED" not in line]

    async def test_it_pauses_while_nobody_looks(self, stranger: Dashboard, traffic: Traffic) -> None:
        page = stranger.page
        asked: list[str] = []
        ended: list[str] = []
        await page.clock.install()
        await page.add_init_script(HIDEABLE)
        page.on("request", lambda sent: asked.append(sent.url))
        page.on("requestfailed", lambda sent: ended.append(sent.url))
        await stranger.sign_in()
        await expect(page.get_by_text("Live", exact=True)).to_be_visible()
        await page.evaluate("hide(true)")
        await expect(page.get_by_text("Paused", exact=True)).to_be_visible()
        assert [url for url in ended if url.endswith("/api/live")]
        await page.clock.run_for(1_000)  # milliseconds; what was under way is answered
        await page.wait_for_load_state("networkidle")
        asked.clear()
        await page.clock.run_for(60_000)  # in which a page that is seen asks a hundred times
        assert asked == []
        assert traffic.ask(key=None) == 401
        await page.evaluate("hide(false)")
        await expect(page.get_by_text("Live", exact=True)).to_be_visible()
        await page.clock.run_for(3_000)
        assert [url for url in asked if url.endswith("/api/live")]
        await expect(tile(stranger, "Refused").locator("strong")).not_to_have_text("0")

    async def test_without_anything_there_is_one_next_step(self, dashboard: Dashboard) -> None:
        await dashboard.sign_in()
        await dashboard.page.get_by_role("link", name="Create the first service").click()
        await expect(dashboard.dialog("New service")).to_be_visible()


class TestLogs:
    async def test_requests_appear_as_they_end(self, dashboard: Dashboard, traffic: Traffic) -> None:
        await dashboard.sign_in("logs")
        await expect(dashboard.page.get_by_role("heading", name="No request yet")).to_be_visible()
        took: list[float] = []
        while len(took) < TRIES and min(took, default=math.inf) > SOON / 1_000:
            path = f"/users/42{len(took)}"
            shown = f"[...document.querySelectorAll('main .row-open')].some((row) => row.textContent === '{path}')"
            took.append(await seconds_until(dashboard, shown, lambda path=path: traffic.ask(path)))  # type: ignore[misc]
        assert min(took) <= SOON / 1_000, took
        row = dashboard.row("/users/420")
        for text in ("GET", "200", "users", "mobile", "ms"):
            await expect(row).to_contain_text(text)
        await dashboard.button("Pause").click()
        assert traffic.ask("/users/43") == 200
        await dashboard.button("Follow").click()
        await expect(dashboard.row("/users/43")).to_be_visible()

    async def test_the_tail_stands_still_when_somebody_scrolls(self, stranger: Dashboard, traffic: Traffic) -> None:
        page = stranger.page
        await page.clock.install()
        assert {traffic.ask(f"/users/{number}") for number in range(40)} == {200}
        await stranger.sign_in("logs")
        await expect(stranger.row("/users/39")).to_be_visible()
        await page.mouse.move(640, 500)
        await page.mouse.wheel(0, 400)
        follow = stranger.button("Follow")
        await expect(follow).to_have_attribute("aria-pressed", "false")
        assert traffic.ask("/users/new") == 200
        asked: list[str] = []
        page.on("request", lambda sent: asked.append(sent.url))
        await page.clock.run_for(5_000)  # milliseconds, in which a tail that runs would have asked
        assert [url for url in asked if "/api/logs" in url] == []
        assert await page.evaluate("() => scrollY") > 80
        await follow.click()
        await expect(stranger.row("/users/new")).to_be_visible()
        assert await page.evaluate("() => scrollY") == 0

    async def test_filters_find_and_stay_in_the_address(self, dashboard: Dashboard, traffic: Traffic) -> None:
        asked = [
            traffic.ask("/users/1"),
            traffic.ask("/users/2", key=None),
            traffic.ask("/nothing"),
            traffic.ask(method="PUT"),
        ]
        assert asked == [200, 401, 404, 200] or asked[:3] == [200, 401, 404]
        await dashboard.sign_in("logs")
        paths = dashboard.page.locator("main .row-open")
        await expect(paths).to_have_count(4)
        await dashboard.page.get_by_label("Status").select_option("4xx")
        await expect(paths.filter(has_text="/nothing")).to_be_visible()
        await expect(paths.filter(has_text="/users/1")).to_have_count(0)
        await dashboard.page.get_by_label("Search paths, or an id").fill("USERS/2")
        await expect(paths).to_have_text(["/users/2"])
        assert "status=4xx" in dashboard.page.url
        await dashboard.page.reload()
        await expect(paths).to_have_text(["/users/2"])
        await dashboard.page.get_by_label("Method").select_option("DELETE")
        await expect(dashboard.page.get_by_role("heading", name="No request fits")).to_be_visible()
        await dashboard.button("Show all").click()
        await expect(paths).to_have_count(4)
        await dashboard.page.get_by_label("Key").select_option("mobile")
        await expect(paths.filter(has_text="/users/2")).to_have_count(0)
        await paths.filter(has_text="/users/1").last.click()
        trace = dashboard.dialog().get_by_role("link", name=re.compile("^[0-9a-f]{32}$"))
        its_id = await trace.inner_text()
        await trace.click()
        await expect(paths).to_have_text(["/users/1"])
        await dashboard.button(f"Trace: {its_id}").click()
        await expect(paths).to_have_count(4)
        await dashboard.page.get_by_label("Search paths, or an id").fill(its_id)
        await expect(paths).to_have_text(["/users/1"])

    async def test_a_row_tells_where_it_stopped(self, dashboard: Dashboard, traffic: Traffic) -> None:
        traffic.upstream.stop()
        assert traffic.ask("/users/7") == 502
        await dashboard.sign_in("logs")
        await dashboard.button("/users/7").click()
        drawer = dashboard.dialog("GET /users/7")
        await expect(drawer.locator("[data-stage=router]")).to_contain_text("passed")
        await expect(drawer.locator("[data-stage=proxy]")).to_contain_text("upstream unreachable")
        await expect(drawer).to_contain_text("Attempt 1")
        await expect(drawer).to_contain_text("not connected")
        line = await drawer.locator("pre").inner_text()
        assert f"http://127.0.0.1:{traffic.gateway.proxy_port}/users/7" in line
        await dashboard.press("Escape")
        await expect(dashboard.button("/users/7")).to_be_focused()

    async def test_what_was_refused_tells_by_whom(self, dashboard: Dashboard, traffic: Traffic) -> None:
        assert traffic.ask("/users/8", key=None) == 401
        await dashboard.sign_in("logs")
        await dashboard.button("/users/8").click()
        drawer = dashboard.dialog("GET /users/8")
        await expect(drawer.locator("[data-stage=auth]")).to_contain_text("api key missing")
        await expect(drawer.locator("[data-stage=router]")).to_contain_text("not reached")

    async def test_the_log_is_saved_as_filtered(self, dashboard: Dashboard, traffic: Traffic, tmp_path: Path) -> None:
        assert [traffic.ask("/users/1"), traffic.ask("/nothing")] == [200, 404]
        await dashboard.sign_in("logs?status=404")
        async with dashboard.page.expect_download() as download:
            await dashboard.button("NDJSON").click()
        saved = tmp_path / "log.ndjson"
        await (await download.value).save_as(saved)
        assert [json.loads(line)["path"] for line in saved.read_text().splitlines()] == ["/nothing"]

    async def test_clearing_asks_first(self, dashboard: Dashboard, traffic: Traffic) -> None:
        assert traffic.ask("/users/1") == 200
        await dashboard.sign_in("logs")
        await expect(dashboard.row("/users/1")).to_be_visible()
        await dashboard.button("Clear").click()
        await dashboard.button("Cancel").click()
        await expect(dashboard.row("/users/1")).to_be_visible()
        await dashboard.button("Clear").click()
        await dashboard.button("Clear log").click()
        await expect(dashboard.page.get_by_role("heading", name="No request yet")).to_be_visible()
        await expect(dashboard.button("Clear")).to_be_focused()


class TestUsage:
    async def test_a_key_s_usage_moves_with_its_requests(self, dashboard: Dashboard, traffic: Traffic) -> None:
        await dashboard.sign_in("keys")
        await expect(dashboard.row("mobile")).to_contain_text("0 of 6,000")
        for _ in range(3):
            assert traffic.ask() == 200
        await expect(dashboard.row("mobile")).to_contain_text("3 of 6,000")

    async def test_a_route_s_hits_lead_to_its_requests(self, dashboard: Dashboard, traffic: Traffic) -> None:
        assert [traffic.ask("/users/1"), traffic.ask("/users/2"), traffic.ask("/nothing")] == [200, 200, 404]
        await dashboard.sign_in("routes")
        await expect(dashboard.row("/users")).to_contain_text(re.compile(r"now|\d s ago"))
        await dashboard.row("/users").get_by_role("link", name="2", exact=True).click()
        await expect(dashboard.page.locator("main .row-open")).to_have_text(["/users/2", "/users/1"])

    async def test_a_check_by_hand_tells_how_a_service_is(self, dashboard: Dashboard, traffic: Traffic) -> None:
        await dashboard.sign_in("services")
        await dashboard.button("Check users now").click()
        await dashboard.notice(f"{traffic.upstream.url} passed in")
        traffic.upstream.stop()
        await dashboard.button("Check users now").click()
        await dashboard.notice(f"{traffic.upstream.url} failed (")

    async def test_a_token_is_made_and_read(self, dashboard: Dashboard, traffic: Traffic) -> None:
        dashboard.refusals = {401}
        await dashboard.sign_in("keys")
        await dashboard.button("Make a token from mobile").click()
        await dashboard.field("API key").fill("mgw_live_wrong")
        await dashboard.button("Make a token").click()
        await expect(dashboard.dialog().get_by_role("alert")).to_contain_text("This API key is not known here.")
        await expect(dashboard.page.get_by_role("navigation", name="Views")).to_be_visible()
        await dashboard.field("API key").fill(traffic.key)
        await dashboard.button("Make a token").click()
        token = await dashboard.dialog().get_by_label("The token").text_content()
        await expect(dashboard.dialog().locator("dl")).to_contain_text("microgateway")
        answer = traffic.gateway.ask(
            f"GET /users/1 HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        )
        assert answer.status == 200


def _in_days(days: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + days * 86_400 - 3_600))
