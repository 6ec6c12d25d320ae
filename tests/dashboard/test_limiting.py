"""Rate limit rules and token issuers by hand, with traffic to see that they count; and the log under a change."""

import json
import re

from playwright.async_api import expect

from tests.dashboard.browser import Dashboard
from tests.process.gateway import Gateway, request
from tests.process.stoppable import StoppableUpstream

SLOW = {"requests_per_minute": 1, "burst_size": 2}


def statuses(gateway: Gateway, path: str, key: str | None, times: int) -> list[int]:
    return [gateway.ask(request(path, key)).status for _ in range(times)]


class TestRules:
    async def test_a_rule_is_made_and_limits_what_it_is_for(
        self, dashboard: Dashboard, upstream: StoppableUpstream
    ) -> None:
        dashboard.refusals = {422}
        gateway = dashboard.gateway
        gateway.operator.create_public_route("/users", upstream.url)
        await dashboard.sign_in("limits")
        await dashboard.button("Create the first rule").click()
        await dashboard.field("Name").fill("strangers")
        await dashboard.field("Requests per minute").fill("1")
        await dashboard.field("Burst").fill("2")
        await expect(dashboard.field("Header")).to_be_hidden()
        await dashboard.field("A bucket for").select_option("header")
        await dashboard.button("Create rule").click()
        await expect(dashboard.field("Header")).to_have_attribute("aria-invalid", "true")
        await dashboard.field("A bucket for").select_option("address")
        await dashboard.dialog().get_by_label("Route").select_option(label="/users")
        await dashboard.button("Create rule").click()
        await dashboard.notice("strangers is created, and in force.")
        assert statuses(gateway, "/users/1", None, 4) == [200, 200, 429, 429]
        await dashboard.look_again()
        row = dashboard.row("strangers")
        for text in ("route /users", "1/min", "burst 2", "each address", "2 since the start"):
            await expect(row).to_contain_text(text)
        said = dashboard.page.get_by_role("region", name="Limits that said no, 1 h", exact=True)
        await expect(said.get_by_role("row").filter(has_text="strangers")).to_contain_text("2")

    async def test_in_shadow_it_only_counts_what_it_would_refuse(
        self, dashboard: Dashboard, upstream: StoppableUpstream
    ) -> None:
        gateway = dashboard.gateway
        gateway.operator.create_public_route("/users", upstream.url)
        gateway.operator.create("rate-limits", name="tried", count_by="all", **SLOW)
        await dashboard.sign_in("limits")
        switch = dashboard.page.get_by_role("switch", name="tried is enforced")
        await expect(switch).to_have_attribute("aria-checked", "true")
        await switch.click()
        await dashboard.notice("tried only counts from now on.")
        await expect(switch).to_have_attribute("aria-checked", "false")
        assert statuses(gateway, "/users/1", None, 3) == [200, 200, 200]
        await dashboard.look_again()
        await expect(dashboard.row("tried")).to_contain_text("would have, 1 since the start")
        await switch.click()
        await dashboard.notice("tried is enforced.")
        assert statuses(gateway, "/users/1", None, 1) == [429]
        await dashboard.page.get_by_role("switch", name="tried is in use").click()
        await dashboard.notice("tried is switched off.")
        assert statuses(gateway, "/users/1", None, 1) == [200]

    async def test_who_is_limited_is_told(self, dashboard: Dashboard, upstream: StoppableUpstream) -> None:
        gateway = dashboard.gateway
        service = gateway.operator.create("services", name="users", base_url=upstream.url)
        gateway.operator.create("routes", path="/users", service_id=service["id"])
        key = gateway.operator.create("keys", name="greedy", **SLOW)["key"]
        await dashboard.sign_in("limits")
        assert statuses(gateway, "/users/1", key, 4) == [200, 200, 429, 429]
        await dashboard.look_again()
        limited = dashboard.page.get_by_role("region", name="Limited keys, 1 h", exact=True)
        await expect(limited.get_by_role("row").filter(has_text="greedy")).to_contain_text("50 %")
        await limited.get_by_role("row").filter(has_text="greedy").get_by_role("link", name="2", exact=True).click()
        await expect(dashboard.page.locator("main .row-open")).to_have_text(["/users/1", "/users/1"])

    async def test_one_is_changed_and_removed(self, dashboard: Dashboard) -> None:
        operator = dashboard.gateway.operator
        operator.create("rate-limits", name="tenants", count_by="header", header="X-Tenant", **SLOW)
        await dashboard.sign_in("limits")
        await dashboard.button("tenants").click()
        await dashboard.field("A bucket for").select_option("key")
        await dashboard.field("POST").check()
        await dashboard.button("Save changes").click()
        await dashboard.notice("tenants is saved")
        (changed,) = operator.all("rate-limits")
        assert (changed["count_by"], changed["header"], changed["methods"]) == ("key", None, ["POST"])
        await dashboard.button("Delete tenants").click()
        await dashboard.dialog("Delete tenants?").get_by_role("button", name="Delete").click()
        await expect(dashboard.page.get_by_role("heading", name="No rule yet")).to_be_visible()
        assert operator.all("rate-limits") == []


