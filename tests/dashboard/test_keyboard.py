"""Everything with the keyboard alone."""

from playwright.async_api import expect

from tests.dashboard.browser import Dashboard


async def test_g_and_a_letter_go_to_a_view(dashboard: Dashboard) -> None:
    await dashboard.sign_in()
    for key, title in (
        ("s", "Services"),
        ("r", "Routes"),
        ("k", "Keys"),
        ("i", "Token issuers"),
        ("m", "Rate limits"),
        ("l", "Logs"),
        ("e", "Explain"),
        ("h", "History"),
        ("d", "Dashboard"),
    ):
        await dashboard.press("g", key)
        await expect(dashboard.page.get_by_role("heading", level=1)).to_contain_text(title)
        current = dashboard.page.get_by_role("navigation", name="Views").locator("[aria-current=page]")
        await expect(current).to_contain_text({"i": "Keys", "h": "Dashboard"}.get(key, title))
        await expect(dashboard.page).to_have_title(f"{title} · MicroGateway")


async def test_a_letter_that_is_typed_is_no_shortcut(dashboard: Dashboard) -> None:
    await dashboard.sign_in("keys")
    await dashboard.press("/")
    await expect(dashboard.page.get_by_label("Search keys")).to_be_focused()
    await dashboard.page.keyboard.type("gs?n")
    await expect(dashboard.page.get_by_role("heading", name="Keys", exact=True)).to_be_visible()
    await expect(dashboard.dialog()).to_have_count(0)
    await dashboard.press("Escape")
    await expect(dashboard.page.get_by_label("Search keys")).to_have_value("")


async def test_help_lists_the_shortcuts_and_can_take_the_letters_away(dashboard: Dashboard) -> None:
    await dashboard.sign_in("keys")
    await dashboard.press("?")
    await expect(dashboard.dialog("Shortcuts")).to_contain_text("Find anything")
    await dashboard.page.get_by_role("switch", name="Single letters are shortcuts").uncheck()
    await dashboard.press("Escape", "?", "n")
    await expect(dashboard.dialog()).to_have_count(0)
    await dashboard.button("Shortcuts").click()
    await dashboard.page.get_by_role("switch", name="Single letters are shortcuts").check()
    await dashboard.press("Escape", "n")
    await expect(dashboard.dialog("New key")).to_be_visible()


async def test_the_palette_finds_anything(dashboard: Dashboard) -> None:
    operator = dashboard.gateway.operator
    service = operator.create("services", name="users", base_url="http://127.0.0.1:1")
    operator.create("routes", path="/users/{id}", service_id=service["id"])
    operator.create("keys", name="mobile")
    await dashboard.sign_in("logs")
    await dashboard.press("Control+k")
    box = dashboard.page.get_by_role("combobox", name="Find anything")
    await expect(box).to_be_focused()
    await dashboard.page.keyboard.type("users")
    await expect(dashboard.found()).to_have_count(2)
    await dashboard.press("ArrowDown")
    chosen = dashboard.page.locator("dialog.palette [aria-selected=true]")
    await expect(chosen).to_contain_text("/users/{id}")
    await expect(box).to_have_attribute("aria-activedescendant", await chosen.get_attribute("id") or "")
    await dashboard.press("Enter")
    await expect(dashboard.dialog("Edit /users/{id}")).to_be_visible()
    await dashboard.press("Escape", "Control+k")
    await dashboard.page.keyboard.type("create api key")
    await dashboard.press("Enter")
    await expect(dashboard.dialog("New key")).to_be_visible()
    await dashboard.press("Escape", "Control+k")
    await dashboard.page.keyboard.type("create a rate")
    await dashboard.press("Enter")
    await expect(dashboard.dialog("New rule")).to_be_visible()
    await dashboard.press("Escape", "Control+k")
    await dashboard.page.keyboard.type("no such thing")
    await expect(dashboard.page.get_by_text("Nothing is called that.")).to_be_visible()
    await dashboard.press("Escape")
    await expect(dashboard.dialog()).to_have_count(0)


async def test_a_route_is_made_and_removed_without_a_mouse(dashboard: Dashboard) -> None:
    operator = dashboard.gateway.operator
    operator.create("services", name="users", base_url="http://127.0.0.1:1")
    await dashboard.sign_in("routes")
    await dashboard.press("n")
    await expect(dashboard.field("Path")).to_be_focused()
    await dashboard.page.keyboard.type("/users")
    await dashboard.press("Tab")
    await dashboard.page.keyboard.type("us")
    await expect(dashboard.field("Service")).not_to_have_value("")
    await dashboard.button("Create route").focus()
    await dashboard.press("Enter")
    await dashboard.notice("/users is created")
    await expect(dashboard.row("/users")).to_be_visible()
    await dashboard.press("j")
    await expect(dashboard.button("/users")).to_be_focused()
    await dashboard.press("Enter")
    await expect(dashboard.dialog("Edit /users")).to_be_visible()
    await dashboard.button("Delete").focus()
    await dashboard.press("Enter")
    await expect(dashboard.button("Cancel", inside=dashboard.dialog("Delete /users?"))).to_be_focused()
    await dashboard.press("Tab", "Enter")
    await dashboard.notice("/users is deleted.")
    assert operator.all("routes") == []


async def test_the_focus_stays_inside_a_dialog_and_comes_back(dashboard: Dashboard) -> None:
    await dashboard.sign_in("keys")
    await dashboard.button("New key").focus()
    await dashboard.press("Enter")
    await expect(dashboard.field("Name")).to_be_focused()
    for _ in range(30):
        await dashboard.press("Tab")
        inside = "() => document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        assert await dashboard.page.evaluate(inside)
    await dashboard.press("Escape")
    await expect(dashboard.button("New key")).to_be_focused()


async def test_the_first_link_of_all_skips_to_the_view(dashboard: Dashboard) -> None:
    await dashboard.sign_in("keys")
    first = dashboard.page.locator("a, button, input, select").first
    await first.focus()
    await expect(dashboard.page.get_by_role("link", name="Skip to the view")).to_be_focused()
    await dashboard.press("Enter")
    await expect(dashboard.page.get_by_role("main")).to_be_focused()


async def test_a_refresh_does_not_take_the_focus_away(dashboard: Dashboard) -> None:
    operator = dashboard.gateway.operator
    service = operator.create("services", name="users", base_url="http://127.0.0.1:1")
    await dashboard.sign_in("services")
    edit = dashboard.button("Edit users")
    await edit.focus()
    operator.change("services", service["id"], base_url="http://127.0.0.1:2")
    await dashboard.look_again()
    await expect(dashboard.row("users")).to_contain_text("127.0.0.1:2")
    await expect(edit).to_be_focused()
