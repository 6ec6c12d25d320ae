"""Services, routes and keys: made, changed and removed by hand, with real traffic to see that it counts."""

from playwright.async_api import expect

from tests.dashboard.browser import Dashboard
from tests.process.gateway import request
from tests.process.stoppable import StoppableUpstream


class TestServices:
    async def test_from_nothing_to_a_service_that_is_used(
        self, dashboard: Dashboard, upstream: StoppableUpstream
    ) -> None:
        await dashboard.sign_in("services")
        await dashboard.button("Create the first service").click()
        await dashboard.field("Name").fill("users")
        await dashboard.field("Base URL").fill(upstream.url)
        await dashboard.button("Create service").click()
        await dashboard.notice("users is created, and in force.")
        await expect(dashboard.row("users")).to_contain_text(upstream.url)
        service = dashboard.gateway.operator.all("services")[0]
        assert (service["name"], service["base_url"], service["enabled"]) == ("users", upstream.url, True)

    async def test_what_the_api_complains_of_stands_at_its_field(self, dashboard: Dashboard) -> None:
        dashboard.refusals = {422, 409}
        dashboard.gateway.operator.create("services", name="taken", base_url="http://127.0.0.1:1")
        await dashboard.sign_in("services")
        await dashboard.button("New service").click()
        await dashboard.field("Base URL").fill("ftp://nowhere")
        await dashboard.button("Create service").click()
        url = dashboard.field("Base URL")
        await expect(url).to_have_attribute("aria-invalid", "true")
        await expect(url).to_have_accessible_description("a base URL begins with http:// or https://")
        await expect(dashboard.field("Name")).to_be_focused()  # the first that is wrong: it is missing
        await dashboard.field("Name").fill("taken")
        await url.fill("http://127.0.0.1:1")
        await dashboard.button("Create service").click()
        await expect(dashboard.field("Name")).to_have_attribute("aria-invalid", "true")
        await expect(url).not_to_have_attribute("aria-invalid", "true")
        assert len(dashboard.gateway.operator.all("services")) == 1

    async def test_a_fault_in_a_folded_group_unfolds_it(self, dashboard: Dashboard) -> None:
        dashboard.refusals = {422}
        service = dashboard.gateway.operator.create("services", name="users", base_url="http://127.0.0.1:1")
        await dashboard.sign_in("services")
        await dashboard.button("Edit users").click()
        await dashboard.dialog().get_by_text("Circuit breaker", exact=True).click()
        await dashboard.dialog().get_by_label("Recovery timeout").fill("-1")
        await dashboard.dialog().get_by_text("Circuit breaker", exact=True).click()
        await dashboard.button("Save changes").click()
        await expect(dashboard.dialog().get_by_label("Recovery timeout")).to_be_focused()
        await dashboard.dialog().get_by_label("Recovery timeout").fill("7")
        await dashboard.button("Save changes").click()
        await dashboard.notice("users is saved, and in force.")
        changed = dashboard.gateway.operator.all("services")[0]
        assert changed["circuit_breaker"]["recovery_timeout"] == 7
        assert changed["name"] == service["name"]

    async def test_targets_with_weights_and_the_fault_of_one(self, dashboard: Dashboard) -> None:
        dashboard.refusals = {422}
        dashboard.gateway.operator.create("services", name="users", base_url="http://127.0.0.1:1")
        await dashboard.sign_in("services")
        await dashboard.button("Edit users").click()
        for number in (2, 3):
            await dashboard.button("Add a target").click()
            await dashboard.page.keyboard.type(f"http://127.0.0.1:{number}")
        await dashboard.field("Weight of the target").last.fill("many")
        await dashboard.button("Save changes").click()
        await expect(dashboard.dialog().get_by_text("entry 2, weight:")).to_be_visible()
        await dashboard.field("Weight of the target").last.fill("5")
        await dashboard.button("Save changes").click()
        await dashboard.notice("users is saved")
        targets = dashboard.gateway.operator.all("services")[0]["targets"]
        assert [(target["url"], target["weight"]) for target in targets] == [
            ("http://127.0.0.1:2", 1),
            ("http://127.0.0.1:3", 5),
        ]

    async def test_what_the_form_does_not_know_is_there_as_json(self, dashboard: Dashboard) -> None:
        dashboard.refusals = {422}
        dashboard.gateway.operator.create_public_route("/users", "http://127.0.0.1:1")
        await dashboard.sign_in("routes")
        await dashboard.button("Edit /users").click()
        group = dashboard.dialog().get_by_text("Other settings", exact=True)
        if await group.count() == 0:
            return  # the form knows every field there is
        await group.click()
        await dashboard.field("As JSON").fill("[1")
        await dashboard.button("Save changes").click()
        await expect(dashboard.dialog().get_by_text("This is not an object in JSON.")).to_be_visible()

    async def test_switching_off_takes_it_out_of_traffic(
        self, dashboard: Dashboard, upstream: StoppableUpstream
    ) -> None:
        gateway = dashboard.gateway
        gateway.operator.create_public_route("/users", upstream.url)
        assert gateway.ask(request("/users")).status == 200
        await dashboard.sign_in("services")
        switch = dashboard.page.get_by_role("switch", name="behind /users is in use")
        await switch.focus()
        await dashboard.press("Space")
        await expect(switch).to_have_attribute("aria-checked", "false")
        await expect(switch).to_be_focused()
        assert gateway.ask(request("/users")).status == 503

    async def test_an_open_circuit_is_seen_and_closed_by_hand(
        self, dashboard: Dashboard, upstream: StoppableUpstream
    ) -> None:
        gateway = dashboard.gateway
        gateway.operator.create_public_route("/users", upstream.url)
        await dashboard.sign_in("services")
        await expect(dashboard.row("behind /users")).to_contain_text("closed")
        upstream.stop()
        assert [gateway.ask(request("/users")).status for _ in range(4)] == [502, 502, 502, 503]
        await dashboard.look_again()
        await expect(dashboard.row("behind /users")).to_contain_text("open")
        upstream.start()
        await dashboard.button("behind /users").click()
        await dashboard.button("Close circuit").click()
        await (
            dashboard.dialog("Close the circuit of behind /users?").get_by_role("button", name="Close circuit").click()
        )
        await dashboard.notice("is closed")
        assert gateway.ask(request("/users")).status == 200

    async def test_one_that_routes_use_is_not_deleted(self, dashboard: Dashboard) -> None:
        dashboard.refusals = {409}
        dashboard.gateway.operator.create_public_route("/users", "http://127.0.0.1:1")
        await dashboard.sign_in("services")
        await dashboard.button("Edit behind /users").click()
        await dashboard.button("Delete").click()
        await dashboard.dialog("Delete behind /users?").get_by_role("button", name="Delete").click()
        await dashboard.notice("still used by the routes /users")
        assert len(dashboard.gateway.operator.all("services")) == 1


