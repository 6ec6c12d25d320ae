"""The counters survive a restart; a database that is away holds nobody up, and costs no count."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from pathlib import Path

import pytest
from sqlalchemy import text

from microgateway.observability.usage import Usage
from microgateway.observability.usage_keeper import UsageKeeper
from microgateway.persistence.database import Database, DatabaseUnavailableError, locate_database
from microgateway.persistence.repository import Repository
from microgateway.persistence.usage_store import KeyUsageRow, RouteUsageRow, ServiceUsageRow, UsageStore
from tests.kit.configuration import route, service
from tests.kit.waiting import PATIENCE


@pytest.fixture
def repository(database: Database) -> Repository:
    return Repository(database)


@pytest.fixture
async def database(folder: Path) -> AsyncIterator[Database]:
    opened = Database(locate_database(None, folder))
    await opened.open()
    yield opened
    await opened.close()


def used(usage: Usage, key_id: str = "a", times: int = 1) -> None:
    key = usage.changing_key(key_id)
    key.total_requests += times
    key.last_used_at = 1_700_000_000.0


async def kept(database: Database) -> dict[str, int]:
    return {row.key_id: row.total_requests for row in (await UsageStore(database).load())[0]}


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await condition():  # noqa: ASYNC110  the database has no event to wait for
            await asyncio.sleep(0.005)


async def eventually_kept(database: Database, wanted: dict[str, int]) -> None:
    async def is_kept() -> bool:
        return await kept(database) == wanted

    await eventually(is_kept)


async def test_the_next_start_counts_on(database: Database) -> None:
    usage = Usage()
    keeper = UsageKeeper(usage=usage, store=UsageStore(database), interval=60)
    keeper.start()
    used(usage, times=3)
    await keeper.stop()
    again = Usage()
    await UsageKeeper(usage=again, store=UsageStore(database)).load()
    assert again.of_key("a").total_requests == 3
    assert again.of_key("a").last_used_at == 1_700_000_000.0
    used(again, times=2)
    assert await UsageKeeper(usage=again, store=UsageStore(database)).write()
    assert await kept(database) == {"a": 5}


async def test_it_is_written_while_the_gateway_runs_and_only_what_has_changed(database: Database) -> None:
    usage = Usage()
    keeper = UsageKeeper(usage=usage, store=UsageStore(database), interval=0.01)
    keeper.start()
    used(usage)
    await eventually_kept(database, {"a": 1})
    used(usage, "b", 7)
    await eventually_kept(database, {"a": 1, "b": 7})
    await keeper.stop()
    assert not await keeper.write()


async def test_what_is_counted_during_a_write_is_written_by_the_next(database: Database) -> None:
    usage = Usage()

    class SlowStore(UsageStore):
        async def add(
            self,
            keys: Collection[KeyUsageRow],
            services: Collection[ServiceUsageRow],
            routes: Collection[RouteUsageRow] = (),
        ) -> None:
            used(usage, times=10)  # somebody counts while the database is asked
            await super().add(keys, services, routes)

    keeper = UsageKeeper(usage=usage, store=SlowStore(database))
    used(usage)
    await keeper.write()
    assert await kept(database) == {"a": 1}
    await UsageKeeper(usage=usage, store=UsageStore(database)).write()
    assert await kept(database) == {"a": 11}


async def test_a_database_that_is_away_is_told_of_once_and_gets_everything_later(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    usage, attempts = Usage(), []

    class CountingStore(UsageStore):
        async def add(
            self,
            keys: Collection[KeyUsageRow],
            services: Collection[ServiceUsageRow],
            routes: Collection[RouteUsageRow] = (),
        ) -> None:
            attempts.append(keys)
            await super().add(keys, services, routes)

    def attempted(times: int) -> Callable[[], Awaitable[bool]]:
        async def condition() -> bool:
            return len(attempts) >= times

        return condition

    keeper = UsageKeeper(usage=usage, store=CountingStore(database), interval=0.005)
    async with database.writing.begin() as connection:
        await connection.execute(text("ALTER TABLE key_usage RENAME TO elsewhere"))
    with caplog.at_level(logging.WARNING, logger="microgateway.observability"):
        keeper.start()
        used(usage, times=2)
        await eventually(attempted(3))
        used(usage, times=3)
        await eventually(attempted(6))
        assert len(caplog.records) == 1
    async with database.writing.begin() as connection:
        await connection.execute(text("ALTER TABLE elsewhere RENAME TO key_usage"))
    await eventually_kept(database, {"a": 5})
    await keeper.stop()


async def test_an_end_does_not_wait_for_a_database_that_hangs(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("microgateway.observability.usage_keeper.LONGEST_LAST_WRITE", 0.05)

    class HangingStore(UsageStore):
        async def add(self, *rows: object) -> None:
            await asyncio.Event().wait()

    usage = Usage()
    keeper = UsageKeeper(usage=usage, store=HangingStore(database), interval=60)
    keeper.start()
    used(usage)
    async with asyncio.timeout(PATIENCE):
        await keeper.stop()


async def test_many_keys_are_written_in_parts(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microgateway.observability.usage_keeper.MOST_AT_ONCE", 10)
    usage = Usage()
    for number in range(25):
        used(usage, str(number))
    keeper = UsageKeeper(usage=usage, store=UsageStore(database))
    assert [await keeper.write() for _ in range(4)] == [True, True, True, False]
    assert len(await kept(database)) == 25


async def test_a_write_that_failed_is_not_lost(database: Database) -> None:
    class BrokenStore(UsageStore):
        async def add(self, *rows: object) -> None:
            raise DatabaseUnavailableError("away")

    usage = Usage()
    used(usage, times=4)
    with pytest.raises(DatabaseUnavailableError):
        await UsageKeeper(usage=usage, store=BrokenStore(database)).write()
    await UsageKeeper(usage=usage, store=UsageStore(database)).write()
    assert await kept(database) == {"a": 4}


async def test_the_last_hits_of_routes_survive_a_restart_and_a_write_that_failed(
    database: Database, repository: Repository
) -> None:
    class BrokenStore(UsageStore):
        async def add(self, *rows: object) -> None:
            raise DatabaseUnavailableError("away")

    await repository.services.add(service("http://127.0.0.1:9000"))
    await repository.routes.add(route("/users"))
    usage, again = Usage(), Usage()
    usage.hit(["route /users", "gone"], 1_700_000_000)
    with pytest.raises(DatabaseUnavailableError):
        await UsageKeeper(usage=usage, store=BrokenStore(database)).write()
    usage.forget_route("gone")
    keeper = UsageKeeper(usage=usage, store=UsageStore(database))
    assert [await keeper.write(), await keeper.write()] == [True, False]
    await UsageKeeper(usage=again, store=UsageStore(database)).load()
    assert again.last_hits == {"route /users": 1_700_000_000.0}
