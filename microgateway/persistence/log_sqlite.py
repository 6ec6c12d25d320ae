"""The request log in a SQLite file."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count

from microgateway.persistence.log_store import ZONES_AT_A_TIME, LogStoreError, Retention
from microgateway.persistence.log_zones import COLUMNS, ZONE_COLUMNS, Row, Zone

BUSY_TIMEOUT = 5.0  # seconds that a write waits for another process's
CHECKPOINT_AFTER = 4_000  # pages
MOST_FREE_PAGES = 1_024  # pages that wait to be used again; a file with more, and more than a tenth, shrinks
PAGES_AT_A_TIME = 1_000

_INSERT = f"INSERT INTO request_log (id, {', '.join(COLUMNS)}) VALUES ({', '.join('?' * (len(COLUMNS) + 1))})"
_ZONE = f"REPLACE INTO request_log_zones ({', '.join(ZONE_COLUMNS)}) VALUES ({', '.join('?' * len(ZONE_COLUMNS))})"
_OLDEST = "SELECT first_id, last_id, row_count, latest FROM request_log_zones ORDER BY first_id LIMIT ?"
_STRADDLING = "SELECT first_id, last_id FROM request_log_zones WHERE earliest < ? AND latest >= ?"
_RECOUNT = (
    "UPDATE request_log_zones SET row_count = (SELECT count(*) FROM request_log WHERE id BETWEEN ? AND ?) "
    "WHERE first_id = ?"
)


class SqliteLogStore:
    """See `LogStore`. Others may write to the file too: another gateway, or an earlier one's writer that still ends."""

    def __init__(self, path: str) -> None:
        self._zone: Zone | None = None
        self._last_id = 0
        with _translated():
            self._connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_AFTER}")

    def append(self, rows: Sequence[Row]) -> None:
        with self._transaction() as connection:
            (newest,) = connection.execute("SELECT max(id) FROM request_log").fetchone()
            next_id = max(newest or 0, self._last_id) + 1
            zone = self._zone
            written = 0
            while written < len(rows):
                if zone is None or zone.next_id != next_id or not zone.room:
                    zone = Zone(next_id)
                some = rows[written : written + zone.room]
                connection.executemany(
                    _INSERT, ((number, *row) for number, row in zip(count(next_id), some, strict=False))
                )
                zone.add(some)
                connection.execute(_ZONE, zone.row())
                written += len(some)
                next_id += len(some)
        self._zone, self._last_id = zone, next_id - 1

    def retain(self, keep: Retention, now: float) -> bool:
        deleted = 0
        with self._transaction() as connection:
            (total,) = connection.execute("SELECT sum(row_count) FROM request_log_zones").fetchone()
            for first_id, last_id, row_count, latest in connection.execute(_OLDEST, (ZONES_AT_A_TIME,)).fetchall():
                if not keep.is_over(total, latest, now):
                    break
                self._delete_zone(first_id, last_id)
                total -= row_count
                deleted += 1
        return self._shrink() or deleted == ZONES_AT_A_TIME

    def clear(self, before: float | None) -> None:
        with self._transaction() as connection:
            self._forget_zone()
            if before is None:
                connection.execute("DELETE FROM request_log")
                connection.execute("DELETE FROM request_log_zones")
                return
            connection.execute("DELETE FROM request_log WHERE timestamp < ?", (before,))
            connection.execute("DELETE FROM request_log_zones WHERE latest < ?", (before,))
            for first_id, last_id in connection.execute(_STRADDLING, (before, before)).fetchall():
                connection.execute(_RECOUNT, (first_id, last_id, first_id))

    def close(self) -> None:
        self._connection.close()

    def _delete_zone(self, first_id: int, last_id: int) -> None:
        if self._zone is not None and self._zone.first_id == first_id:
            self._forget_zone()
        self._connection.execute("DELETE FROM request_log WHERE id BETWEEN ? AND ?", (first_id, last_id))
        self._connection.execute("DELETE FROM request_log_zones WHERE first_id = ?", (first_id,))

    def _forget_zone(self) -> None:
        """The next row begins another. What the database has of this one stays right, since it is as it was written."""
        self._zone = None

    def _shrink(self) -> bool:
        """Gives some free pages back to the file system, where there are many. Says whether there were."""
        with _translated():
            (free,) = self._connection.execute("PRAGMA freelist_count").fetchone()
            (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
            if free <= max(MOST_FREE_PAGES, pages // 10):
                return False
            self._connection.execute(f"PRAGMA incremental_vacuum({PAGES_AT_A_TIME})").fetchall()
            return True

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _translated():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                self._forget_zone()
                with suppress(sqlite3.Error):  # a full disk has rolled it back already
                    self._connection.execute("ROLLBACK")
                raise


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise LogStoreError(f"the request log can't be written: {error}") from error
