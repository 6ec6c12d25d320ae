"""The history of the configuration, on every engine: what a change was made to is kept, and goes when it is too old."""

from datetime import UTC, datetime

import pytest

from microgateway.errors import ConflictError, NotFoundError
from microgateway.persistence.configuration_history import FIRST, HistoryBounds, VersionNotKeptError
from microgateway.persistence.database import Database
from microgateway.persistence.repository import Repository
from tests.kit.configuration import key, route, service

URL = "http://127.0.0.1:9000"
DAY = 86_400.0


@pytest.fixture
def repository(database: Database) -> Repository:
    return Repository(database)


class TestChanges:
    async def test_each_is_noted_with_what_it_was_made_to(self, repository: Repository) -> None:
        first, second = service(URL), service(URL, enabled=False)
        await repository.services.add(first)
        await repository.services.replace("upstream", second)
        await repository.services.delete("upstream")
        created, changed, deleted = await repository.history.since(FIRST)
        assert [one.action for one in (created, changed, deleted)] == ["create", "change", "delete"]
        assert {(one.kind, one.id, one.name) for one in (created, changed, deleted)} == {
            ("service", "upstream", "upstream")
        }
        assert created.before is None
        assert changed.before is not None
        assert deleted.before is not None
        assert repository.services.of_columns(changed.before) == first
        assert repository.services.of_columns(deleted.before) == second
        assert repository.history.version == deleted.version

    async def test_hashes_and_moments_come_back_as_they_were(self, repository: Repository) -> None:
        issued = key("mobile", expires_at=datetime(2030, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC), services=["upstream"])
        await repository.keys.add(issued.entity)
        await repository.keys.replace("mobile", issued.entity.model_copy(update={"name": "other"}))
        _, changed = await repository.history.since(FIRST)
        assert changed.before is not None
        assert repository.keys.of_columns(changed.before) == issued.entity
        assert issued.secret not in str(changed)

    async def test_what_is_refused_is_no_change(self, repository: Repository) -> None:
        await repository.services.add(service(URL))
        version = repository.history.version
        with pytest.raises(ConflictError):
            await repository.services.add(service(URL, "other", name="upstream"))
        with pytest.raises(NotFoundError):
            await repository.services.delete("nobody")
        with pytest.raises(NotFoundError):
            await repository.services.replace("nobody", service(URL, "nobody"))
        assert repository.history.version == version
        assert len(await repository.history.since(FIRST)) == 1

    async def test_everything_at_once_is_one_change(self, repository: Repository) -> None:
        await repository.add_everything([service(URL)], [route()], [key().entity])
        (seeded,) = await repository.history.since(FIRST)
        assert (seeded.action, seeded.kind) == ("seed", "configuration")

    async def test_the_version_is_the_same_after_a_restart(self, database: Database, repository: Repository) -> None:
        assert repository.history.version == FIRST
        await repository.services.add(service(URL))
        again = Repository(database)
        await again.history.load()
        assert again.history.version == repository.history.version > FIRST

    async def test_one_and_the_next_one_to_the_same_thing(self, repository: Repository) -> None:
        await repository.services.add(service(URL))
        created = repository.history.version
        await repository.services.add(service(URL, "other"))
        await repository.services.replace("upstream", service(URL, enabled=False))
        change, later = await repository.history.get(created)
        assert (change.action, change.id) == ("create", "upstream")
        assert later is not None
        assert later.version == repository.history.version
        with pytest.raises(VersionNotKeptError):
            await repository.history.get(FIRST)


class TestBounds:
    async def test_no_more_are_kept_than_allowed_and_the_older_versions_are_gone(self, database: Database) -> None:
        repository = Repository(database, history=HistoryBounds(seconds=0, changes=10))
        await repository.services.add(service(URL))
        for number in range(80):
            await repository.services.replace("upstream", service(URL, enabled=number % 2 == 0))
        changes, total = await repository.history.list(limit=1_000)
        assert 10 <= total <= 10 + 64
        assert [one.number for one in changes] == sorted((one.number for one in changes), reverse=True)
        oldest = await repository.history.oldest()
        assert len(await repository.history.since(oldest)) == total
        for version in (oldest - 1, 0, repository.history.version + 1):
            with pytest.raises(VersionNotKeptError):
                await repository.history.since(version)

    async def test_old_ones_go_with_all_before_them_but_for_the_latest(self, database: Database) -> None:
        long_ago, now = Repository(database), Repository(database, history=HistoryBounds(seconds=DAY, changes=0))
        await long_ago.services.add(service(URL))
        long_ago.history.wall = lambda: 0.0
        await long_ago.services.replace("upstream", service(URL, enabled=False))
        before = long_ago.history.version
        assert len(await now.history.since(FIRST)) == 2
        await now.services.replace("upstream", service(URL))
        changes, _ = await now.history.list(limit=10)
        assert [one.version for one in changes] == [before + 1]
