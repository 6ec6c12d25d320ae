"""Has charts survive a restart: each minute that is over is written to the database, off the path of everything.

A database that is away is tried again with the next minute, for as long as the minutes are kept here: two hours. A
process that is killed loses the minute that it was in.
"""

import asyncio
import logging
from collections.abc import Collection, Iterator

from microgateway.background import start_task
from microgateway.core.rolling import LADDER, Closed, Rolling, Span, Tally
from microgateway.errors import StartupError
from microgateway.observability.metrics import ALL_HISTOGRAMS, COUNTS, MINUTE, Metrics, requests_of
from microgateway.persistence.database import DatabaseUnavailableError
from microgateway.persistence.metric_history import MetricHistory, MinuteRow

TEN_MINUTES = 600
KEPT_AS_MINUTES = 7_200  # seconds before now; what is older comes back in slots of ten minutes
KEPT = LADDER[-1].seconds * (LADDER[-1].slots - 1)  # seconds
LONGEST_LAST_WRITE = 3.0  # seconds, at the end
EVERYTHING = ""  # as a service's id


class History:
    """Reads what was, at the start, and writes what is."""

    def __init__(self, *, metrics: Metrics, store: MetricHistory) -> None:
        self._metrics = metrics
        self._store = store
        self._first_minute = 0
        self._written_until = 0  # the first second that is not written
        self._begun_before: dict[str, Tally] = {}  # of the minute of the start, what is written already
        self._writing: asyncio.Task[None] | None = None
        self._is_away = False

    async def load(self, now: float, service_ids: Collection[str]) -> None:
        """Takes over what was counted before, of these services. Raises `StartupError`."""
        self._first_minute = self._written_until = int(now) - int(now) % MINUTE
        long_ago = int(now) - KEPT_AS_MINUTES
        long_ago -= long_ago % TEN_MINUTES
        older: dict[tuple[int, str, str], Tally] = {}
        try:
            async for row in self._store.since(int(now) - KEPT):
                if row.service_id != EVERYTHING and row.service_id not in service_ids:
                    continue
                if row.minute < long_ago:
                    slot = (row.minute - row.minute % TEN_MINUTES, row.service_id, row.name)
                    _closed(row).add_to(older.setdefault(slot, Tally(COUNTS, ALL_HISTOGRAMS)))
                else:
                    self._restore(older)
                    self._restore_minute(row)
        except (DatabaseUnavailableError, ValueError) as error:
            raise StartupError(f"the history of the metrics can't be loaded: {error}") from error
        self._restore(older)

    def tick(self, now: float) -> None:
        """Writes the minutes that are over by now, if there are any that are not written."""
        if int(now) - self._written_until >= MINUTE and (self._writing is None or self._writing.done()):
            until = int(now) - int(now) % MINUTE
            self._writing = start_task(self._write(until, int(now)), "writing the history of the metrics")

    async def settle(self) -> None:
        """Returns when nothing is being written."""
        if self._writing is not None:
            await self._writing

    async def stop(self, now: float) -> None:
        """Writes what is left, and the part that there is of the minute that runs. Call it when all is counted."""
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=LONGEST_LAST_WRITE)
        until = int(now) - int(now) % MINUTE + MINUTE
        try:
            async with asyncio.timeout(LONGEST_LAST_WRITE):
                await self._write(until, int(now))
        except TimeoutError:
            self._note("the database does not answer in time")

    async def _write(self, until: int, now: int) -> None:
        rows = list(self._rows(until))
        try:
            await self._store.add(rows, forget_before=now - KEPT)
        except DatabaseUnavailableError as error:
            self._note(str(error))
        else:
            self._written_until = until
            self._is_away = False

    def _rows(self, until: int) -> Iterator[MinuteRow]:
        """What happened from the last minute that was written to this one, minute by minute."""
        first = max(self._written_until, until - KEPT_AS_MINUTES)
        every: list[tuple[str, str, Rolling]] = [(EVERYTHING, "", self._metrics.total)]
        every += [(series.id, series.name, series.rolling) for series in self._metrics.services]
        span = Span(first, until - MINUTE, MINUTE, float(until - first))
        for service_id, name, rolling in every:
            for minute, tally in rolling.by_slot(span).items():
                if minute == self._first_minute and service_id in self._begun_before:
                    tally.subtract(self._begun_before[service_id])
                if requests_of(tally):
                    slot = Closed.of(minute, tally)
                    yield MinuteRow(minute, service_id, name, slot.packed_counts, *slot.histograms)

    def _restore_minute(self, row: MinuteRow) -> None:
        slot = _closed(row)
        self._metrics.restore(row.service_id, row.name, slot, MINUTE)
        if row.minute >= self._written_until:
            slot.add_to(self._begun_before.setdefault(row.service_id, Tally(COUNTS, ALL_HISTOGRAMS)))

    def _restore(self, older: dict[tuple[int, str, str], Tally]) -> None:
        """Slots of ten minutes, before those of a minute."""
        for (start, service_id, name), tally in sorted(older.items(), key=lambda item: item[0][0]):
            self._metrics.restore(service_id, name, Closed.of(start, tally), TEN_MINUTES)
        older.clear()

    def _note(self, complaint: str) -> None:
        """Once, and not every minute, until it is back."""
        if not self._is_away:
            logging.getLogger("microgateway.observability").warning(
                "the metrics of this minute can't be written, which is tried again: %s", complaint
            )
        self._is_away = True


def _closed(row: MinuteRow) -> Closed:
    return Closed(row.minute, row.counts, (row.durations, row.upstream, row.overhead))
