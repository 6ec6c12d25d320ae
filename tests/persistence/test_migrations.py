"""From an empty database, or an older one, to the tables that the code knows."""

import asyncio
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from microgateway.errors import StartupError
from microgateway.persistence.database import Database, locate_database, locate_log
from microgateway.persistence.log_tables import metadata as log_metadata
from microgateway.persistence.migration import CONFIGURATION, REQUEST_LOG, Chain, migration_config
from microgateway.persistence.repository import Repository
from microgateway.persistence.tables import metadata


async def test_the_migrations_make_the_tables_that_the_code_knows(database: Database) -> None:
    def differences(connection: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    async with database.reading.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_the_log_s_migrations_make_its_tables_and_the_way_back_leaves_nothing(
    database_url: str, tmp_path: Path
) -> None:
    def look(connection: Connection) -> tuple[list[Any], list[str]]:
        options = {"version_table": REQUEST_LOG.version_table}
        found = list(compare_metadata(MigrationContext.configure(connection, opts=options), log_metadata))
        command.downgrade(migration_config(connection, REQUEST_LOG), "base")
        return found, inspect(connection).get_table_names()

    database = Database(locate_log(locate_database(database_url, tmp_path), tmp_path), REQUEST_LOG)
    await database.open()
    async with database.writing.begin() as connection:
        assert await connection.run_sync(look) == ([], [REQUEST_LOG.version_table])
    await database.open()
    await database.close()


async def test_opening_again_changes_nothing(database: Database) -> None:
    async with database.writing.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = version_num"))
    await database.open()
    async with database.reading.connect() as connection:
        assert (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalars().all() == ["0011"]


@pytest.mark.parametrize("chain", [CONFIGURATION, REQUEST_LOG])
async def test_the_newest_migration_is_known_by_its_file(chain: Chain, database: Database) -> None:
    """Alembic, which reads all of them, is asked only where a database is not at this one."""
    async with database.reading.connect() as connection:
        config = await connection.run_sync(migration_config, chain)
    assert ScriptDirectory.from_config(config).get_heads() == [chain.newest()]


async def test_a_database_that_is_up_to_date_is_opened_without_alembic(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "alembic", None)  # as if it were not there
    await database.open()
    async with database.writing.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    with pytest.raises(ImportError):
        await database.open()


async def test_the_way_back_leaves_nothing(database: Database) -> None:
    def go_back(connection: Connection) -> list[str]:
        command.downgrade(migration_config(connection), "base")
        return inspect(connection).get_table_names()

    async with database.writing.begin() as connection:
        assert await connection.run_sync(go_back) == ["alembic_version"]
    await database.open()


async def test_gateways_that_start_at_once(database_url: str, tmp_path: Path) -> None:
    every = [Database(locate_database(database_url, tmp_path)) for _ in range(8)]
    await asyncio.gather(*(database.open() for database in every))
    for database in every:
        assert await Repository(database).is_empty()
        await database.close()


async def test_a_start_waits_for_who_holds_the_file(tmp_path: Path) -> None:
    """As another gateway does for a moment while it switches the file to WAL mode."""
    with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as holder:
        holder.execute("CREATE TABLE a (b)")
        holder.execute("BEGIN IMMEDIATE")
        database = Database(locate_database(f"sqlite:///{tmp_path}/a.db", tmp_path))
        opening = asyncio.ensure_future(database.open())
        done, _ = await asyncio.wait([opening], timeout=0.3)
        assert not done
        holder.execute("COMMIT")
        await opening
    await database.close()


async def test_a_database_of_a_newer_version_is_left_alone(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    async with database.writing.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StartupError, match=r"^DATABASE_URL .*a newer MicroGateway .*9999") as caught:
        await Database(locate_database(database_url, tmp_path)).open()
    assert len(str(caught.value).splitlines()) == 1


async def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.db") as other:
        other.execute("CREATE TABLE api_keys (a INTEGER)")  # the last table that the first migration makes
    other.close()
    database = Database(locate_database(f"sqlite:///{tmp_path}/a.db", tmp_path))
    with pytest.raises(StartupError, match="api_keys already exists"):
        await database.open()
    await database.close()
    with sqlite3.connect(tmp_path / "a.db") as other:
        tables = other.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    other.close()
    assert tables == [("api_keys",)]
