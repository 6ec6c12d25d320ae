"""Back to what the configuration was: what is different, what is made of it, and what stays as it is."""

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import delete, update

from microgateway.control_plane import in_force
from microgateway.persistence.configuration_history import packed_json
from microgateway.persistence.tables import configuration_changes
from microgateway.testing import RunningProxy, serve
from tests.control_plane.control import Control
from tests.control_plane.operators import Operators
from tests.kit.certificates import Authority

CHANGES = 30
LOOKS = 5
LISTS = ("services", "routes", "rate-limits", "token-issuers", "keys")
OF_NOW = {"key_prefix", "previous_expires_at"}  # of a key: its text is never another one again


async def answered(served: RunningProxy, path: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n".encode())
    status = int((await reader.read()).split()[1])
    writer.close()
    return status


async def taker(control: Control) -> str:
    """The route that takes a request for /users."""
    answer = await control.post("/api/gateway/request", {"path": "/users"}, 200)
    return str(answer["route_id"])


async def diff(control: Control, version: int, query: str = "") -> dict[str, Any]:
    told: dict[str, Any] = await control.get(f"/api/config/history/{version}/diff{query}")
    return told


async def restore(control: Control, version: int, status: int = 200, **asked: object) -> dict[str, Any]:
    told: dict[str, Any] = await control.post(f"/api/config/history/{version}/restore", asked, status)
    return told


def version_of(control: Control) -> int:
    return control.configuration.snapshot.version


def brief(told: dict[str, Any], of: str = "items") -> list[tuple[str, str, str]]:
    return [(one["action"], one["kind"], one["name"]) for one in told[of]]


def fields(told: dict[str, Any], of: str = "items") -> dict[str, tuple[Any, Any]]:
    """Those of the only thing that is different."""
    (one,) = told[of]
    return {field["field"]: (field["before"], field["after"]) for field in one["fields"]}


class TestDiff:
    async def test_tells_what_was_created_changed_and_deleted(self, control: Control) -> None:
        users, orders = await control.service("users"), await control.service("orders")
        route = await control.route(users["id"], "/users")
        then = version_of(control)
        await control.patch(f"/api/services/{users['id']}", {"circuit_breaker": {"mode": "disabled"}, "enabled": False})
        await control.delete(f"/api/services/{orders['id']}")
        await control.patch(f"/api/routes/{route['id']}", {"retries": 2})
        await control.patch(f"/api/routes/{route['id']}", {"retries": 0})
        await control.rate_limit("busy")
        told = await diff(control, then)
        assert (told["from_version"], told["to_version"], told["total"]) == (then, version_of(control), 3)
        assert brief(told) == [
            ("change", "service", "users"),
            ("delete", "service", "orders"),
            ("create", "rate_limit", "busy"),
        ]
        changed, deleted, created = told["items"]
        assert changed["fields"] == [
            {"field": "enabled", "before": True, "after": False},
            {"field": "circuit_breaker.mode", "before": "auto", "after": "disabled"},
        ]
        assert {"field": "name", "before": "orders", "after": None} in deleted["fields"]
        assert {"field": "burst_size", "before": None, "after": 5} in created["fields"]

    async def test_is_between_any_two_versions_in_either_direction(self, control: Control) -> None:
        service = await control.service("users")
        for retries in (1, 2, 3):
            await control.patch(f"/api/services/{service['id']}", {"connect_timeout_seconds": retries})
        assert fields(await diff(control, 3, "?against=4")) == {"connect_timeout_seconds": (1.0, 2.0)}
        assert fields(await diff(control, 4, "?against=2")) == {"connect_timeout_seconds": (2.0, None)}
        assert brief(await diff(control, 1, "?against=3")) == [("create", "service", "users")]
        assert (await diff(control, 3, "?against=3"))["items"] == []
        assert brief(await diff(control, 1, "?limit=1&offset=1")) == []

    async def test_of_a_seed_is_all_that_came_with_it(self, control: Control, tmp_path: Path) -> None:
        file = tmp_path / "seed.json"
        file.write_text(
            '{"services": [{"name": "users", "base_url": "http://127.0.0.1:9000"}],'
            ' "routes": [{"path": "/users", "service": "users"}], "keys": [{"name": "mobile"}]}'
        )
        await control.configuration.seed(file)
        users = control.configuration.services
        await control.patch(f"/api/services/{next(iter(users))}", {"name": "people"})
        came = [("create", "service", "users"), ("create", "route", "/users"), ("create", "key", "mobile")]
        assert brief(await diff(control, 1, "?against=2")) == came
        assert brief(await diff(control, 1)) == [("create", "service", "people"), *came[1:]]

    async def test_shows_no_hash_of_a_key(self, control: Control) -> None:
        key = await control.key("mobile")
        then = version_of(control)
        await control.post(f"/api/keys/{key['id']}/rotate", {"overlap_seconds": 60}, 200)
        for told in (await diff(control, then), await diff(control, 1)):
            assert "hash" not in str(told)
        assert set(fields(await diff(control, then))) == {"key_prefix", "previous_expires_at"}

    @pytest.mark.parametrize("version", ["0", "4", "nonsense"])
    async def test_there_is_none_of_what_never_was(self, control: Control, version: str) -> None:
        await control.service()
        await control.get(f"/api/config/history/{version}/diff", 404)
        if version != "nonsense":
            await control.get(f"/api/config/history/1/diff?against={version}", 422 if version == "0" else 404)


class TestRestoring:
    async def test_makes_one_new_version_that_is_in_force_and_can_be_undone(self, control: Control) -> None:
        users = await control.service("users")
        first = await control.route(users["id"], "/users", methods=["GET"])
        then = version_of(control)
        await control.delete(f"/api/routes/{first['id']}")
        second = await control.route(users["id"], "/users")
        await control.patch(f"/api/services/{users['id']}", {"name": "people"})
        await control.service("users")
        before, published = version_of(control), len(control.published)
        told = await restore(control, then)
        assert (told["version"], told["restored_version"], told["total"]) == (before + 1, then, 4)
        assert told["version"] == control.published[-1].version == version_of(control)
        assert len(control.published) == published + 1
        assert [one["id"] for one in (await control.get("/api/routes"))["items"]] == [first["id"]]
        assert [one["name"] for one in (await control.get("/api/services"))["items"]] == ["users"]
        (newest,) = (await control.get("/api/config/history?limit=1"))["items"]
        assert newest.pop("at")
        assert newest == {
            "version": before + 1,
            "action": "restore",
            "kind": "configuration",
            "id": str(then),
            "name": f"version {then}",
        }
        assert (control.changes[-1].action, control.changes[-1].version) == ("restore", before + 1)
        undone = await restore(control, before)
        assert undone["version"] == before + 2
        assert [one["id"] for one in (await control.get("/api/routes"))["items"]] == [second["id"]]
        assert [one["name"] for one in (await control.get("/api/services"))["items"]] == ["people", "users"]

    async def test_a_rehearsal_tells_the_same_and_changes_nothing(self, control: Control) -> None:
        users = await control.service("users")
        hidden = await control.route(users["id"], "/users/{id}", methods=["GET"])
        then = version_of(control)
        await control.patch(f"/api/routes/{hidden['id']}", {"path": "/people/{id}"})
        await control.route(users["id"], "/users", priority=5)
        await control.patch(f"/api/services/{users['id']}", {"enabled": False})
        await control.patch(f"/api/services/{users['id']}", {"enabled": True})
        before, published, changes = version_of(control), len(control.published), len(control.changes)
        rehearsed = await restore(control, then, dry_run=True)
        assert (version_of(control), len(control.published), len(control.changes)) == (before, published, changes)
        assert (rehearsed["version"], rehearsed["dry_run"]) == (before, True)
        done = await restore(control, then, if_version=rehearsed["version"])
        same = ("restored_version", "changes", "total", "notes", "warnings")
        assert {name: rehearsed[name] for name in same} == {name: done[name] for name in same}

    async def test_warns_of_routes_that_nothing_reaches_afterwards(self, control: Control) -> None:
        users = await control.service("users")
        await control.route(users["id"], "/users", priority=5)
        hidden = await control.route(users["id"], "/users/{id}")
        then = version_of(control)
        await control.delete(f"/api/routes/{hidden['id']}")
        for wishes in ({"dry_run": True}, {}):
            told = await restore(control, then, **wishes)
            assert [(one["code"], one["route_id"]) for one in told["warnings"]] == [("unreachable", hidden["id"])]

    async def test_of_what_is_in_force_is_no_change(self, control: Control) -> None:
        users = await control.service("users")
        same = version_of(control)
        await control.patch(f"/api/services/{users['id']}", {"enabled": False})
        await control.patch(f"/api/services/{users['id']}", {"enabled": True})
        before, published = version_of(control), len(control.published)
        for version in (same, before):
            told = await restore(control, version)
            assert (told["version"], told["changes"], told["total"]) == (before, [], 0)
        assert (version_of(control), len(control.published)) == (before, published)

    @pytest.mark.parametrize(("most", "patched"), [(100, slice(None, None, -1)), (0, slice(None))])
    async def test_the_older_of_two_routes_wins_as_before_and_goes_on_to(
        self, control: Control, monkeypatch: pytest.MonkeyPatch, most: int, patched: slice
    ) -> None:
        """Whether a change is made of it or everything is compiled anew."""
        monkeypatch.setattr(in_force, "MOST_IN_ONE_STEP", most)
        users = await control.service("users")
        gone, other, first, second = [(await control.route(users["id"], auth="none"))["id"] for _ in range(4)]
        for route_id in (gone, other):
            await control.delete(f"/api/routes/{route_id}")
        then = version_of(control)
        await control.patch(f"/api/routes/{first}", {"priority": -1})
        assert await taker(control) == second
        await restore(control, then)
        assert await taker(control) == first
        for route_id in (first, second)[patched]:
            await control.patch(f"/api/routes/{route_id}", {"retries": 1})
            assert await taker(control) == first
        await restore(control, 5)  # with the first three
        assert await taker(control) == gone
        await control.patch(f"/api/routes/{gone}", {"retries": 1})
        assert await taker(control) == gone

    async def test_needs_the_version_that_was_looked_at(self, control: Control) -> None:
        users = await control.service("users")
        looked_at = version_of(control)
        await control.patch(f"/api/services/{users['id']}", {"enabled": False})
        for wishes in ({}, {"dry_run": True}):
            refused = await restore(control, 1, 409, if_version=looked_at, **wishes)
            assert [error["field"] for error in refused["errors"]] == ["if_version"]
        assert len((await control.get("/api/services"))["items"]) == 1

    async def test_of_two_that_looked_at_the_same_one_is_refused(self, control: Control) -> None:
        users = await control.service("users")
        await control.patch(f"/api/services/{users['id']}", {"enabled": False})
        path, asked = "/api/config/history/2/restore", {"if_version": version_of(control)}
        answers = await asyncio.gather(*(control.client.post(path, json=asked) for _ in range(2)))
        assert sorted(answer.status_code for answer in answers) == [200, 409]

    async def test_says_which_versions_are_known_of_one_that_is_not(self, control: Control) -> None:
        await control.service("users")
        refused = await restore(control, 99, 404)
        assert "those from 1 to 2 are known" in refused["detail"]
        await control.post("/api/config/history/1/restore", {"nonsense": 1}, 422)
        await control.service("orders")
        async with control.database.writing.begin() as connection:  # as when the oldest ones are forgotten
            await connection.execute(delete(configuration_changes).where(configuration_changes.c.number == 1))
        for refused in (await restore(control, 1, 404), await control.get("/api/config/history/1/diff", 404)):
            assert refused["detail"].startswith("Version 1 of the configuration is no longer kept: those from 2 to 3 ")
        assert (await restore(control, 2))["total"] == 1

    async def test_what_would_not_be_taken_today_stops_all_of_it(self, control: Control, tmp_path: Path) -> None:
        file = Authority(tmp_path).file
        users = await control.service("users", tls={"ca_file": str(file)})
        then = version_of(control)
        await control.patch(f"/api/services/{users['id']}", {"tls": {"ca_file": None}})
        await control.service("orders")
        file.unlink()
        before = await control.get("/api/services")
        for wishes in ({"dry_run": True}, {}):
            refused = await restore(control, then, 422, **wishes)
            assert [error["field"] for error in refused["errors"]] == [f"service.{users['id']}.tls.ca_file"]
        assert await control.get("/api/services") == before

    async def test_is_all_or_nothing_in_the_database_and_in_force(self, control: Control) -> None:
        """Somebody has added a row by hand, which is in the way of the last step."""
        users, orders = await control.service("users"), await control.service("orders")
        then = version_of(control)
        await control.delete(f"/api/services/{orders['id']}")
        await control.patch(f"/api/services/{users['id']}", {"enabled": False})
        by_hand = control.configuration.service(users["id"]).model_copy(update={"id": "svc_hand", "name": "orders"})
        repository = control.configuration.repository
        async with control.database.writing.begin() as connection:
            await repository.services.add_all([by_hand], connection)
        before, version = await control.get("/api/services"), version_of(control)
        refused = await restore(control, then, 409)
        assert refused["code"] == "conflict"
        assert await control.get("/api/services") == before
        assert (version_of(control), repository.history.version) == (version, version)
        assert not control.configuration.service(users["id"]).enabled

    async def test_what_can_no_longer_be_read_is_said(self, control: Control) -> None:
        """As after an upgrade whose rules are stricter."""
        users = await control.service("users")
        then = version_of(control)
        await control.patch(f"/api/services/{users['id']}", {"enabled": False})
        change, _ = await control.configuration.repository.history.get(version_of(control))
        kept = packed_json({**(change.before or {}), "load_balancing": "by_the_stars"})
        async with control.database.writing.begin() as connection:
            row = configuration_changes.c.number == change.number
            await connection.execute(update(configuration_changes).where(row).values(before=kept))
        for refused in (
            await control.get(f"/api/config/history/{change.version}", 409),
            await control.get(f"/api/config/history/{then}/diff", 409),
            await restore(control, then, 409),
        ):
            assert users["id"] in refused["detail"]
            assert "load_balancing" in refused["detail"]

    async def test_a_column_that_there_was_not_yet_has_its_default(self, control: Control) -> None:
        users = await control.service("users", load_balancing="least_requests")
        then = version_of(control)
        await control.patch(f"/api/services/{users['id']}", {"enabled": False})
        change, _ = await control.configuration.repository.history.get(version_of(control))
        kept = {name: value for name, value in (change.before or {}).items() if name != "load_balancing"}
        async with control.database.writing.begin() as connection:
            row = configuration_changes.c.number == change.number
            await connection.execute(update(configuration_changes).where(row).values(before=packed_json(kept)))
        await restore(control, then)
        assert (await control.get(f"/api/services/{users['id']}"))["load_balancing"] == "round_robin"

    async def test_buckets_and_circuits_are_what_they_were(self, control: Control) -> None:
        """Also where everything is compiled anew."""
        async with serve(clock=control.clock) as served:
            circuit = {"failure_threshold": 1, "recovery_timeout": 10_000}
            users = await control.service("users", base_url="http://127.0.0.1:1", circuit_breaker=circuit)
            route = await control.route(users["id"], "/users", auth="none")
            await control.rate_limit("busy", count_by="all", burst_size=2, requests_per_minute=1)
            then = version_of(control)
            served.apply(control.published[-1])
            assert [await answered(served, "/users") for _ in range(2)] == [502, 503]
            await control.delete(f"/api/routes/{route['id']}")
            served.apply(control.published[-1])
            await restore(control, then)
            served.apply(control.published[-1])
            assert await answered(served, "/users") == 429
            control.clock.advance(61)
            assert await answered(served, "/users") == 503

    async def test_what_was_used_stays_used(self, control: Control) -> None:
        users = await control.service("users")
        route = await control.route(users["id"], "/users")
        key = await control.key("mobile", burst_size=3)
        then = version_of(control)
        await control.patch(f"/api/keys/{key['id']}", {"burst_size": 9})
        await control.patch(f"/api/routes/{route['id']}", {"retries": 1})
        usage = control.live.usage
        usage.changing_key(key["id"]).total_requests = 7
        usage.last_hits[route["id"]] = 1.0
        gone = await control.route(users["id"], "/gone")
        usage.last_hits[gone["id"]] = 1.0
        await restore(control, then)
        assert (await control.get(f"/api/keys/{key['id']}"))["total_requests"] == 7
        assert (await control.get(f"/api/routes/{route['id']}"))["last_hit_at"] is not None
        assert gone["id"] not in usage.last_hits


class TestKeys:
    async def is_good(self, control: Control, text: str) -> bool:
        return (await control.client.post("/api/auth/token", json={"api_key": text})).status_code == 200

    async def test_a_revoked_one_stays_revoked(self, control: Control) -> None:
        key = await control.key("mobile", burst_size=3)
        then = version_of(control)
        await control.patch(f"/api/keys/{key['id']}", {"burst_size": 9})
        await control.delete(f"/api/keys/{key['id']}")
        was = await control.get(f"/api/keys/{key['id']}")
        told = await restore(control, then)
        assert (told["changes"], told["version"]) == ([], version_of(control))
        assert told["notes"] == [{"code": "stays_revoked", "kind": "key", "id": key["id"], "name": "mobile"}]
        assert await control.get(f"/api/keys/{key['id']}") == was
        assert not await self.is_good(control, key["key"])

    async def test_a_rotated_one_keeps_its_text_and_its_limits_go_back(self, control: Control) -> None:
        key = await control.key("mobile", burst_size=3)
        then = version_of(control)
        rotated = await control.post(f"/api/keys/{key['id']}/rotate", {"overlap_seconds": 0}, 200)
        await control.patch(f"/api/keys/{key['id']}", {"burst_size": 9})
        told = await restore(control, then)
        assert [note["code"] for note in told["notes"]] == ["keeps_its_text"]
        assert fields(told, "changes") == {"burst_size": (9, 3)}
        principal = control.configuration.snapshot.keys.find(rotated["key"].encode())
        assert principal is not None
        assert principal.limit.burst == 3
        assert not await self.is_good(control, key["key"])

    async def test_one_that_was_made_since_stays_or_is_switched_off_and_can_be_had_back(self, control: Control) -> None:
        then = version_of(control)
        key = await control.key("mobile")
        told = await restore(control, then)
        assert ([note["code"] for note in told["notes"]], told["total"]) == (["stays"], 0)
        assert await self.is_good(control, key["key"])
        with_it = version_of(control)
        told = await restore(control, then, new_keys="disable")
        assert [note["code"] for note in told["notes"]] == ["is_disabled"]
        assert fields(told, "changes") == {"enabled": (True, False)}
        assert not await self.is_good(control, key["key"])
        told = await restore(control, with_it)
        assert [note["code"] for note in told["notes"]] == ["is_good_again"]
        assert await self.is_good(control, key["key"])

    async def test_are_left_alone_where_that_is_asked_for(self, control: Control) -> None:
        users = await control.service("users")
        key = await control.key("mobile", burst_size=3)
        then = version_of(control)
        await control.patch(f"/api/keys/{key['id']}", {"burst_size": 9, "enabled": False})
        await control.patch(f"/api/services/{users['id']}", {"enabled": False})
        told = await restore(control, then, keys="leave")
        assert brief(told, "changes") == [("change", "service", "users")]
        assert (await control.get(f"/api/keys/{key['id']}"))["burst_size"] == 9
        told = await restore(control, then)
        assert brief(told, "changes") == [("change", "key", "mobile")]

    async def test_it_is_said_whose_door_opens_again(self, control: Control) -> None:
        issuer = await control.post(
            "/api/token-issuers", {"name": "them", "issuer": "https://them.example", "jwks_url": "http://127.0.0.1:9/k"}
        )
        key = await control.key("mobile")
        then = version_of(control)
        await control.patch(f"/api/keys/{key['id']}", {"expires_at": "2020-01-01T00:00:00Z"})
        await control.delete(f"/api/token-issuers/{issuer['id']}")
        assert control.configuration.snapshot.keys.issuers == {}
        told = await restore(control, then, dry_run=True)
        assert [(note["code"], note["kind"], note["name"]) for note in told["notes"]] == [
            ("is_good_again", "key", "mobile"),
            ("is_good_again", "token_issuer", "them"),
        ]
        await restore(control, then)
        assert list(control.configuration.snapshot.keys.issuers) == ["https://them.example"]


async def everything(control: Control) -> dict[str, list[dict[str, Any]]]:
    """What the lists say of what was written; live figures and the moment of the last change are none of it."""
    live = ("health", "circuit", "total_requests", "total_errors", "error_rate", "rejected_requests", "last_used_at")
    untold = {*live, "updated_at", "last_hit_at", "keys_fetched_at", "keys_error", "key_ids"}
    lists = {name: (await control.get(f"/api/{name}"))["items"] for name in LISTS}
    return {
        name: [{field: value for field, value in one.items() if field not in untold} for one in items]
        for name, items in lists.items()
    }


async def explained(control: Control) -> list[tuple[Any, ...]]:
    """What would become of requests, and of which routes each could have been."""
    told = []
    for path in ("/a/0", "/b/1", "/c/2"):
        answer = await control.post("/api/gateway/request", {"method": "GET", "path": path}, 200)
        (route,) = (stage for stage in answer["stages"] if stage["stage"] == "route")
        told.append((answer["status"], answer["stage"], answer["code"], route["verdict"], route.get("candidates")))
    return told


def expected_keys(then: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that are revoked or were made since stay; the others are as they were, but for their texts."""
    was = {key["id"]: key for key in then}
    return [
        key if key["revoked_at"] or key["id"] not in was else {**was[key["id"]], **{name: key[name] for name in OF_NOW}}
        for key in now
    ]


@pytest.mark.parametrize("seed", range(2))
async def test_whatever_was_changed_any_version_comes_back(control: Control, seed: int) -> None:
    """Of some versions it is written down what they are; then they are restored, in any order."""
    operators, random = Operators(control, seed), Random(seed)
    lists = dict[int, dict[str, list[dict[str, Any]]]]()
    explanations = dict[int, list[tuple[Any, ...]]]()
    looks = set(random.sample(range(1, CHANGES), LOOKS))
    for number in range(CHANGES):
        await operators.change()
        if number in looks:
            lists[version_of(control)] = await everything(control)
            explanations[version_of(control)] = await explained(control)
    for version in random.sample(list(lists), len(lists)):
        now = await everything(control)
        await restore(control, version)
        expected = {**lists[version], "keys": expected_keys(lists[version]["keys"], now["keys"])}
        assert await everything(control) == expected
        assert await explained(control) == explanations[version]
