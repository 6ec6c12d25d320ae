"""The database: where it is, how it is opened, and what is said when that fails.

A `Database` is made without any I/O, so that what needs one can be put together before an event loop runs; `open`
connects and migrates. Every error here becomes one line that names DATABASE_URL and never shows its password.
"""

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from microgateway.errors import MicroGatewayError, StartupError
from microgateway.persistence.data_folder import prepare_data_folder
from microgateway.persistence.migration import CONFIGURATION, REQUEST_LOG, Chain, NewerDatabaseError, upgrade

SQLITE_FILE = "microgateway.db"
SQLITE_LOG_FILE = "microgateway-log.db"
BUSY_TIMEOUT = 5_000  # milliseconds that SQLite waits for another process's write
WAL_RETRY_INTERVAL = 0.01  # seconds
POSTGRES_TIMEOUTS = {"timeout": 10.0, "command_timeout": 60.0}  # seconds, to connect and for each statement
WRITES = "writes"  # an execution option: this transaction is going to write

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
_MISTAKES = (DataError, IntegrityError, NotSupportedError, ProgrammingError)
_REFUSALS = (
    SQLAlchemyError,
    sqlite3.Error,
    OSError,
    TimeoutError,
    TypeError,
    ValueError,
)  # TypeError: an option that no driver knows


class DatabaseUnavailableError(MicroGatewayError):
    """The database does not do what it is asked: away, locked, or its disk is full. What is in force stays in force."""


class Database:
    """An engine for one database. `reading` and `writing` share its connections; `chain` says which tables are its."""

    def __init__(self, url: URL, chain: Chain = CONFIGURATION) -> None:
        self._url = url
        self._chain = chain
        self.reading: AsyncEngine = _create_engine(url)
        self.writing: AsyncEngine = self.reading.execution_options(**{WRITES: True})

    async def open(self) -> None:
        """Connects, and brings the tables to this version. Raises `StartupError`, with nothing left open."""
        try:
            with _startup_errors(self._url):
                await asyncio.to_thread(_prepare_sqlite, self._url, shrinks=self._chain is REQUEST_LOG)
                async with self.writing.begin() as connection:
                    await connection.run_sync(upgrade, self._chain)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self.reading.dispose()

    async def ping(self) -> None:
        """Raises `DatabaseUnavailableError` when the database does not answer."""
        with translated_errors():
            async with self.reading.connect() as connection:
                await connection.execute(text("SELECT 1"))


def locate_database(configured: str | None, data_dir: Path) -> URL:
    """DATABASE_URL with its async driver, or a SQLite file in the data folder, which is then created."""
    if configured is None:
        prepare_data_folder(data_dir)
        return URL.create("sqlite+aiosqlite", database=str(data_dir / SQLITE_FILE))
    try:
        url = make_url(configured)
    except (ArgumentError, ValueError):  # its text may hold the password
        raise StartupError("DATABASE_URL is not a URL such as postgresql://user:password@host/name") from None
    driver = _DRIVERS.get(url.drivername)
    if driver is None:
        raise StartupError(f"DATABASE_URL: {url.drivername!r} databases are not supported; sqlite and postgresql are")
    return _with_asyncpg_options(url.set(drivername=driver))


def locate_log(database: URL, data_dir: Path) -> URL:
    """Where the request log of a gateway with this database is: on SQLite in a file beside it, otherwise within it.

    A SQLite database that is no plain file has its log in the data folder.
    """
    if database.get_backend_name() != "sqlite":
        return database
    if database.query or database.database in (None, "", ":memory:"):
        prepare_data_folder(data_dir)
        return URL.create("sqlite+aiosqlite", database=str(data_dir / SQLITE_LOG_FILE))
    file = Path(str(database.database))
    return database.set(database=str(file.with_name(f"{file.stem}-log{file.suffix}")))


def store_url(log: URL) -> str:
    """Where the log is, for `open_store`: a SQLite file, or PostgreSQL as asyncpg takes it, with the password."""
    if log.get_backend_name() == "sqlite":
        return f"sqlite:{log.database}"
    url = log.set(drivername="postgresql")
    mode = url.query.get("ssl")
    if mode is not None:
        url = url.difference_update_query(["ssl"]).update_query_dict({"sslmode": mode})
    return url.render_as_string(hide_password=False)


@contextmanager
def translated_errors() -> Iterator[None]:
    """What a driver raises when a database does not work, as one error of ours. Our own mistakes stay what they are."""
    try:
        yield
    except _MISTAKES:
        raise
    except (DBAPIError, PoolTimeoutError, OSError, TimeoutError) as error:
        raise DatabaseUnavailableError("The database does not answer; what is in force stays in force.") from error


def _with_asyncpg_options(url: URL) -> URL:
    """libpq's name for the TLS mode, which every provider's URLs carry, is `sslmode`; asyncpg's is `ssl`."""
    mode = url.query.get("sslmode")
    if mode is None or url.get_backend_name() != "postgresql":
        return url
    return url.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})


def _create_engine(url: URL) -> AsyncEngine:
    is_sqlite = url.get_backend_name() == "sqlite"
    options: dict[str, Any] = {} if is_sqlite else {"pool_pre_ping": True, "connect_args": dict(POSTGRES_TIMEOUTS)}
    try:
        engine = create_async_engine(url, hide_parameters=True, **options)
    except ModuleNotFoundError as error:
        raise StartupError(
            f"DATABASE_URL asks for {url.get_backend_name()}, and its driver is not installed: pip install {error.name}"
        ) from error
    if is_sqlite:
        event.listen(engine.sync_engine, "connect", _set_up_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_on_sqlite)
    return engine


def _prepare_sqlite(url: URL, *, shrinks: bool) -> None:
    """Opens the file once without the async driver, whose thread outlives a failure and then prints its own errors.

    The file is put into WAL mode here, where that can be tried again; a connection that finds it so only reads. A file
    that `shrinks` can give back the pages of deleted rows: that is said before there is anything in it, or never.
    """
    if url.get_backend_name() == "sqlite" and url.database and not url.query:
        with closing(sqlite3.connect(url.database)) as connection:
            connection.execute("PRAGMA schema_version")
            if shrinks:
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            _switch_to_wal(connection)


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Waits for another gateway that starts on the same file: SQLite's busy timeout does not apply to this change."""
    give_up_at = time.monotonic() + BUSY_TIMEOUT / 1_000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= give_up_at:
                raise
        time.sleep(WAL_RETRY_INTERVAL)


def _set_up_sqlite(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # the driver begins no transaction by itself: `_begin_on_sqlite` does
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA automatic_index = OFF")  # a search of the log is quicker by its zones
    cursor.close()


def _begin_on_sqlite(connection: Connection) -> None:
    """A transaction that is going to write takes the lock first: taken half-way, SQLite fails instead of waiting."""
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _startup_errors(url: URL) -> Iterator[None]:
    where = f"DATABASE_URL ({_shown(url)})"
    try:
        yield
    except NewerDatabaseError as error:
        raise StartupError(f"{where}: {error}") from error
    except DBAPIError as error:
        raise StartupError(f"{where}: {_one_line(error.orig or error, url)}") from error
    except _REFUSALS as error:
        raise StartupError(f"{where}: {_one_line(error, url)}") from error


def _shown(url: URL) -> str:
    """The URL as people may see it: without password and options, which may hold secrets too."""
    return url.set(query={}).render_as_string(hide_password=True)


def _one_line(error: BaseException, url: URL) -> str:
    message = " ".join(str(error).split()) or type(error).__name__
    if url.password:
        message = message.replace(str(url.password), "***")
    return message.split(" [SQL:")[0]
