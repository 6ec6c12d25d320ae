"""What a key may do, and how it gets a new text."""

from datetime import UTC, datetime, timedelta

import pytest

from microgateway.snapshot import Principal
from tests.control_plane.control import Control


def found(control: Control, text: str) -> Principal | None:
    return control.published[-1].keys.find(text.encode())


def fields(problem: dict[str, list[dict[str, str]]]) -> list[str]:
    return [error["field"] for error in problem["errors"]]


class TestServices:
    async def test_a_key_is_for_the_services_that_it_names(self, control: Control) -> None:
        users = await control.service("users")
        created = await control.key(services=[users["id"], users["id"]])
        assert created["services"] == [users["id"]]
        principal = found(control, created["key"])
        assert principal is not None
        assert principal.services == frozenset((users["id"],))
        await control.patch(f"/api/keys/{created['id']}", {"services": []})
        freed = found(control, created["key"])
        assert freed is not None
        assert freed.services is None

    async def test_a_service_that_is_not_there(self, control: Control) -> None:
        created = await control.key()
        for problem in (
            await control.post("/api/keys", {"name": "a", "services": ["svc_0"]}, 422),
            await control.put(f"/api/keys/{created['id']}", {"name": "a", "services": ["svc_0"]}, 422),
            await control.patch(f"/api/keys/{created['id']}", {"services": ["svc_0"]}, 422),
        ):
            assert (problem["code"], fields(problem)) == ("invalid", ["services"])

    async def test_a_service_that_has_gone_stays_named_and_allows_nothing_new(self, control: Control) -> None:
        """Taken off the list, the last one would turn a key for one service into a key for all."""
        users = await control.service("users")
        created = await control.key(services=[users["id"]])
        await control.delete(f"/api/services/{users['id']}")
        merged = await control.patch(f"/api/keys/{created['id']}", {"owner": "Ada"})
        assert merged["services"] == [users["id"]]
        assert await control.put(f"/api/keys/{created['id']}", merged) == merged


class TestScopes:
    async def test_they_are_kept_in_their_order(self, control: Control) -> None:
        created = await control.key(scopes=["write:users", "read", "read"])
        assert created["scopes"] == ["write:users", "read"]
        assert (await control.get(f"/api/keys/{created['id']}"))["scopes"] == ["write:users", "read"]

    @pytest.mark.parametrize("scope", ["", "a b", 'a"b', "a\\b", "é", "a\x7f", "x" * 129])
    async def test_what_is_no_scope(self, control: Control, scope: str) -> None:
        assert fields(await control.post("/api/keys", {"name": "a", "scopes": [scope]}, 422)) == ["scopes"]


class TestRotation:
    async def rotate(self, control: Control, key_id: str, seconds: object, status: int = 200) -> dict[str, str]:
        answer: dict[str, str] = await control.post(f"/api/keys/{key_id}/rotate", {"overlap_seconds": seconds}, status)
        return answer

    async def test_both_texts_are_good_until_the_overlap_is_over(self, control: Control) -> None:
        created = await control.key(owner="Ada", burst_size=3)
        rotated = await self.rotate(control, created["id"], 60)
        assert rotated["key"] != created["key"]
        assert rotated["key"].startswith(rotated["key_prefix"])
        ends = datetime.fromtimestamp(control.clock.wall(), UTC) + timedelta(seconds=60)
        assert rotated["previous_expires_at"] == ends.isoformat().replace("+00:00", "Z")
        same = ("id", "owner", "burst_size", "created_at")
        assert [rotated[name] for name in same] == [created[name] for name in same]
        old, new = found(control, created["key"]), found(control, rotated["key"])
        assert old is not None
        assert new is not None
        assert (old.id, old.limit) == (new.id, new.limit)
        assert old.expires_at == control.clock.wall() + 60 < new.expires_at

    async def test_a_second_rotation_ends_the_first_one_s_overlap(self, control: Control) -> None:
        created = await control.key()
        first = await self.rotate(control, created["id"], 60)
        second = await self.rotate(control, created["id"], 0)
        assert found(control, created["key"]) is None
        previous = found(control, first["key"])
        assert previous is not None
        assert previous.expires_at <= control.clock.wall()
        assert found(control, second["key"]) is not None
        assert len(control.published[-1].keys) == 1

    async def test_the_overlap_never_outlives_the_key(self, control: Control) -> None:
        expires = datetime.fromtimestamp(control.clock.wall() + 10, UTC)
        created = await control.key(expires_at=expires.isoformat())
        await self.rotate(control, created["id"], 60)
        old = found(control, created["key"])
        assert old is not None
        assert old.expires_at == expires.timestamp()

    async def test_revoking_ends_both(self, control: Control) -> None:
        created = await control.key()
        rotated = await self.rotate(control, created["id"], 60)
        await control.delete(f"/api/keys/{created['id']}")
        for text in (created["key"], rotated["key"]):
            principal = found(control, text)
            assert principal is not None
            assert not principal.enabled
        assert (await self.rotate(control, created["id"], 60, 409))["code"] == "conflict"

    async def test_a_change_of_the_key_leaves_the_overlap_alone(self, control: Control) -> None:
        created = await control.key()
        rotated = await self.rotate(control, created["id"], 60)
        replaced = await control.put(f"/api/keys/{created['id']}", {"name": "renamed"})
        assert replaced["previous_expires_at"] == rotated["previous_expires_at"]
        old = found(control, created["key"])
        assert old is not None
        assert old.name == "renamed"

    @pytest.mark.parametrize("seconds", [-1, 366 * 24 * 3_600 + 1, 1.5, "soon", None])
    async def test_an_overlap_that_makes_no_sense(self, control: Control, seconds: object) -> None:
        created = await control.key()
        assert fields(await self.rotate(control, created["id"], seconds, 422)) == ["overlap_seconds"]  # type: ignore[arg-type]

    async def test_a_restart_keeps_it(self, control: Control) -> None:
        created = await control.key()
        rotated = await self.rotate(control, created["id"], 60)
        await control.configuration.load()
        old, new = found(control, created["key"]), found(control, rotated["key"])
        assert old is not None
        assert new is not None
        assert old.expires_at == control.clock.wall() + 60
