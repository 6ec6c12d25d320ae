"""The history of the configuration: what changed when, and every version as it was when it was in force."""

from random import Random
from typing import Any

import pytest

from microgateway.control_plane.editions import Edition
from microgateway.control_plane.gateway_batches import Configuration as Proposed
from microgateway.persistence.configuration_history import VersionNotKeptError
from microgateway.snapshot import Principal
from tests.control_plane.control import Control

CHANGES = 60


def picture(edition: Edition) -> dict[str, Any]:
    """All that can be told of one, in order."""
    table, keys = edition.table, edition.snapshot.keys
    return {
        "version": edition.snapshot.version,
        "services": list(table.services.items()),
        "routes": list(table.routes.items()),
        "rate limits": list(table.rate_limits.items()),
        "issuers": dict(edition.issuers),
        "compiled": [(rule.target.id, rule.target.path) for rule in edition.snapshot.routes.rules()],
        "upstreams": sorted(edition.snapshot.upstreams),
        "keys": {key_id: told(key) for part in keys.in_parts(1_000) for key_id, key in part.by_id.items()},
        "digests": {digest for part in keys.in_parts(1_000) for digest in part.by_digest},
        "own issuers": sorted(keys.issuers),
    }


def told(principal: Principal) -> list[Any]:
    return [getattr(principal, name) for name in Principal.__slots__]


class Town:
    """Operators who change whatever they like."""

    def __init__(self, control: Control, seed: int) -> None:
        self._control = control
        self._random = Random(seed)
        self._number = 0

    async def change(self) -> None:
        """Something; not all that is tried may be done."""
        kind = self._random.choice(["services", "routes", "routes", "keys", "keys", "rate-limits", "token-issuers"])
        there = (await self._control.get(f"/api/{kind}"))["items"]
        what = self._random.choice(["create", "create", "change", "delete"]) if there else "create"
        if what == "create":
            await self._control.client.post(f"/api/{kind}", json=await self._new(kind))
            return
        one = f"/api/{kind}/{self._random.choice(there)['id']}"
        if what == "delete":
            await self._control.client.delete(one)
        elif kind == "keys" and self._random.random() < 0.5:
            await self._control.client.post(f"{one}/rotate", json={"overlap_seconds": 60})
        else:
            await self._control.client.patch(one, json={"enabled": self._random.random() < 0.5})

    async def _new(self, kind: str) -> dict[str, Any]:
        self._number += 1
        name = f"{kind} {self._number}"
        services = (await self._control.get("/api/services"))["items"]
        service_id = self._random.choice(services)["id"] if services else "svc_nobody"
        new: dict[str, dict[str, Any]] = {
            "services": {"name": name, "base_url": "http://127.0.0.1:9000"},
            "routes": {"path": f"/{self._random.choice('abc')}/{self._number % 3}", "service_id": service_id},
            "keys": {"name": name},
            "rate-limits": {"name": name, "requests_per_minute": 60, "burst_size": 5, "service_id": service_id},
            "token-issuers": {
                "name": name,
                "issuer": f"https://{self._number}.example",
                "audiences": ["us"],
                "jwks_url": "http://127.0.0.1:9/keys",
                "algorithms": ["RS256"],
            },
        }
        return new[kind]


class TestEditions:
    @pytest.mark.parametrize("seed", range(2))
    async def test_every_version_is_as_it_was(self, control: Control, seed: int) -> None:
        town, pictures = Town(control, seed), {}
        for _ in range(CHANGES):
            pictures[control.configuration.snapshot.version] = picture(control.configuration.editions().latest)
            await town.change()
        assert len(pictures) > CHANGES / 2
        editions = control.configuration.editions()
        for version, was in pictures.items():
            assert picture(await editions.at(version)) == was
        for version in (0, editions.latest.snapshot.version + 1):
            with pytest.raises(VersionNotKeptError):
                await editions.at(version)

    async def test_a_proposal_is_to_what_there_was_then_and_new_things_are_the_same_in_each(
        self, control: Control
    ) -> None:
        service = await control.service("orders")
        route = await control.route(service["id"], "/orders")
        key = await control.key("mobile", requests_per_minute=60)
        then = control.configuration.snapshot.version
        await control.patch(f"/api/keys/{key['id']}", {"burst_size": 99})
        await control.delete(f"/api/routes/{route['id']}")
        editions, now = control.configuration.editions(), control.configuration.snapshot.version
        busy = {"requests_per_minute": 1, "burst_size": 1, "count_by": "all"}
        change = Proposed.model_validate({"keys": {"mobile": {"enabled": False}}, "rate_limits": {"busy": busy}})
        before, after = await editions.proposed(then, change), await editions.proposed(now, change)
        assert (before.version, after.version) == (then, now)
        assert set(before.limits) == set(after.limits) != set()
        assert [len(list(one.routes.rules())) for one in (before, after)] == [1, 0]
        limits = [one.keys.of_id(key["id"]) for one in (before, after)]
        assert [(one.enabled, one.limit.burst) for one in limits if one is not None] == [(False, 10), (False, 99)]


class TestHistory:
    async def test_changes_are_listed_and_the_newest_is_in_force(self, control: Control) -> None:
        service = await control.service("orders")
        route = await control.route(service["id"], "/orders")
        await control.delete(f"/api/routes/{route['id']}")
        told = await control.get("/api/config/history?limit=2")
        assert (told["total"], told["version"], told["oldest_version"]) == (3, 4, 1)
        assert [(one["version"], one["action"], one["kind"], one["name"]) for one in told["items"]] == [
            (4, "delete", "route", "/orders"),
            (3, "create", "route", "/orders"),
        ]
        assert control.configuration.snapshot.version == control.published[-1].version == 4
        assert [change.version for change in control.changes[-3:]] == [2, 3, 4]

    async def test_one_tells_what_was_before_and_after(self, control: Control) -> None:
        service = await control.service("orders")
        await control.patch(f"/api/services/{service['id']}", {"enabled": False})
        await control.patch(f"/api/services/{service['id']}", {"name": "other"})
        changed = await control.get("/api/config/history/3")
        assert changed["fields"] == ["enabled"]
        assert (changed["before"]["enabled"], changed["after"]["enabled"]) == (True, False)
        assert (changed["before"]["name"], changed["after"]["name"]) == ("orders", "orders")
        await control.delete(f"/api/services/{service['id']}")
        created, deleted = [await control.get(f"/api/config/history/{version}") for version in (2, 5)]
        assert (created["before"], created["after"]["name"]) == (None, "orders")
        assert (deleted["before"]["name"], deleted["after"]) == ("other", None)
        await control.get("/api/config/history/1", 404)
        await control.get("/api/config/history/99", 404)

    async def test_of_keys_no_hash_is_told(self, control: Control) -> None:
        key = await control.key("mobile")
        await control.post(f"/api/keys/{key['id']}/rotate", {"overlap_seconds": 60}, 200)
        rotated = await control.get("/api/config/history/3")
        assert set(rotated["fields"]) == {"key_prefix", "previous_expires_at"}
        assert not {name for side in ("before", "after") for name in rotated[side] if "hash" in name}
