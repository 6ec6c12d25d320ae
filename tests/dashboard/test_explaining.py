"""Explain: what is shown is what a client would get."""

from playwright.async_api import expect

from tests.dashboard.browser import Dashboard
from tests.process.gateway import request
from tests.process.stoppable import StoppableUpstream


async def test_a_request_walks_the_stages(dashboard: Dashboard, upstream: StoppableUpstream) -> None:
    gateway, page = dashboard.gateway, dashboard.page
    service = gateway.operator.create("services", name="users", base_url=upstream.url)
    gateway.operator.create("routes", path="/users/{id}", service_id=service["id"], methods=["GET"])
    gateway.operator.create("routes", path="/", service_id=service["id"], priority=-5)
    key = gateway.operator.create("keys", name="mobile", burst_size=2)["key"]
    await dashboard.sign_in("routes")
    await dashboard.button("Explain /users/{id}").click()
    result = page.get_by_role("region", name="What would happen")
    await expect(result).to_contain_text("The gateway would answer 401.")
    await expect(result.locator("[data-stage=authenticate]")).to_contain_text("refused")
    await expect(result.locator("[data-stage=route]")).to_contain_text("not reached")

    await page.get_by_label("API key").fill(key)
    await page.get_by_label("Headers").fill("X-Version: 2\nX-Forwarded-For: 10.0.0.1")
    await dashboard.button("Explain").click()
    await expect(result).to_contain_text("It would go to users, which answers.")
    await expect(result.locator("[data-stage=rate_limit]")).to_contain_text("2.00 → 1.00")
    candidates = result.locator("[data-stage=route]")
    await expect(candidates.get_by_role("row").filter(has_text="chosen")).to_contain_text("/users/{id}")
    await expect(candidates.get_by_role("row")).to_have_count(3)
    await expect(result.locator("[data-stage=target]")).to_contain_text(f"GET {upstream.url}/users/1")
    assert upstream.asked == 0
    assert [gateway.ask(request("/users/1", key)).status for _ in range(3)] == [200, 200, 429]

    await dashboard.button("Explain").click()
    await expect(result).to_contain_text("The gateway would answer 429.")


async def test_a_request_is_sent_to_its_service_or_to_a_simulated_one(
    dashboard: Dashboard, upstream: StoppableUpstream
) -> None:
    page = dashboard.page
    dashboard.gateway.operator.create_public_route("/users", upstream.url)
    await dashboard.sign_in("explain?path=/users/7")
    result = page.get_by_role("region", name="What would happen")
    await expect(result).to_contain_text("It would go to behind /users")
    assert upstream.asked == 0
    await page.get_by_label("Sent to").select_option("live")
    await dashboard.button("Explain").click()
    await expect(result).to_contain_text("The answer was 200, in")
    await expect(result.locator("[data-stage=attempt]")).to_contain_text("passed")
    assert upstream.asked == 1
    await page.get_by_label("Sent to").select_option("simulated")
    await page.get_by_label("Share of errors").fill("1")
    await page.get_by_label("Status of errors").fill("507")
    await dashboard.button("Explain").click()
    await expect(result).to_contain_text("The answer was 507, in")
    assert upstream.asked == 1
    await result.get_by_role("link", name="in the log").click()
    await expect(page.locator("main .row-open", has_text="/users/7")).to_have_count(2)


async def test_a_request_of_the_log_is_explained(dashboard: Dashboard) -> None:
    gateway = dashboard.gateway
    gateway.ask(request("/no/such/thing?a=b"))
    await dashboard.sign_in("logs")
    await dashboard.page.locator("main .row-open", has_text="/no/such/thing").first.click()
    await dashboard.dialog().get_by_role("link", name="Explain").click()
    await expect(dashboard.page.get_by_label("Path")).to_have_value("/no/such/thing?a=b")
    await expect(dashboard.page.get_by_text("The gateway would answer 401.")).to_be_visible()


async def test_what_makes_no_sense_is_told_at_its_field(dashboard: Dashboard) -> None:
    dashboard.refusals = {422}
    await dashboard.sign_in("explain")
    await dashboard.button("Explain").click()
    await expect(dashboard.page.get_by_label("Path")).to_have_attribute("aria-invalid", "true")
    await dashboard.page.get_by_label("Path").fill("/users")
    await dashboard.page.get_by_label("Client IP").fill("nowhere")
    await dashboard.button("Explain").click()
    await expect(dashboard.page.get_by_label("Client IP")).to_be_focused()
