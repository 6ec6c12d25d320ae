"""Opening a database, and the one line that is said when it can't be opened."""

import asyncio
import socket
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url, text

from microgateway.errors import StartupError
from microgateway.persistence.data_folder import prepare_data_folder
from microgateway.persistence.database import Database, DatabaseUnavailableError, locate_database
from microgateway.persistence.repository import Repository

PASSWORD = "h3rzblut"


async def refusal(url: str | None, folder: Path) -> str:
    """What is said of this URL; one line, which names the variable and not the password."""
    with pytest.raises(StartupError) as caught:
        await Database(locate_database(url, folder)).open()
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert PASSWORD not in message
    return message


class TestLocating:
    @pytest.mark.parametrize(
        ("configured", "expected"),
        [
            ("sqlite:///a.db", "sqlite+aiosqlite:///a.db"),
            ("sqlite:////var/lib/a.db", "sqlite+aiosqlite:////var/lib/a.db"),
            ("sqlite+aiosqlite:///a.db", "sqlite+aiosqlite:///a.db"),
            ("postgres://u:p@db/x", "postgresql+asyncpg://u:p@db/x"),
            ("postgresql://u:p@db:5433/x", "postgresql+asyncpg://u:p@db:5433/x"),
            ("postgresql+asyncpg://u@db/x", "postgresql+asyncpg://u@db/x"),
            ("postgresql://u@db/x?sslmode=require", "postgresql+asyncpg://u@db/x?ssl=require"),
        ],
    )
    def test_a_plain_url_gets_its_async_driver(self, configured: str, expected: str, tmp_path: Path) -> None:
        url = locate_database(configured, tmp_path)
        assert url.render_as_string(hide_password=False) == expected

    def test_without_one_it_is_a_file_in_the_data_folder(self, tmp_path: Path) -> None:
        folder = tmp_path / "a" / "data"
        url = locate_database(None, folder)
        assert (url.drivername, url.database) == ("sqlite+aiosqlite", str(folder / "microgateway.db"))
        assert folder.stat().st_mode & 0o777 == 0o700

    def test_a_folder_name_with_odd_characters(self, tmp_path: Path) -> None:
        async def open_and_close() -> None:
            database = Database(locate_database(None, tmp_path / "50% of a?b#c d"))
            await database.open()
            await database.close()

        asyncio.run(open_and_close())
        assert (tmp_path / "50% of a?b#c d" / "microgateway.db").is_file()


class TestSqlite:
    async def test_it_is_set_up_for_one_writer_and_many_readers(self, folder: Path) -> None:
        database = Database(locate_database(None, folder))
        await database.open()
        async with database.reading.connect() as connection:
            values = [
                (await connection.execute(text(f"PRAGMA {name}"))).scalar_one()
                for name in ("journal_mode", "foreign_keys", "busy_timeout")
            ]
        await database.close()
        assert values == ["wal", 1, 5_000]

    async def test_a_write_waits_for_another_process_s(self, folder: Path) -> None:
        database = Database(locate_database(None, folder))
        await database.open()
        other = sqlite3.connect(folder / "microgateway.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")

        async def write() -> None:
            async with database.writing.begin() as connection:
                await connection.execute(text("DELETE FROM routes"))

        writing = asyncio.create_task(write())
        done, _ = await asyncio.wait({writing}, timeout=0.3)
        assert not done
        assert await Repository(database).is_empty()  # reading goes on meanwhile
        other.execute("COMMIT")
        other.close()
        await writing
        await database.close()


class TestGoneWhileRunning:
    async def test_a_file_that_breaks(self, folder: Path) -> None:
        database = Database(locate_database(None, folder))
        await database.open()
        await database.ping()
        await database.close()  # its pool opens the file anew
        (folder / "microgateway.db").write_bytes(b"no database any more" * 1_000)
        with pytest.raises(DatabaseUnavailableError, match="The database does not answer"):
            await database.ping()
        with pytest.raises(DatabaseUnavailableError):
            await Repository(database).is_empty()

    async def test_a_server_that_loses_the_database(self, postgres: Any, postgres_url: str, tmp_path: Path) -> None:
        database = Database(locate_database(postgres_url, tmp_path))
        await database.open()
        await database.ping()
        name = make_url(postgres_url).database
        postgres.psql(f"drop database {name} with (force)")
        with pytest.raises(DatabaseUnavailableError):
            await Repository(database).is_empty()
        postgres.psql(f"create database {name}")
        await database.ping()  # lost connections are replaced
        await database.close()


