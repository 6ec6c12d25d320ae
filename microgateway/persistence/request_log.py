"""Reads the request log: pages, the newest first, from a million rows in a bounded time.

A search goes back through the zones that may hold what it looks for, some at a time, and stops when its page is full or
its time is up. A page that is not full by then says so, and its cursor goes on from where the search has come to.
"""

import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

from microgateway.errors import NotFoundError
from microgateway.persistence.database import Database, translated_errors
from microgateway.persistence.log_filter import Conditions, LogFilter, conditions
from microgateway.persistence.log_stream import LogStream
from microgateway.persistence.log_zones import COLUMNS

T = TypeVar("T")
LogRow = dict[str, Any]
ZoneSpan = tuple[int, int]  # the first id and the last

ZONES_AT_A_TIME = 64  # that are looked for
MOST_AT_ONCE = 16  # that are read: some 8 000 rows, a few thousandths of a second
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

    def forward(self) -> LogStream:
        """The same log, for who goes through all of it."""
        return LogStream(self._database)

    async def _read(self, ask: "Callable[[_Search], T]") -> T:
        async with self._connection() as connection:
            return await connection.run_sync(lambda sync: ask(_Search(sync, self._now)))

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        with translated_errors():
            async with self._database.reading.connect() as connection:
                yield connection


class _Zones:
    """The zones below an id that may hold what is looked for, newest first; found as far as somebody asks for them."""

    def __init__(self, connection: Connection, where: Conditions, below: int) -> None:
        self._connection = connection
        self._where = where
        self._below: int | None = below
        self._found: list[ZoneSpan] = []

    def some(self, start: int, count: int) -> list[ZoneSpan]:
        """So many from this place on, fewer at the end. An id before which nothing is looked for cuts the first."""
        while len(self._found) < start + count and self._below is not None:
            self._find_more(self._below)
        return self._found[start : start + count]

    def _find_more(self, below: int) -> None:
        sql = (
            f"SELECT z.first_id, z.last_id FROM request_log_zones AS z WHERE z.first_id < :below{self._where.zones} "
            f"ORDER BY z.first_id DESC LIMIT {ZONES_AT_A_TIME}"
        )
        rows = self._connection.execute(text(sql), {**self._where.values, "below": below}).all()
        self._found += [(first_id, min(last_id, below - 1)) for first_id, last_id in rows]
        self._below = rows[-1].first_id if len(rows) == ZONES_AT_A_TIME else None


