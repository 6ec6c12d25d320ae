"""What clients and operators wrote is shown as it is, and never run."""

from playwright.async_api import expect

from tests.dashboard.browser import Dashboard
from tests.process.gateway import request
from tests.process.stoppable import StoppableUpstream

NASTY = '"><img src=x onerror="window.stolen=1"><script>window.stolen=1</script>'
FORMULA = "{{constructor.constructor('window.stolen=1')()}} ${window.stolen=1} javascript:window.stolen=1"


async def test_names_paths_owners_and_queries(dashboard: Dashboard, upstream: StoppableUpstream) -> None:
    gateway, page = dashboard.gateway, dashboard.page
    operator = gateway.operator
    service = operator.create("services", name=f"s{NASTY}"[:128], base_url=upstream.url)
    operator.create("routes", path="/<script>window.stolen=1</script>", service_id=service["id"], auth="none")
    operator.create("keys", name=f"k{NASTY}", owner=NASTY, team=FORMULA)
    operator.create(
        "rate-limits", name=f"r{NASTY}", service_id=service["id"], requests_per_minute=1, burst_size=1, mode="shadow"
    )
    issuer = {"issuer": NASTY, "audiences": [NASTY], "jwks_url": "http://127.0.0.1:1/keys"}
    operator.create("token-issuers", name=f"i{NASTY}", **issuer)
    target = "/%3Cscript%3Ewindow.stolen=1%3C/script%3E?q=<img/src=x/onerror=window.stolen=1>"
    header = f"X-Forwarded-For: {NASTY}\r\nUser-Agent: {NASTY}\r\nTraceparent: {NASTY}"
    gateway.ask(
        f"GET {target.replace('<', '%3C').replace('>', '%3E')} HTTP/1.1\r\nHost: g\r\n{header}\r\n\r\n".encode()
    )
    gateway.ask(request("/no'such\"path{{7*7}}"))

    await dashboard.sign_in()
    for view, shown in (
        ("services", "s" + NASTY),
        ("routes", "<script>"),
        ("keys", "k" + NASTY),
        ("limits", "r" + NASTY),
        ("issuers", "i" + NASTY),
        ("logs", "script"),
        ("overview", "s" + NASTY),
    ):
        await dashboard.go(view)
        await expect(page.locator("main tbody").get_by_text(shown).first).to_be_visible()
        assert await page.locator("#app img[src=x], #app script, [onerror]").count() == 0, view
    await dashboard.go("keys")
    await dashboard.button(f"k{NASTY}").click()
    await expect(dashboard.field("Name")).to_have_value(f"k{NASTY}")
    await dashboard.press("Escape", "Control+k")
    await expect(dashboard.found(NASTY).first).to_be_visible()
    await dashboard.press("Escape")
    await dashboard.go("logs")
    await page.locator("main .row-open", has_text="script").first.click()
    await expect(dashboard.dialog()).to_contain_text("script")
    assert await page.evaluate("window.stolen") is None
    assert await page.locator("dialog img, dialog script").count() == 0


async def test_an_address_that_was_made_up_is_shown_as_text_too(dashboard: Dashboard) -> None:
    dashboard.refusals = {404, 422}
    await dashboard.sign_in()
    await dashboard.go("logs?path=%3Cimg%20src%3Dx%20onerror%3Dwindow.stolen%3D1%3E&status=%3Cscript%3E")
    box = dashboard.page.get_by_label("Search paths, or an id")
    await expect(box).to_have_value("<img src=x onerror=window.stolen=1>")
    await dashboard.go("services?open=../keys%3Cscript%3E")
    await expect(dashboard.page.locator(".toast")).to_be_visible()
    await dashboard.go("<script>window.stolen=1</script>")
    await expect(dashboard.page.get_by_role("heading", level=1)).to_contain_text("Dashboard")
    assert await dashboard.page.evaluate("window.stolen") is None


async def test_markup_can_not_be_made_of_text_even_by_mistake(dashboard: Dashboard) -> None:
    """Trusted Types: the browser itself refuses, should a module ever try."""
    await dashboard.sign_in()
    attempt = """() => {
        try { document.createElement("p").innerHTML = "<b>x</b>"; return "made"; } catch { return "refused"; }
    }"""
    script = """() => new Promise((resolve) => {
        const script = document.createElement("script");
        try { script.src = "data:text/javascript,window.stolen=1"; document.body.append(script); }
        catch { resolve("refused"); return; }
        script.onerror = () => resolve("refused"); script.onload = () => resolve("made");
    })"""
    assert await dashboard.page.evaluate(attempt) == "refused"
    assert await dashboard.page.evaluate(script) == "refused"
    dashboard.complaints[:] = [line for line in dashboard.complaints if "Trusted" not in line]
