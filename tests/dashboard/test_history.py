"""What was configured when, and back to it: seen, understood and meant before it is done."""

from playwright.async_api import Locator, expect

from tests.dashboard.browser import Dashboard


def versions(dashboard: Dashboard) -> int:
    version: int = dashboard.gateway.operator.http.get("/api/config/history?limit=1").json()["version"]
    return version


def part(dialog: Locator, name: str) -> Locator:
    """What is told of one thing that is different."""
    return dialog.get_by_role("region", name=f"{name}, ").first  # within it is another, of its fields


async def test_a_version_is_looked_at_and_restored_without_a_mouse(dashboard: Dashboard) -> None:
    operator = dashboard.gateway.operator
    service = operator.create("services", name="users", base_url="http://127.0.0.1:1")
    key = operator.create("keys", name="mobile")
    then = versions(dashboard)
    operator.change("services", service["id"], enabled=False, circuit_breaker={"mode": "disabled"})
    operator.create("routes", path="/users", service_id=service["id"])
    operator.delete("keys", key["id"])
    await dashboard.sign_in()
    await dashboard.page.get_by_role("link", name="History", exact=True).click()
    await expect(dashboard.row(f"Version {then + 3}")).to_contain_text("in force")
    await expect(dashboard.row(f"Version {then + 2}")).to_contain_text("created route")
    await dashboard.press("j", "j", "j", "Enter")
    drawer = dashboard.dialog(f"Version {then + 1}")
    changed = part(drawer, "service users")
    await expect(changed.get_by_role("row").filter(has_text="circuit_breaker.mode")).to_contain_text("autodisabled")
    await dashboard.press("Escape", "j", "Enter")
    await dashboard.button("Restore …").focus()
    await dashboard.press("Enter")
    restoring = dashboard.dialog(f"Restore version {then}?")
    await expect(dashboard.button("Cancel", inside=restoring)).to_be_focused()
    await expect(part(restoring, "service users")).to_contain_text("enabled")
    await expect(part(restoring, "route /users")).to_contain_text("deleted")
    await expect(restoring.get_by_text("The key mobile was revoked since, and stays so.")).to_be_visible()
    await dashboard.button("Restore", inside=restoring).focus()
    await dashboard.press("Enter")
    await dashboard.notice(f"Version {then} is restored, and in force as version {then + 4}.")
    await expect(dashboard.row(f"Version {then + 4}")).to_contain_text("restored everything")
    assert operator.all("routes") == []
    assert [one["enabled"] for one in operator.all("services")] == [True]
    await dashboard.page.get_by_label("Search changes").fill("route")
    await expect(dashboard.row(f"Version {then + 2}")).to_be_visible()
    await expect(dashboard.row(f"Version {then + 1}")).to_have_count(0)


async def test_nothing_is_restored_over_what_somebody_has_changed_meanwhile_nor_where_nothing_would_be(
    dashboard: Dashboard,
) -> None:
    operator = dashboard.gateway.operator
    service = operator.create("services", name="users", base_url="http://127.0.0.1:1")
    then = versions(dashboard)
    key = operator.create("keys", name="made since")
    await dashboard.sign_in(f"history?open={then}")
    await dashboard.button("Restore …").click()
    restoring = dashboard.dialog(f"Restore version {then}?")
    await expect(restoring.get_by_text("Nothing is different from what is in force.")).to_be_visible()
    await expect(dashboard.button("Restore", inside=restoring)).to_be_disabled()
    await restoring.get_by_role("switch", name="Switch off keys that were made since").check()
    await expect(part(restoring, "key made since")).to_contain_text("enabled")
    operator.change("services", service["id"], enabled=False)
    dashboard.refusals = {409}
    await dashboard.button("Restore", inside=restoring).click()
    await dashboard.notice(f"Version {then + 2} is in force, and no longer {then + 1}.")
    assert operator.http.get(f"/api/keys/{key['id']}").json()["enabled"]
