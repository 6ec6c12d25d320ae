"""Reads the request log: pages, the newest first, from a million rows in a bounded time.

A search goes back through the zones that may hold what it looks for, some at a time, and stops when its page is full or
its time is up. A page that is not full by then says so, and its cursor goes on from where the search has come to.
"""

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

from microgateway.errors import NotFoundError
from microgateway.persistence.database import Database, translated_errors
from microgateway.persistence.log_filter import Conditions, LogFilter, conditions
from microgateway.persistence.log_zones import COLUMNS

T = TypeVar("T")
LogRow = dict[str, Any]

ZONES_AT_A_TIME = 48  # some 25 000 rows: a hundredth of a second or two
LONGEST_SEARCH = 0.06  # seconds for a page
LONGEST_SKIP = 1.0  # seconds for a page far back that is asked for by its number
LONGEST_COUNT = 0.02  # seconds for the number of all that match
MOST_COUNTED = 10_000
ROWS_PER_PIECE = 500  # of an export
NEWEST = 2**62  # above every id

_SELECTED = ", ".join(f'r."{name}"' for name in ("id", *COLUMNS))
_FLAGS = ("rate_limited", "circuit_open", "simulated")
_LISTS = ("attempts", "shadowed")
_FIND_PLACE = (
    "SELECT first_id, last_id, skipped FROM (SELECT first_id, last_id, row_count, "
    "sum(row_count) OVER (ORDER BY first_id DESC) - row_count AS skipped FROM request_log_zones) AS places "
    "WHERE skipped + row_count > :offset ORDER BY first_id DESC LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class LogPage:
    """`total` is a lower bound unless `total_is_exact`. `next_cursor` None: there is nothing older.

    `is_complete` false: the time was up before the page was full, and `next_cursor` goes on from there.
    """

    items: list[LogRow]
    total: int
    total_is_exact: bool
    next_cursor: int | None
    is_complete: bool


class RequestLog:
    """The log, for reading. Methods raise `DatabaseUnavailableError`."""

    def __init__(self, database: Database, *, now: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._now = now

    async def page(self, wanted: LogFilter, *, size: int, before: int | None = None, offset: int = 0) -> LogPage:
        """The newest `size` rows with ids below `before`, after passing over `offset` of them."""
        return await self._read(lambda search: search.page(wanted, size, NEWEST if before is None else before, offset))

    async def get(self, row_id: str) -> LogRow:
        """The row with this id, or the newest one with this request id. Raises `NotFoundError`."""
        row = await self._read(lambda search: search.one(row_id))
        if row is None:
            raise NotFoundError("row of the log", row_id)
        return row

    async def export(self, wanted: LogFilter) -> AsyncIterator[list[LogRow]]:
        """All that match, in pieces. Each piece is read by itself, so a slow reader holds nothing open."""
        before: int | None = NEWEST
        while before is not None:
            place = before
            rows, before = await self._read(lambda search, at=place: search.piece(wanted, at))  # type: ignore[misc]
            if rows:
                yield rows

    async def _read(self, ask: "Callable[[_Search], T]") -> T:
        async with self._connection() as connection:
            return await connection.run_sync(lambda sync: ask(_Search(sync, self._now)))

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        with translated_errors():
            async with self._database.reading.connect() as connection:
                yield connection


class _Search:
    """One reading of the log on one connection."""

    def __init__(self, connection: Connection, now: Callable[[], float]) -> None:
        self._connection = connection
        self._now = now

    def page(self, wanted: LogFilter, size: int, before: int, offset: int) -> LogPage:
        where = self._conditions(wanted)
        total, is_exact = self._count_all(where) if wanted.is_empty else self._count(where)
        give_up_at = self._now() + (LONGEST_SKIP if offset else LONGEST_SEARCH)
        if offset and wanted.is_empty and before == NEWEST:
            before, offset = self._place_of(offset)
        rows, reached = self._collect(where, size + 1, before, offset, give_up_at)
        if len(rows) > size:
            return LogPage(rows[:size], total, is_exact, rows[size - 1]["id"], is_complete=True)
        return LogPage(rows, total, is_exact, reached, is_complete=reached is None)

    def one(self, row_id: str) -> LogRow | None:
        if row_id.isascii() and row_id.isdecimal() and len(row_id) < len(str(NEWEST)):
            found = self._connection.execute(
                text(f"SELECT {_SELECTED} FROM request_log AS r WHERE r.id = :id"), {"id": int(row_id)}
            ).first()
            if found is not None:
                return _as_row(found)
        rows, _ = self._collect(self._conditions(LogFilter(request_id=row_id)), 1, NEWEST, 0, float("inf"))
        return rows[0] if rows else None

    def piece(self, wanted: LogFilter, before: int) -> tuple[list[LogRow], int | None]:
        """Some rows, and where to go on, None at the end."""
        rows, reached = self._collect(self._conditions(wanted), ROWS_PER_PIECE, before, 0, self._now() + LONGEST_SEARCH)
        return rows, rows[-1]["id"] if len(rows) == ROWS_PER_PIECE else reached

    def _collect(
        self, where: Conditions, wanted: int, before: int, offset: int, give_up_at: float
    ) -> tuple[list[LogRow], int | None]:
        """At most `wanted` rows. Where it gave up: the id that everything not yet seen is below; None at the end."""
        rows: list[LogRow] = []
        while (low := self._window(where, before)) is not None:
            if offset:
                found = self._count_window(where, before, low, offset)
                if found < offset:
                    offset -= found
                    before = low
                    if self._now() >= give_up_at:
                        return rows, before
                    continue
            rows += self._rows(where, before, low, wanted - len(rows), offset)
            if len(rows) == wanted:
                break
            before, offset = low, 0
            if self._now() >= give_up_at:
                return rows, before
        return rows, None

    def _window(self, where: Conditions, before: int) -> int | None:
        """The first id of the last of the next few zones that may hold something."""
        zones = f"SELECT z.first_id FROM request_log_zones AS z WHERE z.first_id < :before{where.zones}"
        newest = f"{zones} ORDER BY z.first_id DESC LIMIT {ZONES_AT_A_TIME}"
        low: int | None = self._scalar(f"SELECT min(first_id) FROM ({newest}) AS newest", where, before=before)
        return low

    def _rows(self, where: Conditions, before: int, low: int, limit: int, offset: int) -> list[LogRow]:
        sql = f"SELECT {_SELECTED}{_joined(where)} ORDER BY z.first_id DESC, r.id DESC LIMIT :limit OFFSET :offset"
        values = {**where.values, "before": before, "low": low, "limit": limit, "offset": offset}
        return [_as_row(row) for row in self._connection.execute(text(sql), values)]

    def _count_window(self, where: Conditions, before: int, low: int, most: int) -> int:
        sql = f"SELECT count(*) FROM (SELECT 1{_joined(where)} LIMIT :most) AS counted"
        return int(self._scalar(sql, where, before=before, low=low, most=most))

    def _count(self, where: Conditions) -> tuple[int, bool]:
        """How many match, as far as that can be counted soon; and whether that is all of them."""
        give_up_at = self._now() + LONGEST_COUNT
        total, before = 0, NEWEST
        while (low := self._window(where, before)) is not None:
            total += self._count_window(where, before, low, MOST_COUNTED + 1 - total)
            if total > MOST_COUNTED:
                return MOST_COUNTED, False
            before = low
            if self._now() >= give_up_at:
                return total, self._window(where, before) is None
        return total, True

    def _count_all(self, where: Conditions) -> tuple[int, bool]:
        return int(self._scalar("SELECT coalesce(sum(row_count), 0) FROM request_log_zones", where)), True

    def _place_of(self, offset: int) -> tuple[int, int]:
        """The zone in which the row at this place is: the id that it is below, and how many more to pass over."""
        found = self._connection.execute(text(_FIND_PLACE), {"offset": offset}).first()
        return (0, 0) if found is None else (found.last_id + 1, offset - int(found.skipped))

    def _scalar(self, sql: str, where: Conditions, **values: int) -> Any:
        used = {name: value for name, value in where.values.items() if f":{name}" in sql}
        return self._connection.execute(text(sql), used | values).scalar_one()

    def _conditions(self, wanted: LogFilter) -> Conditions:
        return conditions(wanted, self._connection.dialect.name)


def _joined(where: Conditions) -> str:
    """Zones outside, rows inside: CROSS JOIN keeps SQLite to that order."""
    return (
        " FROM request_log_zones AS z CROSS JOIN request_log AS r "
        "WHERE r.id BETWEEN z.first_id AND z.last_id AND z.first_id < :before AND z.first_id >= :low "
        f"AND r.id < :before{where.zones}{where.rows}"
    )


def _as_row(values: Any) -> LogRow:
    row: LogRow = dict(values._mapping)  # noqa: SLF001  SQLAlchemy's public name for it
    for name in _FLAGS:
        row[name] = bool(row[name])
    for name in _LISTS:
        row[name] = json.loads(row[name]) if row[name] else []
    return row
