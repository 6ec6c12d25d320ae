"""Explain, many requests at once: what is drawn of a batch is what the API tells of it."""

import re
from typing import Any

from playwright.async_api import Locator, expect

from tests.dashboard.browser import Dashboard
from tests.dashboard.test_barriers import NARROW, OVERFLOW, axe, barriers
from tests.process.gateway import Gateway

__all__ = ["axe"]
ANYTHING_DRAWN = re.compile("^M.*L")
VIEW = "explain?mode=batch&path=/users/1"


def furnish(gateway: Gateway) -> str:
    """A route behind a key of one request a second and a burst of twenty; answers the key."""
    service = gateway.operator.create("services", name="users", base_url="http://127.0.0.1:1")
    gateway.operator.create("routes", path="/users", service_id=service["id"], auth="required")
    key: str = gateway.operator.create("keys", name="mobile", requests_per_minute=60, burst_size=20)["key"]
    return key


async def describe(dashboard: Dashboard, **fields: str) -> Locator:
    for label, text in fields.items():
        await dashboard.page.get_by_label(label.replace("_", " ")).fill(text)
    await dashboard.button("Run").click()
    return dashboard.page.get_by_role("region", name="What would happen")


async def test_refusals_outcomes_tokens_and_circuits_are_seen_over_time(dashboard: Dashboard) -> None:
    gateway, page = dashboard.gateway, dashboard.page
    key = furnish(gateway)
    await dashboard.sign_in(VIEW)
    await page.get_by_label("API key").fill(key)
    await page.get_by_label("All fail from second").fill("20")
    result = await describe(dashboard, to_second="40", Requests_a_second="5")
    note = result.get_by_role("status")
    await expect(note).to_contain_text("300 requests in 1 min")

    told = ask(gateway, key)
    counts = {(entry["status"], entry["code"]): entry["requests"] for entry in told["counts"]}
    first = next(entry["at"] for entry in told["timeline"] if entry["after"] == "429")
    opened = next(entry["at"] for entry in told["timeline"] if entry["after"] == "open")
    assert 0 < first < 20 < opened < 40
    await expect(note).to_contain_text(f"First 429 at 0:0{round(first, 1)}.")
    await expect(note).to_contain_text(f"The circuit of users opened at 0:{round(opened, 1)}")

    volume = result.get_by_role("region", name="Requests by outcome", exact=True)
    for kind in ("success", "limited", "upstream_error", "gateway_error"):
        await expect(volume.locator(f"rect.c-{kind}").first).to_be_attached()
    await expect(volume.locator(".change title").first).to_have_text(
        f"0:{round(opened, 1)}: the circuit of users is open"
    )
    await dashboard.button("Table", inside=volume).click()
    limited = await volume.get_by_role("row").locator("td:nth-child(3)").all_inner_texts()
    await expect(volume.get_by_role("columnheader").nth(2)).to_have_text("Limited")
    assert sum(map(int, limited)) == counts[429, "rate_limited"]

    tokens = result.get_by_role("region", name="Tokens", exact=True)
    await expect(tokens.locator("path.line")).to_have_attribute("d", ANYTHING_DRAWN)
    await dashboard.button("Table", inside=tokens).click()
    await expect(tokens.get_by_role("row").last).to_contain_text("16.0")  # of 20, one a second comes, five are taken
    circuit = result.get_by_role("img", name="The circuit of users: closed from 0:00.0, open from 0:2")
    await expect(circuit.locator("rect.tone-bad").first).to_be_attached()
    answers = result.get_by_role("region", name="Answers", exact=True)
    await expect(answers.get_by_role("row").filter(has_text="rate_limited")).to_contain_text(
        str(counts[429, "rate_limited"])
    )
    groups = result.get_by_role("region", name="Keys and services", exact=True)
    await expect(groups.get_by_role("row").filter(has_text="mobile")).to_contain_text("300")


