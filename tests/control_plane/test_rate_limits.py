"""Rate limit rules by the API, as stories: kept, in force when the call returns, and told with what they have seen."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from microgateway.core.routing import NotRouted
from microgateway.core.token_bucket import Limit
from microgateway.errors import StartupError
from microgateway.snapshot import Rules
from tests.control_plane.control import Control, running_control

KEPT = {"id", "created_at", "updated_at"}
LIMITS = {"requests_per_minute": 60, "burst_size": 5}


def fields(problem: dict[str, Any]) -> list[str]:
    return [error["field"] for error in problem["errors"]]


def rules_at(control: Control, path: bytes) -> Rules | None:
    """What the data plane would ask of a request with this path."""
    snapshot = control.published[-1]
    match = snapshot.match(b"GET", b"", path)
    return snapshot.unrouted_rules if isinstance(match, NotRouted) else match.rules


def names_at(control: Control, path: bytes) -> list[str]:
    rules = rules_at(control, path)
    return [] if rules is None else [rule.name for rule in (*rules.guards, *rules.others)]


class TestKeeping:
    async def test_one_is_created_with_defaults_and_can_be_read_back(self, control: Control) -> None:
        created = await control.post("/api/rate-limits", {"name": "busy", **LIMITS})
        assert re.fullmatch("rl_[0-9a-f]{16}", created["id"])
        assert {name: value for name, value in created.items() if name not in KEPT} == {
            "name": "busy",
            "enabled": True,
            "mode": "enforce",
            "requests_per_minute": 60,
            "burst_size": 5,
            "path": None,
            "match": None,
            "methods": [],
            "route_id": None,
            "service_id": None,
            "count_by": "key",
            "header": None,
            "before_auth": False,
            "admitted": 0,
            "refused": 0,
            "shadowed": 0,
            "subjects": 0,
            "overflowed": 0,
        }
        assert await control.get(f"/api/rate-limits/{created['id']}") == created
        assert (await control.get("/api/rate-limits")) == {"items": [created], "total": 1}

    async def test_the_answer_to_a_creation_says_where_it_is(self, control: Control) -> None:
        answer = await control.client.post("/api/rate-limits", json={"name": "busy", **LIMITS})
        assert answer.status_code == 201
        assert (await control.get(answer.headers["location"]))["name"] == "busy"

    async def test_put_takes_what_get_has_answered_and_what_it_leaves_out_is_the_default(
        self, control: Control
    ) -> None:
        rule = await control.rate_limit(path="/users/*", methods=["get"], count_by="header", header="X-Tenant")
        assert (rule["path"], rule["match"], rule["methods"], rule["header"]) == (
            "/users",
            "prefix",
            ["GET"],
            "x-tenant",
        )
        control.clock.advance(60)
        same = await control.put(f"/api/rate-limits/{rule['id']}", rule)
        assert same | {"updated_at": rule["updated_at"]} == rule
        plain = await control.put(f"/api/rate-limits/{rule['id']}", {"name": "plain", **LIMITS})
        assert (plain["id"], plain["path"], plain["count_by"], plain["header"]) == (rule["id"], None, "key", None)

    async def test_patch_keeps_what_it_leaves_out(self, control: Control) -> None:
        rule = await control.rate_limit(path="/users", count_by="address")
        merged = await control.patch(f"/api/rate-limits/{rule['id']}", {"burst_size": 9, "path": None, "match": None})
        assert (merged["burst_size"], merged["path"], merged["count_by"]) == (9, None, "address")

    async def test_it_survives_a_restart(self, folder: Path) -> None:
        async with running_control(folder) as first:
            service = await first.service()
            route = await first.route(service["id"])
            rule = await first.rate_limit(route_id=route["id"], service_id=service["id"], mode="shadow")
        async with running_control(folder) as second:
            assert await second.get(f"/api/rate-limits/{rule['id']}") == rule
            assert names_at(second, b"/users") == ["busy"]

    async def test_lists_can_be_narrowed(self, control: Control) -> None:
        service = await control.service()
        await control.rate_limit("one", service_id=service["id"])
        await control.rate_limit("two")
        for filters, names in (({"name": "two"}, ["two"]), ({"service_id": service["id"]}, ["one"])):
            found = await control.get("/api/rate-limits", params=filters)
            assert [rule["name"] for rule in found["items"]] == names

    async def test_what_is_not_there(self, control: Control) -> None:
        address = "/api/rate-limits/rl_0000000000000000"
        assert (await control.get(address, 404))["code"] == "not_found"
        assert (await control.put(address, {"name": "busy", **LIMITS}, 404))["code"] == "not_found"
        assert (await control.patch(address, {}, 404))["code"] == "not_found"
        assert (await control.delete(address, 404))["code"] == "not_found"


class TestRefusing:
    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"name": ""}, "name"),
            ({"name": "default"}, "name"),
            ({"requests_per_minute": 0}, "requests_per_minute"),
            ({"burst_size": 1.5}, "burst_size"),
            ({"mode": "watch"}, "mode"),
            ({"path": "users"}, "path"),
            ({"path": "/a*"}, "path"),
            ({"match": "exact"}, "match"),
            ({"methods": ["GET POST"]}, "methods"),
            ({"route_id": "rt_0000000000000000"}, "route_id"),
            ({"service_id": "svc_0000000000000000"}, "service_id"),
            ({"route_id": ""}, "route_id"),
            ({"count_by": "phase of the moon"}, "count_by"),
            ({"count_by": "header"}, "header"),
            ({"count_by": "header", "header": "X Tenant"}, "header"),
            ({"count_by": "header", "header": "X-Ténant"}, "header"),
            ({"count_by": "header", "header": "X-Forwarded-For"}, "header"),
            ({"count_by": "header", "header": "authorization"}, "header"),
            ({"header": "x-tenant"}, "header"),
            ({"before_auth": True}, "before_auth"),
            ({"admitted": 7}, "admitted"),
        ],
    )
    async def test_a_bad_field_is_named(self, control: Control, body: dict[str, object], field: str) -> None:
        problem = await control.post("/api/rate-limits", {"name": "busy", **LIMITS, **body}, 422)
        assert (problem["code"], fields(problem)) == ("invalid", [field])
        assert (await control.get("/api/rate-limits"))["total"] == 0

    @pytest.mark.parametrize("field", ["name", "requests_per_minute", "burst_size"])
    async def test_what_has_no_default_must_be_there(self, control: Control, field: str) -> None:
        body = {name: value for name, value in {"name": "busy", **LIMITS}.items() if name != field}
        assert fields(await control.post("/api/rate-limits", body, 422)) == [field]

    async def test_a_patch_that_makes_no_sense_changes_nothing(self, control: Control) -> None:
        rule = await control.rate_limit(count_by="address", before_auth=True)
        problem = await control.patch(f"/api/rate-limits/{rule['id']}", {"count_by": "key"}, 422)
        assert fields(problem) == ["before_auth"]
        assert await control.get(f"/api/rate-limits/{rule['id']}") == rule

    async def test_a_route_and_a_service_that_it_names_stay(self, control: Control) -> None:
        service, other = await control.service(), await control.service("orders")
        route = await control.route(service["id"])
        of_route = await control.rate_limit("of a route", route_id=route["id"])
        of_service = await control.rate_limit("of a service", service_id=other["id"])
        for address, rule in ((f"/api/routes/{route['id']}", of_route), (f"/api/services/{other['id']}", of_service)):
            problem = await control.delete(address, 409)
            assert (problem["code"], fields(problem)) == ("conflict", ["rate_limits"])
            assert rule["id"] in problem["detail"]
            await control.delete(f"/api/rate-limits/{rule['id']}")
            await control.delete(address)


class TestInForce:
    async def test_from_the_call_on_and_until_the_next(self, control: Control) -> None:
        service = await control.service()
        await control.route(service["id"])
        assert rules_at(control, b"/users") is None
        rule = await control.rate_limit(count_by="address")
        assert names_at(control, b"/users") == names_at(control, b"/nowhere") == ["busy"]
        await control.patch(f"/api/rate-limits/{rule['id']}", {"requests_per_minute": 7, "before_auth": True})
        rules = rules_at(control, b"/users")
        assert rules is not None
        assert [guard.limit for guard in rules.guards] == [Limit(7, 5)]
        await control.patch(f"/api/rate-limits/{rule['id']}", {"enabled": False})
        assert rules_at(control, b"/users") is None
        assert control.published[-1].limits.keys() == {rule["id"]}  # so that its buckets are kept
        await control.delete(f"/api/rate-limits/{rule['id']}")
        assert control.published[-1].limits.keys() == set()

    async def test_a_route_is_given_those_only_that_may_mean_its_requests(self, control: Control) -> None:
        users, orders = await control.service(), await control.service("orders")
        route = await control.route(users["id"], "/users/{id}", methods=["GET"])
        await control.route(orders["id"], "/orders")
        await control.rate_limit("route", route_id=route["id"])
        await control.rate_limit("service", service_id=orders["id"])
        await control.rate_limit("posts", methods=["POST"])
        await control.rate_limit("path", path="/users/ada", match="exact")
        await control.rate_limit("deeper", path="/users/ada/orders")
        assert names_at(control, b"/users/bob") == ["route", "path"]
        assert names_at(control, b"/orders") == ["service", "posts"]
        assert names_at(control, b"/nowhere") == ["posts", "path", "deeper"]

    async def test_a_change_of_a_service_keeps_the_rules_in_force(self, control: Control) -> None:
        service = await control.service()
        await control.route(service["id"])
        await control.rate_limit()
        await control.patch(f"/api/services/{service['id']}", {"enabled": False})
        assert names_at(control, b"/users") == ["busy"]

    async def test_it_carries_what_its_buckets_have_said(self, control: Control) -> None:
        service = await control.service()
        await control.route(service["id"])
        rule = await control.rate_limit(count_by="address", burst_size=1)
        rules = rules_at(control, b"/users")
        assert rules is not None
        for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
            control.live.limiter.take_all([(rules.others[0], address)], control.clock.now())
        seen = await control.get(f"/api/rate-limits/{rule['id']}")
        assert (seen["admitted"], seen["refused"], seen["shadowed"], seen["subjects"]) == (2, 1, 0, 2)


class TestSeeding:
    SEED = {  # noqa: RUF012  read only
        "services": [{"name": "users", "base_url": "http://127.0.0.1:9000"}],
        "routes": [{"path": "/users", "service": "users"}],
        "rate_limits": [
            {"name": "everywhere", **LIMITS},
            {"name": "users", "service": "users", "route": "/users", **LIMITS},
        ],
    }

    async def test_a_rule_names_its_service_by_name_and_its_route_by_path(
        self, control: Control, tmp_path: Path
    ) -> None:
        file = tmp_path / "seed.json"
        file.write_text(json.dumps(self.SEED))
        seeded = await control.configuration.seed(file)
        assert [rule.name for rule in seeded.rate_limits] == ["everywhere", "users"]
        assert seeded.rate_limits[1].route_id == seeded.routes[0].id
        assert names_at(control, b"/users") == ["everywhere", "users"]

    @pytest.mark.parametrize(
        ("rule", "complaint"),
        [
            ({"service": "nobody"}, "rate_limits[0].service: this file has no service 'nobody'"),
            ({"route": "/nowhere"}, "rate_limits[0].route: this file has 0 routes with the path '/nowhere'"),
            ({"burst_size": 0}, "rate_limits[0].burst_size: "),
        ],
    )
    async def test_a_fault_is_one_line(
        self, control: Control, tmp_path: Path, rule: dict[str, object], complaint: str
    ) -> None:
        file = tmp_path / "seed.json"
        file.write_text(json.dumps({"rate_limits": [{"name": "busy", **LIMITS, **rule}]}))
        with pytest.raises(StartupError) as caught:
            await control.configuration.seed(file)
        assert complaint in str(caught.value)