class _Search:
    """One reading of the log on one connection."""

    def __init__(self, connection: Connection, now: Callable[[], float]) -> None:
        self._connection = connection
        self._now = now

    def page(self, wanted: LogFilter, size: int, before: int, offset: int) -> LogPage:
        where = self._conditions(wanted)
        zones = _Zones(self._connection, where, NEWEST)
        total, is_exact = self._count_all() if wanted.is_empty else self._count(where, zones)
        give_up_at = self._now() + (LONGEST_SKIP if offset else LONGEST_SEARCH)
        if offset and wanted.is_empty and before == NEWEST:
            before, offset = self._place_of(offset)
        if before != NEWEST:
            zones = _Zones(self._connection, where, before)
        rows, reached = self._collect(where, zones, size + 1, offset, give_up_at)
        if len(rows) > size:
            return LogPage(rows[:size], total, is_exact, rows[size - 1]["id"], is_complete=True)
        return LogPage(rows, total, is_exact, reached, is_complete=reached is None)

    def one(self, row_id: str) -> LogRow | None:
        if row_id.isascii() and row_id.isdecimal() and len(row_id) < len(str(NEWEST)):
            sql = f"SELECT {_SELECTED} FROM request_log AS r WHERE r.id = :id"
            found = self._connection.execute(text(sql), {"id": int(row_id)}).first()
            if found is not None:
                return _as_row(found)
        where = self._conditions(LogFilter(request_id=row_id))
        rows, _ = self._collect(where, _Zones(self._connection, where, NEWEST), 1, 0, float("inf"))
        return rows[0] if rows else None

    def piece(self, wanted: LogFilter, before: int) -> tuple[list[LogRow], int | None]:
        """Some rows, and where to go on, None at the end."""
        where = self._conditions(wanted)
        give_up_at = self._now() + LONGEST_SEARCH
        zones = _Zones(self._connection, where, before)
        rows, reached = self._collect(where, zones, ROWS_PER_PIECE, 0, give_up_at)
        return rows, rows[-1]["id"] if len(rows) == ROWS_PER_PIECE else reached

    def _collect(
        self, where: Conditions, zones: _Zones, wanted: int, offset: int, give_up_at: float
    ) -> tuple[list[LogRow], int | None]:
        """At most `wanted` rows. Where it gave up: the id that everything not yet seen is below; None at the end."""
        rows: list[LogRow] = []
        start, count = 0, 1  # what is common fills its page from one zone
        while spans := zones.some(start, count):
            if offset and (found := self._count_in(where, spans)) <= offset:
                offset -= found
            else:
                rows += self._rows(where, spans, wanted - len(rows) + offset)[offset:]
                offset = 0
            if len(rows) == wanted:
                break
            start, count = start + count, min(2 * count, MOST_AT_ONCE)
            if self._now() >= give_up_at:
                return rows, spans[-1][0]
        return rows, None

    def _rows(self, where: Conditions, spans: Sequence[ZoneSpan], limit: int) -> list[LogRow]:
        """The newest of these zones. Each part ends by itself when it has enough, so little is read in vain."""
        newest, end = f"SELECT {_SELECTED} FROM request_log AS r", f"ORDER BY r.id DESC LIMIT {limit}"
        parts = (
            f"SELECT * FROM ({newest} WHERE r.id BETWEEN {first} AND {last}{where.rows} {end}) AS z{first}"
            for first, last in spans
        )
        rows = self._connection.execute(text(" UNION ALL ".join(parts)), where.values)
        return sorted(map(_as_row, rows), key=_id, reverse=True)[:limit]

    def _count_in(self, where: Conditions, spans: Sequence[ZoneSpan]) -> int:
        parts = (
            f"(SELECT count(*) FROM request_log AS r WHERE r.id BETWEEN {first} AND {last}{where.rows})"
            for first, last in spans
        )
        return int(self._connection.execute(text(f"SELECT {' + '.join(parts)}"), where.values).scalar_one())

    def _count(self, where: Conditions, zones: _Zones) -> tuple[int, bool]:
        """How many match, as far as that can be counted soon; and whether that is all of them."""
        give_up_at = self._now() + LONGEST_COUNT
        total = start = 0
        while spans := zones.some(start, MOST_AT_ONCE):
            if start and self._now() >= give_up_at:
                return total, False
            total += self._count_in(where, spans)
            if total > MOST_COUNTED:
                return MOST_COUNTED, False
            start += len(spans)
        return total, True

    def _count_all(self) -> tuple[int, bool]:
        sql = "SELECT coalesce(sum(row_count), 0) FROM request_log_zones"
        return int(self._connection.execute(text(sql)).scalar_one()), True

    def _place_of(self, offset: int) -> tuple[int, int]:
        """The zone in which the row at this place is: the id that it is below, and how many more to pass over."""
        found = self._connection.execute(text(_FIND_PLACE), {"offset": offset}).first()
        return (0, 0) if found is None else (found.last_id + 1, offset - int(found.skipped))

    def _conditions(self, wanted: LogFilter) -> Conditions:
        return conditions(wanted, self._connection.dialect.name)


def _id(row: LogRow) -> int:
    return int(row["id"])


def _as_row(values: Any) -> LogRow:
    row: LogRow = dict(values._mapping)  # noqa: SLF001  SQLAlchemy's public name for it
    for name in _FLAGS:
        row[name] = bool(row[name])
    for name in _LISTS:
        row[name] = json.loads(row[name]) if row[name] else []
    return row