class TestRoutes:
    async def test_a_route_leads_requests_to_its_service(
        self, dashboard: Dashboard, upstream: StoppableUpstream
    ) -> None:
        gateway = dashboard.gateway
        gateway.operator.create("services", name="users", base_url=upstream.url)
        await dashboard.sign_in("routes")
        await dashboard.button("Create the first route").click()
        await dashboard.field("Path").fill("/users")
        await dashboard.field("Service").select_option(label="users")
        await dashboard.field("GET").check()
        await dashboard.field("Access").select_option("none")
        await dashboard.button("Create route").click()
        await dashboard.notice("/users is created, and in force.")
        assert gateway.ask(request("/users/1")).status == 200
        assert gateway.ask(request("/users/1", method="POST")).status == 401  # strangers learn nothing of methods

        await dashboard.button("Edit /users").click()
        await dashboard.field("GET").uncheck()
        await dashboard.field("Priority").fill("7")
        await dashboard.button("Save changes").click()
        await dashboard.notice("/users is saved")
        await expect(dashboard.row("/users")).to_contain_text("any")
        assert gateway.operator.all("routes")[0]["priority"] == 7

        await dashboard.button("Delete /users").click()
        await dashboard.dialog("Delete /users?").get_by_role("button", name="Delete").click()
        await dashboard.notice("/users is deleted.")
        await expect(dashboard.page.get_by_role("heading", name="No route yet")).to_be_visible()
        assert gateway.ask(request("/users/1")).status != 200

    async def test_a_service_comes_first(self, dashboard: Dashboard) -> None:
        await dashboard.sign_in("routes")
        await dashboard.page.get_by_role("link", name="Create a service first").click()
        await expect(dashboard.dialog("New service")).to_be_visible()

    async def test_one_that_no_request_can_reach_is_told(self, dashboard: Dashboard) -> None:
        operator = dashboard.gateway.operator
        service = operator.create("services", name="users", base_url="http://127.0.0.1:1")
        operator.create("routes", path="/", service_id=service["id"], priority=9)
        await dashboard.sign_in("routes")
        await dashboard.button("New route").click()
        await dashboard.field("Path").fill("/users")
        await dashboard.field("Service").select_option(label="users")
        await dashboard.button("Create route").click()
        await expect(dashboard.row("/users")).to_contain_text("never reached")
        await expect(dashboard.row("/")).to_contain_text("hides another")
        await dashboard.page.get_by_label("State").select_option("warned")
        await dashboard.button("/users").click()
        await expect(dashboard.dialog("Edit /users")).to_contain_text("For example GET /users")
        await dashboard.field("Priority").fill("10")
        await dashboard.button("Save changes").click()
        await expect(dashboard.page.get_by_role("heading", name="No route fits")).to_be_visible()

    async def test_filters_and_order_stay_in_the_address(self, dashboard: Dashboard) -> None:
        operator = dashboard.gateway.operator
        services = [operator.create("services", name=name, base_url="http://127.0.0.1:1") for name in ("a", "b")]
        for number, path in enumerate(("/users", "/orders", "/products")):
            methods = ["POST"] if path == "/orders" else []
            operator.create("routes", path=path, service_id=services[number % 2]["id"], methods=methods)
        await dashboard.sign_in("routes")
        paths = dashboard.page.locator("main .row-open")
        await expect(paths).to_have_text(["/users", "/orders", "/products"])
        await dashboard.button("Path").click()
        await expect(paths).to_have_text(["/orders", "/products", "/users"])
        await expect(dashboard.page.get_by_role("columnheader", name="Path")).to_have_attribute(
            "aria-sort", "ascending"
        )
        await dashboard.page.get_by_label("Service", exact=True).select_option(label="a")
        await expect(paths).to_have_text(["/products", "/users"])
        await dashboard.press("/")
        await dashboard.page.keyboard.type("prod")
        await expect(paths).to_have_text(["/products"])
        address = dashboard.page.url
        await dashboard.page.goto("about:blank")
        await dashboard.page.goto(address)
        await expect(paths).to_have_text(["/products"])
        await dashboard.page.get_by_label("Search paths and hosts").fill("none such")
        await expect(dashboard.page.get_by_role("heading", name="No route fits")).to_be_visible()
        await dashboard.button("Show all").click()
        await expect(paths).to_have_count(3)