class TestRefusals:
    @pytest.mark.parametrize(
        "url",
        [
            "",
            "nonsense",
            f"user:{PASSWORD}@host/name",
            f"postgresql:user:{PASSWORD}",
            f"postgresql://u:{PASSWORD}@h:port/x",
        ],
    )
    async def test_no_url_at_all(self, url: str, tmp_path: Path) -> None:
        assert "DATABASE_URL is not a URL" in await refusal(url, tmp_path)

    @pytest.mark.parametrize("scheme", ["mysql", "mysql+aiomysql", "postgresql+psycopg", "redis", "https"])
    async def test_a_database_that_we_do_not_speak_to(self, scheme: str, tmp_path: Path) -> None:
        message = await refusal(f"{scheme}://user:{PASSWORD}@host/name", tmp_path)
        assert message.startswith("DATABASE_URL: ")
        assert repr(scheme) in message

    async def test_a_driver_that_is_not_installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "asyncpg", None)  # as if it were not there
        message = await refusal(f"postgresql://user:{PASSWORD}@127.0.0.1/name", tmp_path)
        assert message.startswith("DATABASE_URL asks for postgresql")
        assert message.endswith("pip install asyncpg")

    async def test_a_server_that_is_not_there(self, tmp_path: Path) -> None:
        pytest.importorskip("asyncpg")
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers, and nobody else can begin to
            message = await refusal(
                f"postgresql://user:{PASSWORD}@127.0.0.1:{reserved.getsockname()[1]}/name", tmp_path
            )
        assert message.startswith("DATABASE_URL (postgresql+asyncpg://user:***@127.0.0.1:")

    async def test_an_option_that_the_driver_does_not_know(self, tmp_path: Path) -> None:
        pytest.importorskip("asyncpg")
        message = await refusal(f"postgresql://user:{PASSWORD}@127.0.0.1/name?colour={PASSWORD}", tmp_path)
        assert "colour" in message

    async def test_a_database_that_the_server_does_not_have(self, tmp_path: Path, postgres_url: str) -> None:
        message = await refusal(postgres_url.replace("/test_", "/no_"), tmp_path)
        assert message.startswith("DATABASE_URL (postgresql+asyncpg://")
        assert "does not exist" in message

    async def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        message = await refusal(f"sqlite:///{tmp_path}/nowhere/a.db", tmp_path)
        assert message.startswith("DATABASE_URL (sqlite")
        assert message.endswith("unable to open database file")

    async def test_a_file_that_is_a_folder(self, tmp_path: Path) -> None:
        assert "unable to open database file" in await refusal(f"sqlite:///{tmp_path}", tmp_path)

    async def test_a_file_that_is_no_database(self, tmp_path: Path) -> None:
        (tmp_path / "a.db").write_text("shopping list: " * 1_000)
        assert "file is not a database" in await refusal(f"sqlite:///{tmp_path}/a.db", tmp_path)

    async def test_a_database_of_somebody_else(self, tmp_path: Path) -> None:
        with sqlite3.connect(tmp_path / "a.db") as other:
            other.execute("CREATE TABLE services (a INTEGER)")
        other.close()
        assert "table services already exists" in await refusal(f"sqlite:///{tmp_path}/a.db", tmp_path)

    async def test_a_data_folder_that_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "data").write_text("")
        message = await refusal(None, tmp_path / "data")
        assert message.startswith("MICROGATEWAY_DATA_DIR: ")
        message = await refusal(None, tmp_path / "data" / "below")
        assert message.startswith("MICROGATEWAY_DATA_DIR: ")

    def test_a_data_folder_that_may_not_be_used(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The tests may run as root, whom no mode keeps out, so the system's answer is given here."""
        monkeypatch.setattr("os.access", lambda path, mode: False)
        with pytest.raises(StartupError, match=r"^MICROGATEWAY_DATA_DIR: .* can't be read and written$"):
            prepare_data_folder(tmp_path)
