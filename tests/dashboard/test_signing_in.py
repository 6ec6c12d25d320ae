"""Signing in, staying in, and signing out."""

import re

from playwright.async_api import Browser, expect

from tests.dashboard.browser import Dashboard, open_tab
from tests.process.gateway import Gateway

SIGN_IN = "Sign in to MicroGateway"


async def test_the_printed_address_signs_in_and_leaves_no_token_behind(stranger: Dashboard) -> None:
    await stranger.sign_in()
    assert stranger.page.url == f"{stranger.url}#/"
    assert await stranger.page.evaluate("history.length") <= 2
    await stranger.page.reload()
    await expect(stranger.page.get_by_role("navigation", name="Views")).to_be_visible()


async def test_the_form_takes_the_token_and_tells_a_wrong_one(stranger: Dashboard) -> None:
    stranger.refusals = {401}
    page = stranger.page
    await page.goto(stranger.url)
    token = page.get_by_label("Admin token")
    await expect(token).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_have_text("Enter the admin token.")
    await token.fill("wrong")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_have_text("This is not the admin token.")
    await expect(token).to_be_focused()
    await token.fill(stranger.gateway.admin_token)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("navigation", name="Views")).to_be_visible()


async def test_a_wrong_token_in_the_address_is_told_and_taken_out_and_a_good_one_may_follow(
    stranger: Dashboard,
) -> None:
    stranger.refusals = {401}
    await stranger.page.goto(f"{stranger.url}#token=wrong")
    await expect(stranger.page.get_by_role("alert")).to_have_text("This is not the admin token.")
    assert "wrong" not in stranger.page.url
    await stranger.page.goto(f"{stranger.url}#token={stranger.gateway.admin_token}")
    await expect(stranger.page.get_by_role("navigation", name="Views")).to_be_visible()
    assert stranger.gateway.admin_token not in stranger.page.url


async def test_signing_out(stranger: Dashboard) -> None:
    stranger.refusals = {401}
    await stranger.sign_in("keys")
    await stranger.button("Sign out").click()
    await expect(stranger.page.get_by_role("heading", name=SIGN_IN)).to_be_visible()
    assert await stranger.ask("GET", "api/keys") == 401
    await stranger.page.reload()
    await expect(stranger.page.get_by_role("heading", name=SIGN_IN)).to_be_visible()


async def test_a_session_that_has_ended_elsewhere_leads_back_to_the_form(stranger: Dashboard) -> None:
    stranger.refusals = {401}
    await stranger.sign_in()
    assert await stranger.ask("DELETE", "api/session") == 204
    await stranger.page.evaluate("location.hash = '#/keys'")
    await expect(stranger.page.get_by_role("alert")).to_contain_text("Your session has ended")


async def test_the_cookie_is_out_of_reach_for_scripts_and_opens_nothing_alone(stranger: Dashboard) -> None:
    await stranger.sign_in()
    assert await stranger.page.evaluate("document.cookie") == ""
    cookies = await stranger.page.context.cookies(f"{stranger.url}api/")
    assert [(cookie["httpOnly"], cookie["sameSite"]) for cookie in cookies] == [(True, "Strict")]
    stranger.refusals = {401}
    status = await stranger.page.evaluate("fetch('api/services').then(answer => answer.status)")
    assert status == 401


async def test_a_page_of_the_proxy_port_can_do_nothing_with_the_session(browser: Browser, gateway: Gateway) -> None:
    """Both ports are one site for a browser: the cookie goes along. A request from there is refused all the same."""
    async with open_tab(browser, gateway) as dashboard:
        await dashboard.sign_in()
        dashboard.refusals = {401, 404}
        page = await dashboard.page.context.new_page()
        await page.goto(f"http://127.0.0.1:{gateway.proxy_port}/nothing")
        cookies = await page.context.cookies(f"http://127.0.0.1:{gateway.proxy_port}/api/")
        assert cookies, "a browser does keep ports apart: then this test can go"
        script = f"""fetch("{dashboard.url}api/keys", {{
            method: "POST", mode: "no-cors", credentials: "include", body: '{{"name": "forged"}}'
        }}).then(() => "read", () => "kept away")"""
        assert await page.evaluate(script) == "kept away"
        assert [key["name"] for key in gateway.operator.all("keys") if key["name"] == "forged"] == []
        own = (f":{gateway.proxy_port}/", "ERR_BLOCKED_BY_RESPONSE.NotSameOrigin")  # what the other page is told
        dashboard.complaints[:] = [line for line in dashboard.complaints if not any(text in line for text in own)]


async def test_the_page_is_whole_without_any_other_host(stranger: Dashboard) -> None:
    asked: list[str] = []
    stranger.page.on("request", lambda request: asked.append(request.url))
    await stranger.sign_in("keys")
    await expect(stranger.page.get_by_role("heading", name="Keys", exact=True)).to_be_visible()
    assert asked
    assert [url for url in asked if not re.match(re.escape(stranger.url), url)] == []