class TestKeys:
    async def test_a_key_is_shown_once_and_works(self, dashboard: Dashboard, upstream: StoppableUpstream) -> None:
        gateway = dashboard.gateway
        service = gateway.operator.create("services", name="users", base_url=upstream.url)
        gateway.operator.create("routes", path="/users", service_id=service["id"])
        await dashboard.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await dashboard.sign_in("keys")
        await dashboard.button("New key").click()
        await dashboard.field("Name").fill("mobile")
        await dashboard.dialog().get_by_label("Owner").fill("Ada")
        await dashboard.dialog().get_by_label("Burst").fill("2")
        await dashboard.button("Create key").click()
        shown = dashboard.dialog("Your new key")
        await shown.get_by_role("button", name="Copy").click()
        key = await dashboard.page.evaluate("navigator.clipboard.readText()")
        assert await shown.get_by_label("The key").text_content() == key
        assert [gateway.ask(request("/users", key)).status for _ in range(3)] == [200, 200, 429]

        await dashboard.press("Escape")
        asked = dashboard.dialog("Close without the key?")
        await dashboard.button("Cancel", inside=asked).click()
        await expect(shown).to_be_visible()
        await dashboard.button("I have stored it").click()
        await dashboard.button("Yes, close").click()
        await expect(dashboard.dialog()).to_have_count(0)
        assert key not in await dashboard.page.content()
        row = dashboard.row("mobile")
        await expect(row).to_contain_text("Ada")
        await expect(row).to_contain_text("1 limited")

    async def test_revoking_asks_and_is_in_force_at_once(
        self, dashboard: Dashboard, upstream: StoppableUpstream
    ) -> None:
        gateway = dashboard.gateway
        service = gateway.operator.create("services", name="users", base_url=upstream.url)
        gateway.operator.create("routes", path="/users", service_id=service["id"])
        key = gateway.operator.create("keys", name="mobile")["key"]
        assert gateway.ask(request("/users", key)).status == 200
        await dashboard.sign_in("keys")
        await dashboard.button("Revoke mobile").click()
        asked = dashboard.dialog("Revoke mobile?")
        await expect(dashboard.button("Cancel", inside=asked)).to_be_focused()
        await dashboard.press("Escape")
        assert gateway.ask(request("/users", key)).status == 200
        await dashboard.button("Revoke mobile").click()
        await dashboard.button("Revoke", inside=asked).click()
        await dashboard.notice("mobile is revoked.")
        assert gateway.ask(request("/users", key)).status == 401
        await expect(dashboard.row("mobile")).to_have_count(0)
        await dashboard.page.get_by_label("State").select_option("revoked")
        await expect(dashboard.row("mobile").first).to_contain_text("revoked")

    async def test_rotating_gives_a_new_text_beside_the_old_one(
        self, dashboard: Dashboard, upstream: StoppableUpstream
    ) -> None:
        gateway = dashboard.gateway
        service = gateway.operator.create("services", name="users", base_url=upstream.url)
        gateway.operator.create("routes", path="/users", service_id=service["id"])
        old = gateway.operator.create("keys", name="mobile")["key"]
        await dashboard.sign_in("keys")
        await dashboard.button("Rotate mobile").click()
        await dashboard.field("The present text stays good").select_option(label="for an hour")
        await dashboard.button("Rotate key").click()
        new = await dashboard.dialog("The new text of mobile").get_by_label("The key").text_content()
        assert new
        assert new != old
        assert [gateway.ask(request("/users", key)).status for key in (old, new)] == [200, 200]

    async def test_owner_and_team_filter(self, dashboard: Dashboard) -> None:
        for name, owner, team in (("a", "Ada", "core"), ("b", "Grace", "core"), ("c", "Ada", "edge")):
            dashboard.gateway.operator.create("keys", name=name, owner=owner, team=team)
        await dashboard.sign_in("keys")
        names = dashboard.page.locator("main .row-open")
        await expect(names).to_have_count(3)
        await dashboard.page.get_by_label("Owner").select_option("Ada")
        await expect(names).to_have_text(["a", "c"])
        await dashboard.page.get_by_label("Team").select_option("edge")
        await expect(names).to_have_text(["c"])

    async def test_leaving_a_changed_form_asks(self, dashboard: Dashboard) -> None:
        await dashboard.sign_in("keys")
        await dashboard.button("New key").click()
        await dashboard.field("Name").fill("half done")
        await dashboard.press("Escape")
        await dashboard.button("Cancel", inside=dashboard.dialog("Leave without saving?")).click()
        await expect(dashboard.field("Name")).to_have_value("half done")
        await dashboard.press("Escape")
        await dashboard.button("Leave").click()
        await expect(dashboard.dialog()).to_have_count(0)
        await expect(dashboard.button("New key")).to_be_focused()
