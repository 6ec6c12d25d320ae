"""The request log, written and kept within bounds: one suite over SQLite and PostgreSQL."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from microgateway.persistence.database import Database, locate_database, locate_log, store_url
from microgateway.persistence.log_filter import LogFilter
from microgateway.persistence.log_sqlite import SqliteLogStore
from microgateway.persistence.log_store import LogStore, LogStoreError, Retention, open_store
from microgateway.persistence.log_zones import ROWS_PER_ZONE, Row
from microgateway.persistence.migration import REQUEST_LOG
from microgateway.persistence.request_log import LogRow, RequestLog
from tests.kit.log import BEGINNING, log_row, log_rows


@pytest.fixture
async def log_database(database_url: str, tmp_path: Path) -> AsyncIterator[Database]:
    url = locate_log(locate_database(database_url, tmp_path), tmp_path)
    database = Database(url, REQUEST_LOG)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def where(database_url: str, tmp_path: Path) -> str:
    return store_url(locate_log(locate_database(database_url, tmp_path), tmp_path))


class Threaded:
    """A store, as another process would use it: on a thread without an event loop."""

    def __init__(self, store: LogStore) -> None:
        self._store = store

    async def append(self, rows: list[Row]) -> None:
        await asyncio.to_thread(self._store.append, rows)

    async def retain(self, keep: Retention, now: float) -> bool:
        return await asyncio.to_thread(self._store.retain, keep, now)

    async def clear(self, before: float | None) -> None:
        await asyncio.to_thread(self._store.clear, before)

    async def close(self) -> None:
        await asyncio.to_thread(self._store.close)


async def opened_store(where: str) -> Threaded:
    return Threaded(await asyncio.to_thread(open_store, where))


@pytest.fixture
async def store(where: str, log_database: Database) -> AsyncIterator[Threaded]:
    opened = await opened_store(where)
    yield opened
    await opened.close()


@pytest.fixture
def log(log_database: Database) -> RequestLog:
    return RequestLog(log_database, now=lambda: 0.0)  # a search takes as long as it takes


async def everything(log: RequestLog) -> list[LogRow]:
    return [row async for piece in log.export(LogFilter()) for row in piece]


async def write(store: "Threaded", rows: list[Row]) -> None:
    """As the writer does it: some at a time."""
    for start in range(0, len(rows), 300):
        await store.append(rows[start : start + 300])


class TestAppend:
    async def test_what_is_written_can_be_read_the_newest_first(self, store: Threaded, log: RequestLog) -> None:
        await write(store, log_rows(1_000))
        page = await log.page(LogFilter(), size=10)
        assert [row["path"] for row in page.items] == [f"/items/{number}" for number in range(999, 989, -1)]
        assert (page.total, page.total_is_exact) == (1_000, True)

    async def test_ids_rise_and_nothing_is_there_twice(self, store: Threaded, log: RequestLog) -> None:
        await write(store, log_rows(1_500))
        ids = [row["id"] for row in await everything(log)]
        assert ids == sorted(set(ids), reverse=True)
        assert len(ids) == 1_500

    async def test_two_writers_at_once_lose_nothing(self, store: Threaded, where: str, log: RequestLog) -> None:
        """As when a gateway is started again while an earlier one's writer still writes what it has."""
        other = await opened_store(where)
        for number in range(20):
            await (store, other)[number % 2].append([log_row(number, path=f"/{number}")] * 40)
        await other.close()
        rows = await everything(log)
        assert len({row["id"] for row in rows}) == len(rows) == 800
        assert (await log.page(LogFilter(path="/17"), size=100)).total == 40

    async def test_a_batch_is_written_whole_or_not_at_all(self, store: Threaded, log: RequestLog) -> None:
        broken = log_row(2, simulated=None)
        with pytest.raises(LogStoreError):
            await store.append([log_row(1), broken])
        await store.append([log_row(3)])
        assert [row["path"] for row in await everything(log)] == ["/items/3"]


class TestRetention:
    async def test_no_more_rows_stay_than_allowed(self, store: Threaded, log: RequestLog) -> None:
        await write(store, log_rows(5_000))
        while await store.retain(Retention(rows=2_000), BEGINNING):
            pass
        rows = await everything(log)
        assert 2_000 - ROWS_PER_ZONE < len(rows) <= 2_000
        assert rows[0]["path"] == "/items/4999"
        assert (await log.page(LogFilter(), size=1)).total == len(rows)

    async def test_what_is_too_old_goes(self, store: Threaded, log: RequestLog) -> None:
        await write(store, log_rows(3_000))  # a second apart
        while await store.retain(Retention(seconds=1_000.0), BEGINNING + 3_000):
            pass
        ages = [BEGINNING + 3_000 - row["timestamp"] for row in await everything(log)]
        assert 1_000 <= max(ages) <= 1_000 + ROWS_PER_ZONE

    async def test_without_bounds_everything_stays(self, store: Threaded, log: RequestLog) -> None:
        await write(store, log_rows(1_000))
        assert not await store.retain(Retention(), BEGINNING + 1e9)
        assert len(await everything(log)) == 1_000


class TestClear:
    async def test_everything(self, store: Threaded, log: RequestLog) -> None:
        await write(store, log_rows(1_000))
        newest = (await log.page(LogFilter(), size=1)).items[0]["id"]
        await store.clear(None)
        assert await everything(log) == []
        await store.append([log_row(1)])
        (row,) = await everything(log)
        assert row["id"] > newest  # a cursor from before does not show it

    async def test_what_is_older(self, store: Threaded, log: RequestLog) -> None:
        await write(store, log_rows(2_000))
        await store.clear(BEGINNING + 1_200)
        assert len(await everything(log)) == 800
        assert (await log.page(LogFilter(), size=1)).total == 800
        await store.append([log_row(2_000)])
        assert (await log.page(LogFilter(path="/items/2000"), size=1)).total == 1


def size_of(file: str) -> int:
    return Path(file).stat().st_size


class TestFile:
    """SQLite only."""

    async def opened(self, folder: Path) -> tuple[Database, str]:
        url = locate_log(locate_database(None, folder), folder)
        database = Database(url, REQUEST_LOG)
        await database.open()
        return database, str(url.database)

    async def test_it_shrinks_when_much_was_deleted(self, tmp_path: Path) -> None:
        database, file = await self.opened(tmp_path)
        store = SqliteLogStore(file)
        store.append(log_rows(40_000))
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            before = size_of(file)
            store.clear(None)
            while store.retain(Retention(), BEGINNING):
                pass
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        store.close()
        await database.close()
        assert size_of(file) < before * 0.6

    async def test_a_full_disk_costs_the_batch_and_nothing_before_it(self, tmp_path: Path) -> None:
        database, file = await self.opened(tmp_path)
        store = SqliteLogStore(file)
        store.append(log_rows(600))
        connection = store._connection  # noqa: SLF001
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(LogStoreError, match="full"):
            store.append(log_rows(5_000))
        connection.execute("PRAGMA max_page_count = 1000000")
        store.append(log_rows(10))
        assert len(await everything(RequestLog(database, now=lambda: 0.0))) == 610
        store.close()
        await database.close()

    def test_the_log_is_a_file_beside_the_database(self, tmp_path: Path) -> None:
        configured = locate_database(f"sqlite:///{tmp_path}/own.sqlite", tmp_path)
        assert locate_log(configured, tmp_path).database == f"{tmp_path}/own-log.sqlite"
        assert (
            locate_log(locate_database("sqlite://", tmp_path), tmp_path).database == f"{tmp_path}/microgateway-log.db"
        )
