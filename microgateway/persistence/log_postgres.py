"""The request log in PostgreSQL, which several gateways may share: each takes blocks of ids, and a zone is one block.

The writer has no event loop; this store runs one for the length of each call.
"""

import asyncio
import importlib
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Any, TypeVar

from microgateway.persistence.log_store import ZONES_AT_A_TIME, LogStoreError, Retention
from microgateway.persistence.log_zones import COLUMNS, ROWS_PER_ZONE, ZONE_COLUMNS, Row, Zone

CONNECT_TIMEOUT = 10.0  # seconds
COMMAND_TIMEOUT = 60.0
LONGEST_BLOCK = 10.0  # seconds for which a block takes rows, so that the ids of several gateways stay in order of time

_ZONE = (
    f"INSERT INTO request_log_zones ({', '.join(ZONE_COLUMNS)}) "
    f"VALUES ({', '.join(f'${place + 1}' for place in range(len(ZONE_COLUMNS)))}) ON CONFLICT (first_id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in ZONE_COLUMNS[1:])
)
_OLDEST = (
    "SELECT first_id, last_id, row_count, latest FROM request_log_zones ORDER BY first_id LIMIT $1 "
    "FOR UPDATE SKIP LOCKED"
)
_RECOUNT = (
    "UPDATE request_log_zones SET row_count = (SELECT count(*) FROM request_log WHERE id BETWEEN first_id AND last_id) "
    "WHERE earliest < $1 AND latest >= $1"
)

T = TypeVar("T")


class PostgresLogStore:
    """See `LogStore`. Connects at the first call, and again after a failure."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._asyncpg: Any = importlib.import_module("asyncpg")
        self._runner = asyncio.Runner()
        self._connection: Any = None
        self._zone: Zone | None = None
        self._zone_ends = 0.0

    def append(self, rows: Sequence[Row]) -> None:
        self._run(lambda connection: self._append(connection, rows))

    def retain(self, keep: Retention, now: float) -> bool:
        return self._run(lambda connection: self._retain(connection, keep, now))

    def clear(self, before: float | None) -> None:
        self._run(lambda connection: self._clear(connection, before))

    def close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.terminate()
        self._runner.close()

    async def _append(self, connection: Any, rows: Sequence[Row]) -> None:
        zone = self._zone if time.monotonic() < self._zone_ends else None
        written = 0
        while written < len(rows):
            if zone is None or not zone.room:
                zone = await self._begin_zone(connection)
            some = rows[written : written + zone.room]
            records = [(number, *row) for number, row in zip(count(zone.next_id), some, strict=False)]
            await connection.copy_records_to_table("request_log", records=records, columns=("id", *COLUMNS))
            zone.add(some)
            await connection.execute(_ZONE, *zone.row())
            written += len(some)
        self._zone = zone

    async def _begin_zone(self, connection: Any) -> Zone:
        block: int = await connection.fetchval("SELECT nextval('request_log_blocks')")
        self._zone_ends = time.monotonic() + LONGEST_BLOCK
        return Zone(block * ROWS_PER_ZONE)

    async def _retain(self, connection: Any, keep: Retention, now: float) -> bool:
        total = await connection.fetchval("SELECT coalesce(sum(row_count), 0) FROM request_log_zones")
        deleted = 0
        for first_id, last_id, row_count, latest in await connection.fetch(_OLDEST, ZONES_AT_A_TIME):
            if not keep.is_over(total, latest, now):
                break
            if self._zone is not None and self._zone.first_id == first_id:
                self._zone = None
            await connection.execute("DELETE FROM request_log WHERE id BETWEEN $1 AND $2", first_id, last_id)
            await connection.execute("DELETE FROM request_log_zones WHERE first_id = $1", first_id)
            total -= row_count
            deleted += 1
        return deleted == ZONES_AT_A_TIME

    async def _clear(self, connection: Any, before: float | None) -> None:
        self._zone = None
        if before is None:
            await connection.execute("DELETE FROM request_log")
            await connection.execute("DELETE FROM request_log_zones")
            return
        await connection.execute("DELETE FROM request_log WHERE timestamp < $1", before)
        await connection.execute("DELETE FROM request_log_zones WHERE latest < $1", before)
        await connection.execute(_RECOUNT, before)

    def _run(self, what: Callable[[Any], Awaitable[T]]) -> T:
        """One transaction. After a failure nothing is believed of the connection or of the zone."""
        try:
            return self._runner.run(self._transaction(what))
        except (self._asyncpg.PostgresError, self._asyncpg.InterfaceError, OSError, TimeoutError) as error:
            self._zone = None
            if self._connection is not None:
                self._connection.terminate()
                self._connection = None
            raise LogStoreError(f"the request log can't be written: {type(error).__name__}: {error}") from error

    async def _transaction(self, what: Callable[[Any], Awaitable[T]]) -> T:
        if self._connection is None:
            self._connection = await self._asyncpg.connect(
                self._dsn, timeout=CONNECT_TIMEOUT, command_timeout=COMMAND_TIMEOUT
            )
        async with self._connection.transaction():
            return await what(self._connection)