async def test_a_long_one_is_watched_and_cancelled(dashboard: Dashboard) -> None:
    key = furnish(dashboard.gateway)
    await dashboard.sign_in(VIEW)
    await dashboard.page.get_by_text("Time and state").click()
    await dashboard.page.get_by_label("Clock").select_option("real")
    result = await describe(dashboard, API_key=key, For_seconds="500")
    bar = result.get_by_role("progressbar", name="Progress")
    await expect(bar).to_be_visible()
    await dashboard.page.wait_for_function("() => document.querySelector('progress').value > 0")
    await expect(dashboard.button("Run")).to_be_disabled()
    await dashboard.button("Cancel").click()
    await expect(result).to_contain_text("until it was cancelled")
    await expect(bar).to_have_count(0)
    await expect(dashboard.button("Run")).to_be_enabled()


async def test_who_leaves_has_it_cancelled(dashboard: Dashboard) -> None:
    furnish(dashboard.gateway)
    await dashboard.sign_in(VIEW)
    await dashboard.page.get_by_text("Time and state").click()
    await dashboard.page.get_by_label("Clock").select_option("real")
    result = await describe(dashboard, For_seconds="500")
    await expect(result.get_by_role("progressbar")).to_be_visible()
    async with dashboard.page.expect_response(lambda answer: answer.request.method == "DELETE") as ended:
        await dashboard.button("One request").click()
    job = await (await ended.value).json()
    assert job["state"] == "cancelled"


async def test_what_makes_no_sense_is_told_at_its_field(dashboard: Dashboard) -> None:
    dashboard.refusals = {422}
    furnish(dashboard.gateway)
    await dashboard.sign_in("explain?mode=batch")
    path = dashboard.page.get_by_label("Path")
    await describe(dashboard)
    await expect(path).to_have_attribute("aria-invalid", "true")
    result = await describe(dashboard, Path="/users/1", For_seconds="many")
    await expect(dashboard.page.get_by_label("For seconds")).to_be_focused()
    await expect(path).not_to_have_attribute("aria-invalid", "true")
    await describe(dashboard, For_seconds="86400", Requests_a_second="1000")
    await expect(dashboard.page.get_by_role("alert").filter(has_text="1000000 are the most")).to_be_visible()
    await describe(dashboard, For_seconds="10", Requests_a_second="1")
    await expect(result).to_contain_text("10 requests in")


async def test_a_request_keeps_what_was_said_of_it_when_it_becomes_many(dashboard: Dashboard) -> None:
    await dashboard.sign_in("explain")
    await dashboard.page.get_by_label("Path").fill("/users/1")
    await dashboard.page.get_by_label("Headers").fill("X-Version: 2\nX-Version: 3\nX-Other: a: b")
    await expect(dashboard.page.get_by_label("Milliseconds", exact=True)).to_be_hidden()
    await dashboard.button("Many requests").click()
    await expect(dashboard.page.get_by_label("Milliseconds", exact=True)).to_be_visible()
    await expect(dashboard.page.get_by_label("Path")).to_have_value("/users/1")
    await expect(dashboard.page.get_by_label("Headers")).to_have_value("X-Version: 2\nX-Version: 3\nX-Other: a: b")
    await dashboard.page.get_by_label("Requests come").select_option("bursts")
    await expect(dashboard.page.get_by_label("Requests a second")).to_be_hidden()
    await expect(dashboard.page.get_by_label("Every so many seconds")).to_have_value("1")


async def test_it_has_no_barrier_and_fits_a_narrow_screen(dashboard: Dashboard, axe: str) -> None:
    furnish(dashboard.gateway)
    await dashboard.page.set_viewport_size(NARROW)
    await dashboard.sign_in(VIEW)
    result = await describe(dashboard, All_fail_from_second="1", to_second="30")
    await expect(result.get_by_role("status")).to_contain_text("600 requests")
    found = await barriers(dashboard.page, axe)
    assert found == [], "\n".join(found)
    assert await dashboard.page.evaluate(OVERFLOW) <= 0


def ask(gateway: Gateway, key: str) -> Any:
    """The same batch, of the API."""
    phase = {"from_seconds": 20, "to_seconds": 40, "error_rate": 1}
    asked = {
        "requests": [{"path": "/users/1", "api_key": key}],
        "arrivals": {"per_second": 5, "seconds": 60},
        "upstream": {"phases": [phase]},
        "wait_seconds": 10,
    }
    return gateway.operator.http.post("/api/gateway/batch", json=asked).json()["result"]
