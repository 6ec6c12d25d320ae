"""Reads the request log forward, in the order in which requests ended, as tuples: for who goes through all of it."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

from sqlalchemy import text

from microgateway.persistence.database import Database, translated_errors

ROWS_PER_PIECE = 512


class LoggedRequest(NamedTuple):
    """What is needed of one row to judge it again; the names are the log's."""

    id: int
    timestamp: float
    client_ip: str
    path: str
    query: str
    method: str
    status: int
    service_id: str | None
    route_id: str | None
    route: str | None
    key_id: str | None
    key: str | None
    latency_ms: float
    upstream_ms: float | None
    stage: str
    code: str
    breaker: str | None
    upstream_status: int | None
    configuration_version: int | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "LoggedRequest":
        """The same of a row that was read by names."""
        return cls(**{name: row[name] for name in cls._fields})


_SELECTED = ", ".join(f'"{name}"' for name in LoggedRequest._fields)
_ROWS = (
    f"SELECT {_SELECTED} FROM request_log WHERE id > :after AND id <= :last "
    "AND timestamp >= :since AND timestamp < :until ORDER BY id LIMIT :most"
)
_SPAN = (
    "SELECT min(first_id), max(last_id), coalesce(sum(row_count), 0) FROM request_log_zones "
    "WHERE latest >= :since AND earliest < :until"
)


class LogStream:
    """The rows of a period. Methods raise `DatabaseUnavailableError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count(self, since: float, until: float) -> int:
        """About how many rows there are, never too few."""
        return int((await self._read(_SPAN, since=since, until=until))[0][2])

    async def pieces(self, since: float, until: float) -> AsyncIterator[list[LoggedRequest]]:
        """All rows, some at a time. Each piece is read by itself, so a slow reader holds nothing open."""
        ((first, last, _),) = await self._read(_SPAN, since=since, until=until)
        after = None if first is None else first - 1
        while after is not None:
            found = await self._read(_ROWS, after=after, last=last, since=since, until=until, most=ROWS_PER_PIECE)
            rows = [LoggedRequest._make(row) for row in found]
            if rows:
                yield rows
            after = rows[-1].id if len(rows) == ROWS_PER_PIECE else None

    async def _read(self, sql: str, **values: float) -> list[Any]:
        with translated_errors():
            async with self._database.reading.connect() as connection:
                return list(await connection.execute(text(sql), values))
