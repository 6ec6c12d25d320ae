"""Where the writer puts the request log: SQLite or PostgreSQL, by one interface.

Standard library only until one is opened: the writer starts fast.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from microgateway.errors import MicroGatewayError
from microgateway.persistence.log_zones import Row

ZONES_AT_A_TIME = 16  # how many zones one call of `retain` deletes at most: some 8 000 rows


class LogStoreError(MicroGatewayError):
    """The log's database did not do what it was asked, and nothing of it. It may be asked again."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How much of the log is kept: seconds and rows; 0 is no bound."""

    seconds: float = 0.0
    rows: int = 0

    def is_over(self, total: int, latest: float, now: float) -> bool:
        """Whether the oldest of `total` rows go, the last of which is of `latest`; `now` is seconds since the epoch."""
        return (0 < self.rows < total) or (self.seconds > 0 and latest < now - self.seconds)


class LogStore(Protocol):
    """The log as its writer sees it. Each call is a transaction, whole or not at all; it may raise `LogStoreError`."""

    def append(self, rows: Sequence[Row]) -> None:
        """Writes these, and what their zones say."""
        ...

    def retain(self, keep: Retention, now: float) -> bool:
        """Deletes some of what is too old or too much. Says whether there may be more to do."""
        ...

    def clear(self, before: float | None) -> None:
        """Deletes what is of before this moment, or everything."""
        ...

    def close(self) -> None: ...


def open_store(url: str) -> LogStore:
    """`sqlite:` and a path, or a PostgreSQL URL as its driver takes it. Raises `LogStoreError`."""
    kind, _, rest = url.partition(":")
    if kind == "sqlite":
        from microgateway.persistence.log_sqlite import SqliteLogStore

        return SqliteLogStore(rest)
    from microgateway.persistence.log_postgres import PostgresLogStore

    return PostgresLogStore(url)
