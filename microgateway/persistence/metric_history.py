"""The traffic of every minute, over restarts: counts and histograms of everything, and of each service.

A minute may have several rows: one for each process that saw a part of it. They are added up by who reads them.
"""

from collections.abc import AsyncIterator, Iterable
from dataclasses import asdict, dataclass

from sqlalchemy import delete, insert, select

from microgateway.persistence.database import Database, translated_errors
from microgateway.persistence.tables import metric_minutes

READ_AT_ONCE = 1_000  # rows


@dataclass(frozen=True, slots=True)
class MinuteRow:
    """One minute of one service, or of everything, whose id is empty. `minute`: its first second, since the epoch."""

    minute: int
    service_id: str
    name: str
    counts: bytes
    durations: bytes
    upstream: bytes
    overhead: bytes


class MetricHistory:
    """The table. Methods raise `DatabaseUnavailableError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, rows: Iterable[MinuteRow], *, forget_before: int) -> None:
        """Adds these, and deletes what is older than this second."""
        values = [asdict(row) for row in rows]
        with translated_errors():
            async with self._database.writing.begin() as connection:
                if values:
                    await connection.execute(insert(metric_minutes), values)
                await connection.execute(delete(metric_minutes).where(metric_minutes.c.minute < forget_before))

    async def since(self, minute: int) -> AsyncIterator[MinuteRow]:
        """The rows of this minute and later ones, the oldest first."""
        columns = [metric_minutes.c[name] for name in MinuteRow.__slots__]
        query = select(*columns).where(metric_minutes.c.minute >= minute)
        with translated_errors():
            async with self._database.reading.connect() as connection:
                found = await connection.stream(
                    query.order_by(metric_minutes.c.minute), execution_options={"yield_per": READ_AT_ONCE}
                )
                async for row in found:
                    yield MinuteRow(*row)
