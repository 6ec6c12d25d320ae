"""The control API, told as stories: a real database, the real application, nothing in between but HTTP."""

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from microgateway.core import api_keys
from microgateway.core.circuit import CircuitPolicy, CircuitState, Permit
from microgateway.core.routing import NotRouted
from microgateway.entities import CircuitSpec
from microgateway.observability.usage import KeyUsage, ServiceUsage
from tests.control_plane.control import Control, running_control

KEPT = {"id", "created_at", "updated_at"}


def fields(problem: dict[str, Any]) -> list[str]:
    return [error["field"] for error in problem["errors"]]


def bytes_in(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


BREAKER_LEFT_OUT = dict.fromkeys(CircuitSpec.model_fields) | {"mode": "auto"}


class TestServices:
    async def test_one_is_created_with_defaults_and_can_be_read_back(self, control: Control) -> None:
        created = await control.post("/api/services", {"name": "users", "base_url": "HTTP://Users.Internal:80/v1/"})
        assert re.fullmatch("svc_[0-9a-f]{16}", created["id"])
        assert {name: value for name, value in created.items() if name not in KEPT} == {
            "name": "users",
            "base_url": "http://users.internal/v1",
            "targets": [],
            "health_check_path": "/health",
            "enabled": True,
            "preserve_host": False,
            "connect_timeout_seconds": None,
            "read_timeout_seconds": None,
            "circuit_breaker": BREAKER_LEFT_OUT,
            "load_balancing": "round_robin",
            "hash_on": "key",
            "hash_header": None,
            "health_check": {
                "enabled": True,
                "interval_seconds": 10.0,
                "timeout_seconds": 2.0,
                "healthy_threshold": 2,
                "unhealthy_threshold": 3,
                "expected_statuses": ["200-499"],
                "jitter": 0.1,
            },
            "passive_health": {
                "enabled": True,
                "consecutive_failures": 5,
                "ejection_seconds": 30.0,
                "longest_ejection_seconds": 300.0,
                "largest_share": 0.5,
                "failure_statuses": ["5xx"],
            },
            "when_unhealthy": "try_all",
            "tls": {
                "verify": True,
                "ca_file": None,
                "client_cert_file": None,
                "client_key_file": None,
                "server_name": None,
            },
            "health": "unknown",
            "target_health": [{"url": "http://users.internal/v1", "status": "unknown"}],
            "circuit": "closed",
            "total_requests": 0,
            "total_errors": 0,
            "error_rate": 0.0,
        }
        assert await control.get(f"/api/services/{created['id']}") == created

    async def test_the_answer_to_a_creation_says_where_it_is(self, control: Control) -> None:
        body = {"name": "users", "base_url": "http://127.0.0.1:9000"}
        answer = await control.client.post("/api/services", json=body)
        assert answer.status_code == 201
        assert answer.headers["location"] == f"/api/services/{answer.json()['id']}"
        assert (await control.get(answer.headers["location"]))["name"] == "users"

    async def test_a_change_is_published_before_its_call_returns(self, control: Control) -> None:
        service = await control.service()
        assert control.published[-1].upstreams[service["id"]].name == "users"
        await control.patch(f"/api/services/{service['id']}", {"enabled": False})
        assert control.published[-1].upstreams[service["id"]].enabled is False
        await control.delete(f"/api/services/{service['id']}")
        assert control.published[-1].upstreams == {}

    async def test_put_brings_back_the_default_of_what_it_leaves_out(self, control: Control) -> None:
        service = await control.service(enabled=False, read_timeout_seconds=3, circuit_breaker={"failure_threshold": 9})
        body = {"name": "people", "base_url": "http://127.0.0.1:9001"}
        replaced = await control.put(f"/api/services/{service['id']}", body)
        assert (replaced["id"], replaced["created_at"]) == (service["id"], service["created_at"])
        assert (replaced["name"], replaced["base_url"]) == ("people", "http://127.0.0.1:9001")
        assert (replaced["enabled"], replaced["read_timeout_seconds"]) == (True, None)
        assert replaced["circuit_breaker"]["failure_threshold"] is None

    async def test_put_takes_what_get_has_answered(self, control: Control) -> None:
        service = await control.service(targets=[{"url": "http://127.0.0.1:9002", "weight": 3}])
        control.clock.advance(60)
        replaced = await control.put(f"/api/services/{service['id']}", service | {"name": "people"})
        assert replaced["updated_at"] > service["updated_at"]
        assert replaced | {"updated_at": service["updated_at"]} == service | {"name": "people"}

    async def test_patch_keeps_what_it_leaves_out_and_null_is_the_default(self, control: Control) -> None:
        breaker = {"failure_threshold": 9, "recovery_timeout": 2.5}
        service = await control.service(read_timeout_seconds=3, health_check_path="/up", circuit_breaker=breaker)
        patch = {"health_check_path": None, "circuit_breaker": {"failure_threshold": 4}}
        merged = await control.patch(f"/api/services/{service['id']}", patch)
        assert merged["health_check_path"] == "/health"
        assert merged["read_timeout_seconds"] == 3
        assert merged["circuit_breaker"] == BREAKER_LEFT_OUT | {"failure_threshold": 4, "recovery_timeout": 2.5}
        assert control.published[-1].upstreams[service["id"]].circuit == CircuitPolicy(4, 2.5, 3)

    async def test_a_name_belongs_to_one_service(self, control: Control) -> None:
        await control.service("users")
        other = await control.service("orders")
        body = {"name": "users", "base_url": "http://127.0.0.1:9009"}
        for problem in (
            await control.post("/api/services", body, 409),
            await control.put(f"/api/services/{other['id']}", body, 409),
            await control.patch(f"/api/services/{other['id']}", {"name": "users"}, 409),
        ):
            assert (problem["code"], fields(problem)) == ("conflict", ["name"])
            assert "'users'" in problem["detail"]
        assert (await control.get(f"/api/services/{other['id']}")) == other

    async def test_of_many_who_want_the_same_name_at_once_one_gets_it(self, control: Control) -> None:
        body = {"name": "users", "base_url": "http://127.0.0.1:9000"}
        answers = await asyncio.gather(*(control.client.post("/api/services", json=body) for _ in range(12)))
        assert sorted(answer.status_code for answer in answers) == [201] + [409] * 11
        assert (await control.get("/api/services"))["total"] == 1
        assert len(control.published[-1].upstreams) == 1

    async def test_one_that_routes_use_is_not_deleted(self, control: Control) -> None:
        service = await control.service()
        route = await control.route(service["id"], "/users/{id}")
        problem = await control.delete(f"/api/services/{service['id']}", 409)
        assert problem["code"] == "conflict"
        assert "/users/{id}" in problem["detail"]
        assert route["id"] in problem["detail"]
        await control.delete(f"/api/routes/{route['id']}")
        await control.delete(f"/api/services/{service['id']}")
        assert (await control.get(f"/api/services/{service['id']}", 404))["code"] == "not_found"

    async def test_a_conflict_with_many_routes_names_a_few_and_counts_the_rest(self, control: Control) -> None:
        service = await control.service()
        for number in range(8):
            await control.route(service["id"], f"/r{number}")
        problem = await control.delete(f"/api/services/{service['id']}", 409)
        assert problem["detail"].count("rt_") == 5
        assert problem["detail"].endswith("and 3 more.")

    async def test_it_carries_what_the_gateway_has_seen(self, control: Control) -> None:
        service = await control.service()
        usage = control.live.usage.services[service["id"]] = ServiceUsage()
        usage.total_requests, usage.total_errors = 8, 2
        trip(control, service["id"])
        seen = await control.get(f"/api/services/{service['id']}")
        assert (seen["total_requests"], seen["total_errors"], seen["error_rate"]) == (8, 2, 0.25)
        assert seen["circuit"] == "open"
        assert (await control.get("/api/services"))["items"] == [seen]

    async def test_the_counters_of_a_deleted_one_are_forgotten(self, control: Control) -> None:
        service = await control.service()
        control.live.usage.services[service["id"]] = ServiceUsage()
        await control.delete(f"/api/services/{service['id']}")
        assert control.live.usage.services == {}


class TestRoutes:
    async def test_one_is_created_with_defaults_and_can_be_read_back(self, control: Control) -> None:
        service = await control.service()
        created = await control.post("/api/routes", {"path": "/users/*", "service_id": service["id"]})
        assert re.fullmatch("rt_[0-9a-f]{16}", created["id"])
        assert {name: value for name, value in created.items() if name not in KEPT} == {
            "path": "/users",
            "match": "prefix",
            "service_id": service["id"],
            "hosts": [],
            "methods": [],
            "strip_prefix": False,
            "priority": 0,
            "timeout_seconds": None,
            "retries": 0,
            "enabled": True,
            "auth": "required",
            "forward_credentials": False,
            "headers": [],
            "query": [],
            "rewrite": None,
            "request_headers": {"set": {}, "add": {}, "remove": []},
            "response_headers": {"set": {}, "add": {}, "remove": []},
            "cors": None,
            "max_body_bytes": None,
            "allow_addresses": [],
            "deny_addresses": [],
            "last_hit_at": None,
            "warnings": [],
        }
        assert await control.get(f"/api/routes/{created['id']}") == created

    async def test_it_is_in_force_when_the_call_returns(self, control: Control) -> None:
        def destination() -> object:
            return control.published[-1].match(b"GET", b"example.com", b"/users/1")

        service = await control.service()
        assert isinstance(destination(), NotRouted)
        route = await control.route(service["id"])
        assert getattr(destination(), "id", None) == route["id"]
        await control.patch(f"/api/routes/{route['id']}", {"enabled": False})
        assert isinstance(destination(), NotRouted)
        await control.put(f"/api/routes/{route['id']}", {"path": "/", "service_id": service["id"]})
        assert getattr(destination(), "id", None) == route["id"]
        await control.delete(f"/api/routes/{route['id']}")
        assert isinstance(destination(), NotRouted)

    async def test_a_service_that_is_not_there_is_named_by_its_field(self, control: Control) -> None:
        service = await control.service()
        route = await control.route(service["id"])
        body = {"path": "/users", "service_id": "svc_0000000000000000"}
        for problem in (
            await control.post("/api/routes", body, 422),
            await control.put(f"/api/routes/{route['id']}", body, 422),
            await control.patch(f"/api/routes/{route['id']}", {"service_id": "nobody"}, 422),
        ):
            assert (problem["code"], fields(problem)) == ("invalid", ["service_id"])
        assert (await control.get(f"/api/routes/{route['id']}")) == route

    async def test_put_and_patch_differ_as_for_services(self, control: Control) -> None:
        service = await control.service()
        route = await control.route(service["id"], methods=["get", "GET", "post"], priority=7, retries=2, auth="none")
        assert route["methods"] == ["GET", "POST"]
        merged = await control.patch(f"/api/routes/{route['id']}", {"methods": None, "timeout_seconds": 1.5})
        assert (merged["methods"], merged["timeout_seconds"], merged["priority"]) == ([], 1.5, 7)
        replaced = await control.put(f"/api/routes/{route['id']}", {"path": "/users", "service_id": service["id"]})
        assert (replaced["priority"], replaced["retries"], replaced["auth"]) == (0, 0, "required")

    async def test_put_takes_what_get_has_answered(self, control: Control) -> None:
        service = await control.service()
        route = await control.route(service["id"], "/users/{id}", hosts=["*.example.com"])
        replaced = await control.put(f"/api/routes/{route['id']}", route)
        assert replaced == route

    async def test_the_older_of_two_that_match_equally_wins_also_after_an_edit(self, control: Control) -> None:
        service = await control.service()
        older = await control.route(service["id"])
        younger = await control.route(service["id"])
        await control.patch(f"/api/routes/{older['id']}", {"retries": 1})
        listed = (await control.get("/api/routes"))["items"]
        assert [route["id"] for route in listed] == [older["id"], younger["id"]]
        destination = control.published[-1].match(b"GET", b"", b"/users")
        assert not isinstance(destination, NotRouted)
        assert destination.id == older["id"]

    async def test_they_can_be_listed_by_service(self, control: Control) -> None:
        users, orders = await control.service("users"), await control.service("orders")
        await control.route(users["id"], "/users")
        wanted = await control.route(orders["id"], "/orders")
        found = await control.get("/api/routes", params={"service_id": orders["id"]})
        wanted.pop("warnings")  # they are told of one route, or of all at /api/routes/warnings
        assert found == {"items": [wanted], "total": 1}


class TestKeys:
    async def test_the_text_is_shown_once_and_only_its_hash_is_kept(self, control: Control, folder: Path) -> None:
        created = await control.key()
        text = created.pop("key")
        assert api_keys.is_well_formed(text)
        assert text.startswith(created["key_prefix"])
        assert await control.get(f"/api/keys/{created['id']}") == created
        assert (await control.get("/api/keys"))["items"] == [created]
        await control.database.close()
        kept = bytes_in(folder)
        assert created["key_prefix"].encode() in kept
        assert text.encode() not in kept
        assert text.removeprefix(created["key_prefix"]).encode() not in kept

    async def test_limits_left_out_are_the_gateway_s(self, control: Control) -> None:
        created = await control.key()
        assert re.fullmatch("key_[0-9a-f]{16}", created["id"])
        assert (created["requests_per_minute"], created["burst_size"]) == (60, 10)
        own = await control.key("own", requests_per_minute=600)
        assert (own["requests_per_minute"], own["burst_size"]) == (600, 10)

    async def test_it_opens_the_door_when_the_call_returns_and_no_longer_when_revoked(self, control: Control) -> None:
        created = await control.key(requests_per_minute=120, burst_size=5)
        principal = control.published[-1].keys.find(created["key"].encode())
        assert principal is not None
        assert (principal.id, principal.enabled) == (created["id"], True)
        assert (principal.limit.per_minute, principal.limit.burst) == (120, 5)
        await control.delete(f"/api/keys/{created['id']}")
        revoked = control.published[-1].keys.find(created["key"].encode())
        assert revoked is None or not revoked.enabled

    async def test_a_revoked_one_stays_in_the_list_and_stays_revoked(self, control: Control) -> None:
        created = await control.key()
        await control.delete(f"/api/keys/{created['id']}")
        revoked = await control.get(f"/api/keys/{created['id']}")
        assert revoked["revoked_at"] == datetime.fromtimestamp(control.clock.wall(), UTC).isoformat().replace(
            "+00:00", "Z"
        )
        control.clock.advance(60)
        await control.delete(f"/api/keys/{created['id']}")
        assert (await control.get("/api/keys"))["items"] == [revoked]
        for problem in (
            await control.put(f"/api/keys/{created['id']}", {"name": "again"}, 409),
            await control.patch(f"/api/keys/{created['id']}", {"enabled": True}, 409),
        ):
            assert (problem["code"], fields(problem)) == ("conflict", ["revoked_at"])

    async def test_put_keeps_the_text_and_brings_back_defaults(self, control: Control) -> None:
        created = await control.key(owner="Ada", requests_per_minute=600, burst_size=50, enabled=False)
        replaced = await control.put(f"/api/keys/{created['id']}", {"name": "renamed"})
        assert (replaced["name"], replaced["owner"], replaced["enabled"]) == ("renamed", "", True)
        assert (replaced["requests_per_minute"], replaced["burst_size"]) == (60, 10)
        assert (replaced["key_prefix"], replaced["created_at"]) == (created["key_prefix"], created["created_at"])
        principal = control.published[-1].keys.find(created["key"].encode())
        assert principal is not None
        assert principal.name == "renamed"

    async def test_patch_keeps_what_it_leaves_out_and_null_is_the_default(self, control: Control) -> None:
        created = await control.key(owner="Ada", requests_per_minute=600, expires_at="2030-01-01T00:00:00+02:00")
        assert created["expires_at"] == "2029-12-31T22:00:00Z"
        merged = await control.patch(f"/api/keys/{created['id']}", {"requests_per_minute": None, "expires_at": None})
        assert (merged["owner"], merged["requests_per_minute"], merged["expires_at"]) == ("Ada", 60, None)

    async def test_put_takes_what_get_has_answered(self, control: Control) -> None:
        created = await control.key(owner="Ada", expires_at="2030-01-01T00:00:00Z")
        seen = await control.get(f"/api/keys/{created['id']}")
        assert await control.put(f"/api/keys/{created['id']}", seen) == seen

    async def test_it_carries_what_the_gateway_has_seen(self, control: Control) -> None:
        created = await control.key()
        usage = control.live.usage.keys[created["id"]] = KeyUsage()
        usage.total_requests, usage.rejected_requests, usage.last_used_at = 12, 2, 1_700_000_000.0
        seen = await control.get(f"/api/keys/{created['id']}")
        assert (seen["total_requests"], seen["rejected_requests"]) == (12, 2)
        assert seen["last_used_at"] == "2023-11-14T22:13:20Z"

    async def test_they_can_be_listed_by_name_owner_and_team(self, control: Control) -> None:
        await control.key("a", owner="Ada", team="core")
        await control.key("b", owner="Ada", team="edge")
        await control.key("c", owner="Bob", team="edge")

        async def names(**params: str) -> list[str]:
            return [key["name"] for key in (await control.get("/api/keys", params=params))["items"]]

        assert await names(owner="Ada") == ["a", "b"]
        assert await names(team="edge") == ["b", "c"]
        assert await names(owner="Ada", team="edge") == ["b"]
        assert await names(name="c") == ["c"]
        assert await names(name="%") == []


class TestLists:
    async def test_a_part_of_a_list_and_the_length_of_all(self, control: Control) -> None:
        for number in range(7):
            await control.key(f"k{number}")
        part = await control.get("/api/keys", params={"limit": 3, "offset": 2})
        assert [key["name"] for key in part["items"]] == ["k2", "k3", "k4"]
        assert part["total"] == 7
        assert (await control.get("/api/keys", params={"offset": 7})) == {"items": [], "total": 7}

    @pytest.mark.parametrize("path", ["/api/services", "/api/routes", "/api/keys", "/api/circuit-breakers"])
    async def test_an_empty_list_is_a_list(self, control: Control, path: str) -> None:
        assert await control.get(path) == {"items": [], "total": 0}

    @pytest.mark.parametrize(
        ("params", "field"),
        [
            ({"limit": "0"}, "limit"),
            ({"limit": "1001"}, "limit"),
            ({"limit": "many"}, "limit"),
            ({"offset": "-1"}, "offset"),
            ({"offset": "99999999999999999999"}, "offset"),
            ({"name": "a\0b"}, "name"),
            ({"name": "a" * 257}, "name"),
        ],
    )
    async def test_a_question_that_makes_no_sense(self, control: Control, params: dict[str, str], field: str) -> None:
        problem = await control.get("/api/keys", 422, params=params)
        assert (problem["code"], fields(problem)) == ("invalid", [field])


def trip(control: Control, service_id: str, cause: str = "") -> None:
    """Has the service's circuit see as many failures as it takes."""
    circuit = control.live.circuits.of(service_id, CircuitPolicy(failure_threshold=1), control.clock.now())
    permit = circuit.try_acquire(control.clock.now())
    assert isinstance(permit, Permit)
    circuit.failed(permit, control.clock.now(), cause)


class TestCircuitBreakers:
    async def test_a_service_that_nobody_has_called_is_trusted(self, control: Control) -> None:
        service = await control.service(circuit_breaker={"failure_threshold": 2})
        expected = {
            "id": service["id"],
            "name": "users",
            "state": "closed",
            "mode": "auto",
            "failures": 0,
            "trips": 0,
            "retry_after_seconds": 0.0,
            "window": None,
            "trip": "consecutive",
            "failure_threshold": 2,
            "recovery_timeout": 30.0,
            "half_open_max_calls": 3,
            "window_seconds": 10.0,
            "minimum_calls": 20,
            "failure_rate": 0.5,
            "failure_statuses": ["500-599"],
            "slow_call_seconds": 0.0,
            "slow_call_rate": 1.0,
            "history": [],
        }
        assert (await control.get("/api/circuit-breakers"))["items"] == [expected]
        assert await control.get(f"/api/circuit-breakers/{service['id']}") == expected

    async def test_its_history_says_what_happened_and_why(self, control: Control) -> None:
        service = await control.service()
        trip(control, service["id"], "503")
        await control.ask("POST", f"/api/circuit-breakers/{service['id']}/reset", 200)
        seen = await control.get(f"/api/circuit-breakers/{service['id']}")
        newest, oldest = seen["history"]
        assert newest | {"at": ""} == {
            "before": "open",
            "after": "closed",
            "at": "",
            "reason": "reset by hand",
            "by": "operator",
        }
        assert (oldest["before"], oldest["after"], oldest["by"]) == ("closed", "open", "")
        assert oldest["reason"] == "1 failure in a row: 503"

    async def test_a_rate_shows_its_window(self, control: Control) -> None:
        breaker = {"trip": "rate", "window_seconds": 20, "minimum_calls": 50, "failure_statuses": [429, "5xx"]}
        service = await control.service(circuit_breaker=breaker)
        path = f"/api/circuit-breakers/{service['id']}"
        nothing = {"calls": 0, "failures": 0, "slow_calls": 0, "failure_rate": 0.0, "slow_call_rate": 0.0}
        assert (await control.get(path))["window"] == nothing
        now = control.clock.now()
        circuit = control.live.circuits.of(service["id"], control.published[-1].upstreams[service["id"]].circuit, now)
        for status in (200, 200, 200, 429):
            permit = circuit.try_acquire(now)
            assert isinstance(permit, Permit)
            circuit.answered(permit, status, now)
        seen = await control.get(path)
        assert seen["window"] == nothing | {"calls": 4, "failures": 1, "failure_rate": 0.25}
        assert seen["failure_statuses"] == [429, "500-599"]
        control.clock.advance(60)
        assert (await control.get(path))["window"] == nothing

    async def test_its_mode_is_configuration_and_not_reset(self, control: Control) -> None:
        service = await control.service()
        for mode in ("forced_open", "disabled"):
            await control.patch(f"/api/services/{service['id']}", {"circuit_breaker": {"mode": mode}})
            assert (await control.get(f"/api/circuit-breakers/{service['id']}"))["mode"] == mode
            problem = await control.ask("POST", f"/api/circuit-breakers/{service['id']}/reset", 409)
            assert problem["errors"][0]["field"] == "circuit_breaker.mode"
        patched = await control.patch(f"/api/services/{service['id']}", {"circuit_breaker": {"mode": None}})
        assert patched["circuit_breaker"]["mode"] == "auto"

    async def test_an_open_one_is_seen_and_can_be_closed(self, control: Control) -> None:
        service, other = await control.service("users"), await control.service("orders")
        trip(control, service["id"])
        control.clock.advance(10)
        seen, quiet = (await control.get("/api/circuit-breakers"))["items"]
        assert (seen["state"], seen["trips"], seen["retry_after_seconds"]) == ("open", 1, 20.0)
        assert (quiet["id"], quiet["state"]) == (other["id"], "closed")
        reset = await control.ask("POST", f"/api/circuit-breakers/{service['id']}/reset", 200)
        assert (reset["state"], reset["failures"], reset["retry_after_seconds"]) == ("closed", 0, 0.0)
        assert control.live.circuits.state_of(service["id"]) is CircuitState.CLOSED

    async def test_they_are_listed_in_parts(self, control: Control) -> None:
        for name in ("a", "b", "c"):
            await control.service(name)
        part = await control.get("/api/circuit-breakers", params={"limit": 1, "offset": 1})
        assert ([item["name"] for item in part["items"]], part["total"]) == (["b"], 3)

    async def test_there_is_none_without_a_service(self, control: Control) -> None:
        problem = await control.ask("POST", "/api/circuit-breakers/svc_0000000000000000/reset", 404)
        assert problem["code"] == "not_found"


class TestMissing:
    @pytest.mark.parametrize("kind", ["services", "routes", "keys"])
    @pytest.mark.parametrize("entity_id", ["svc_0000000000000000", "%00", "a'b", "..%2f", "x" * 65, "日本"])
    async def test_an_id_that_nobody_has(self, control: Control, kind: str, entity_id: str) -> None:
        service = await control.service()
        bodies: dict[str, dict[str, object]] = {
            "services": {"name": "a", "base_url": "http://127.0.0.1"},
            "routes": {"path": "/a", "service_id": service["id"]},
            "keys": {"name": "a"},
        }
        path = f"/api/{kind}/{entity_id}"
        expected = {"not_found", "unknown_path"}
        assert (await control.get(path, 404))["code"] in expected
        assert (await control.put(path, bodies[kind], 404))["code"] in expected
        assert (await control.patch(path, {"name": "b"} if kind != "routes" else {"path": "/b"}, 404))[
            "code"
        ] in expected
        assert (await control.delete(path, 404))["code"] in expected


class TestRestart:
    async def test_everything_is_there_again(self, folder: Path) -> None:
        async with running_control(folder) as first:
            service = await first.service(
                targets=[{"url": "http://127.0.0.1:9001/a", "weight": 2}], circuit_breaker={"recovery_timeout": 1.5}
            )
            route = await first.route(service["id"], "/users/{id}", hosts=["example.com"], methods=["GET"])
            key = await first.key(owner="Ada", expires_at="2030-01-01T00:00:00.123456Z")
            revoked = await first.key("old")
            await first.delete(f"/api/keys/{revoked['id']}")
            before = [await first.get(path) for path in ("/api/services", "/api/routes", "/api/keys")]

        async with running_control(folder) as second:
            after = [await second.get(path) for path in ("/api/services", "/api/routes", "/api/keys")]
            (snapshot,) = second.published
        assert after == before
        principal = snapshot.keys.find(key["key"].encode())
        assert principal is not None
        assert (principal.id, principal.enabled) == (key["id"], True)
        old = snapshot.keys.find(revoked["key"].encode())
        assert old is None or not old.enabled
        destination = snapshot.match(b"GET", b"example.com", b"/users/1")
        assert not isinstance(destination, NotRouted)
        assert destination.id == route["id"]
        assert destination.upstream.circuit.recovery_timeout == 1.5
