"""The history of the configuration: what changed when, and every version as it was when it was in force."""

from pathlib import Path
from typing import Any

import pytest

from microgateway.control_plane.editions import Edition
from microgateway.control_plane.gateway_batches import ProposedConfiguration
from microgateway.core.routing import NotRouted
from microgateway.persistence.configuration_history import VersionNotKeptError
from microgateway.snapshot import Principal
from tests.control_plane.control import Control
from tests.control_plane.operators import Operators

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
        "compiled": sorted((rule.target.id, rule.target.path) for rule in edition.snapshot.routes.rules()),
        "taken": [taken(edition, f"/{letter}/{number}") for letter in "abc" for number in range(3)],
        "upstreams": sorted(edition.snapshot.upstreams),
        "keys": {key_id: told(key) for part in keys.in_parts(1_000) for key_id, key in part.by_id.items()},
        "digests": {digest for part in keys.in_parts(1_000) for digest in part.by_digest},
        "own issuers": sorted(keys.issuers),
    }


def taken(edition: Edition, path: str) -> tuple[str, str] | None:
    """Which route takes it, and to which service: of several that could, the oldest."""
    found = edition.snapshot.apart().match(b"GET", b"gateway", path.encode())
    return None if isinstance(found, NotRouted) else (found.id, found.upstream.id)


def told(principal: Principal) -> list[Any]:
    return [getattr(principal, name) for name in Principal.__slots__]


class TestNothingNew:
    async def test_what_is_sent_back_as_it_was_changes_nothing(self, control: Control) -> None:
        service = await control.service()
        await control.route(service["id"])
        await control.rate_limit()
        await control.key()
        issuer = {"name": "staff", "issuer": "https://login.example", "jwks_url": "http://127.0.0.1:9/keys"}
        await control.post("/api/token-issuers", issuer)
        version, published = control.configuration.snapshot.version, len(control.published)
        for kind in ("services", "routes", "rate-limits", "keys", "token-issuers"):
            (one,) = (await control.get(f"/api/{kind}"))["items"]
            for answer in (
                await control.put(f"/api/{kind}/{one['id']}", one),
                await control.patch(f"/api/{kind}/{one['id']}", {"enabled": True}),
            ):
                assert {name: answer[name] for name in one} == one
        assert (control.configuration.snapshot.version, len(control.published)) == (version, published)


class TestEditions:
    @pytest.mark.parametrize("seed", range(2))
    async def test_every_version_is_as_it_was(self, control: Control, seed: int) -> None:
        operators, pictures = Operators(control, seed), {}
        for _ in range(CHANGES):
            pictures[control.configuration.snapshot.version] = picture(control.configuration.editions().latest)
            await operators.change()
        assert len(pictures) > CHANGES / 2
        assert "restore" in {change.action for change in control.changes}
        editions = control.configuration.editions()
        for version, was in pictures.items():
            assert picture(await editions.at(version)) == was
        for version in (0, editions.latest.snapshot.version + 1):
            with pytest.raises(VersionNotKeptError):
                await editions.at(version)

    async def test_what_was_before_a_second_seed_is_not_forgotten(self, control: Control, tmp_path: Path) -> None:
        """A gateway that was emptied is seeded when it starts again."""
        file, seeded = tmp_path / "seed.json", list[str]()
        file.write_text('{"services": [{"name": "users", "base_url": "http://127.0.0.1:9000"}]}')
        for _ in range(2):
            await control.configuration.seed(file)
            (service_id,) = control.configuration.services
            seeded.append(service_id)
            await control.patch(f"/api/services/{service_id}", {"enabled": False})
            await control.delete(f"/api/services/{service_id}")
        editions = control.configuration.editions()
        there = [list((await editions.at(version)).table.services) for version in range(1, 8)]
        assert there == [[], [seeded[0]], [seeded[0]], [], [seeded[1]], [seeded[1]], []]
        told = await control.get("/api/config/history/2/diff?against=5")
        assert [(one["action"], one["id"]) for one in told["items"]] == [("delete", seeded[0]), ("create", seeded[1])]

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
        change = ProposedConfiguration.model_validate(
            {"keys": {"mobile": {"enabled": False}}, "rate_limits": {"busy": busy}}
        )
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