class TestIssuers:
    async def test_one_is_named_told_why_its_keys_are_missing_and_removed(self, dashboard: Dashboard) -> None:
        dashboard.refusals = {422}
        operator = dashboard.gateway.operator
        await dashboard.sign_in("keys")
        await dashboard.page.get_by_role("link", name="Token issuers").click()
        await dashboard.button("Name the first issuer").click()
        await dashboard.field("Name").fill("staff")
        await dashboard.field("Issuer").fill("https://login.example.com")
        await dashboard.field("Where its keys are").fill("nowhere")
        await dashboard.button("Create issuer").click()
        await expect(dashboard.field("Where its keys are")).to_be_focused()
        await dashboard.field("Where its keys are").fill("http://127.0.0.1:1/keys")
        await dashboard.dialog().get_by_label("Audiences").fill("shop, desk")
        await dashboard.field("ES256").check()
        await dashboard.button("Create issuer").click()
        await dashboard.notice("staff is created, and in force.")
        await dashboard.look_again()
        row = dashboard.row("staff")
        for text in ("0 keys", "refused", "shop", "desk", "RS256", "ES256"):
            await expect(row).to_contain_text(text)
        (issuer,) = operator.all("token-issuers")
        assert (issuer["audiences"], issuer["algorithms"]) == (["shop", "desk"], ["RS256", "ES256"])
        await dashboard.button("staff").click()
        await expect(dashboard.dialog()).to_contain_text("Its keys could not be fetched.")
        await dashboard.press("Escape")
        await dashboard.page.get_by_role("switch", name="staff is in use").click()
        await dashboard.notice("staff is switched off.")
        await dashboard.button("staff").click()
        await dashboard.button("Delete").click()
        await dashboard.dialog("Delete staff?").get_by_role("button", name="Delete").click()
        await expect(dashboard.page.get_by_role("heading", name="No issuer yet")).to_be_visible()


class TestReplay:
    async def test_a_rule_is_tried_on_the_log(self, dashboard: Dashboard, upstream: StoppableUpstream) -> None:
        gateway, page = dashboard.gateway, dashboard.page
        assert gateway.operator.http.delete("/api/logs").status_code == 204
        service = gateway.operator.create("services", name="users", base_url=upstream.url)
        gateway.operator.create("routes", path="/users", service_id=service["id"])
        key = gateway.operator.create("keys", name="mobile", burst_size=50)["key"]
        gateway.operator.create("rate-limits", name="tried", mode="shadow", **SLOW)
        assert statuses(gateway, "/users/1", key, 5) == [200] * 5
        await dashboard.sign_in("limits")
        await dashboard.button("Try tried on the log").click()
        proposed = json.loads(await page.get_by_label("What would be different").input_value())
        assert [rule["mode"] for rule in proposed["rate_limits"].values()] == ["enforce"]
        await dashboard.button("Replay").click()
        result = page.get_by_role("region", name="What would happen")
        await expect(result.get_by_role("status")).to_contain_text("3 of 5 requests would come out otherwise.")
        changes = result.get_by_role("region", name="What would change", exact=True)
        for text in ("forwarded", "rate limited", "tried", "mobile", "/users"):
            await expect(changes.get_by_role("row").nth(1)).to_contain_text(text)
        for group, name in (("Limit", "tried"), ("Route", "/users"), ("Key", "mobile")):
            await dashboard.button(group, inside=changes).click()
            await expect(changes.get_by_role("row")).to_have_count(2)
            await expect(changes.get_by_role("row").last).to_contain_text(name)
            await expect(changes.get_by_role("row").last).to_contain_text("3")
        keys = result.get_by_role("region", name="Keys whose refusals change", exact=True)
        await expect(keys.get_by_role("row").last).to_contain_text("mobile")
        await dashboard.button("Everything", inside=changes).click()
        await changes.get_by_role("link", name="GET /users/1").first.click()
        await expect(dashboard.dialog("GET /users/1")).to_be_visible()

    async def test_what_makes_no_sense_is_told_at_its_field(self, dashboard: Dashboard) -> None:
        dashboard.refusals = {422}
        await dashboard.sign_in("explain?mode=replay")
        wanted = dashboard.page.get_by_label("What would be different")
        await wanted.fill("[1")
        await dashboard.button("Replay").click()
        await expect(wanted).to_have_accessible_description(re.compile("This is not an object in JSON."))
        await wanted.fill('{"keys": {"nobody": {"burst_size": 1}}}')
        await dashboard.button("Replay").click()
        await expect(wanted).to_be_focused()
        await expect(dashboard.page.get_by_text("there is no key with this id")).to_be_visible()
        await wanted.fill("")
        await dashboard.button("Replay").click()
        status = dashboard.page.get_by_role("region", name="What would happen").get_by_role("status")
        await expect(status).not_to_be_empty()
