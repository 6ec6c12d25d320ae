"""Charts over restarts: what one process has counted is what the next one shows, on both databases."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from sqlalchemy import text

from microgateway.core.histogram import percentiles
from microgateway.core.rolling import span_of
from microgateway.errors import StartupError
from microgateway.exchange import Exchange
from microgateway.observability.history import KEPT, History
from microgateway.observability.metrics import DURATION, Bounds, Metrics, requests_of
from microgateway.observability.runs import runs_of
from microgateway.observability.usage import Usage
from microgateway.persistence.database import Database
from microgateway.persistence.metric_history import MetricHistory
from microgateway.persistence.tables import metric_minutes
from tests.observability.exchanges import destination, exchange
from tests.persistence.conftest import database, database_url, postgres, postgres_url

__all__ = ["database", "database_url", "postgres", "postgres_url"]

START = 1_700_000_040.0  # a full minute
USERS = destination("/users", "users")
SERVICES = {"users"}


@dataclass(slots=True)
class Process:
    """One run of a gateway, as far as its metrics go."""

    metrics: Metrics
    history: History

    def ended(self, batch: Sequence[Exchange], now: float) -> None:
        self.metrics.count(runs_of(batch))
        self.metrics.fold(now)

    def requests(self, window: int, now: float, service_id: str = "") -> int:
        series = self.metrics.services.get(service_id)
        rolling = self.metrics.total if not service_id else series and series.rolling
        return requests_of(rolling.over(span_of(window, now))) if rolling else 0

    async def minute_passes(self, now: float) -> None:
        """And its write is done."""
        self.metrics.fold(now)
        self.history.tick(now)
        await self.history.settle()


async def started(database: Database, now: float) -> Process:
    metrics = Metrics(bounds=Bounds(), now=now, usage=Usage())
    process = Process(metrics, History(metrics=metrics, store=MetricHistory(database)))
    await process.history.load(now, SERVICES)
    return process


async def test_a_restart_keeps_the_charts(database: Database) -> None:
    one = await started(database, START)
    one.ended([exchange(to=USERS, milliseconds=20.0), exchange(502, stage="proxy")], START + 10)
    await one.minute_passes(START + 60)
    one.ended([exchange(to=USERS, milliseconds=20.0)], START + 70)
    await one.history.stop(START + 80)

    other = await started(database, START + 90)
    for window in (1_800, 3_600, 86_400):
        assert other.requests(window, START + 90) == 3
        assert other.requests(window, START + 90, "users") == 2
    tally = other.metrics.total.over(span_of(3_600, START + 90))
    assert percentiles(tally.histograms[DURATION], 0.5)[0] == pytest.approx(20_000, rel=0.02)
    assert other.metrics.known_since(60) <= START
    assert other.metrics.known_since(1) == START + 90


async def test_a_minute_that_two_processes_saw_is_counted_once(database: Database) -> None:
    """Three restarts within one minute, and everything is there, no more and no less."""
    for number in range(4):
        process = await started(database, START + 10 * number)
        assert process.requests(1_800, START + 10 * number) == number
        process.ended([exchange(to=USERS)], START + 10 * number)
        await process.history.stop(START + 10 * number + 5)
    last = await started(database, START + 300)
    assert last.requests(1_800, START + 300) == last.requests(1_800, START + 300, "users") == 4


async def test_what_is_older_comes_back_by_ten_minutes_and_what_is_too_old_is_deleted(database: Database) -> None:
    one = await started(database, START)
    for hour in range(60):
        now = START + hour * 3_600
        one.ended([exchange(to=USERS)], now)
        await one.minute_passes(now + 60)
    end = START + 59 * 3_600 + 120
    await one.history.stop(end)
    other = await started(database, end)
    assert other.requests(86_400, end) == 24
    day_before = span_of(86_400, end).before()
    assert requests_of(other.metrics.total.over(day_before)) == 24
    async with database.reading.connect() as connection:
        oldest = (await connection.execute(text("SELECT min(minute) FROM metric_minutes"))).scalar_one()
    assert end - KEPT - 60 <= oldest < end - KEPT + 3_600


async def test_a_service_that_is_gone_stays_in_the_total(database: Database) -> None:
    one = await started(database, START)
    one.ended([exchange(to=destination("/old", "old"))], START)
    await one.history.stop(START + 1)
    other = await started(database, START + 2)
    assert other.metrics.services.get("old") is None
    assert other.requests(1_800, START + 2) == 1


async def test_a_database_that_is_away_for_a_while_loses_nothing(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    if database.reading.dialect.name != "sqlite":
        pytest.skip("a table that is not there is a mistake to PostgreSQL, and an operational error to SQLite")
    one = await started(database, START)
    one.ended([exchange(to=USERS)], START)
    async with database.writing.begin() as connection:
        await connection.execute(text("ALTER TABLE metric_minutes RENAME TO elsewhere"))
    with caplog.at_level(logging.WARNING, "microgateway.observability"):
        for minute in (1, 2):
            await one.minute_passes(START + 60 * minute)
    assert len(caplog.records) == 1
    async with database.writing.begin() as connection:
        await connection.execute(text("ALTER TABLE elsewhere RENAME TO metric_minutes"))
    await one.history.stop(START + 190)
    assert (await started(database, START + 200)).requests(1_800, START + 200) == 1


async def test_a_history_that_makes_no_sense_is_told_at_the_start(database: Database) -> None:
    one = await started(database, START)
    one.ended([exchange(to=USERS)], START)
    await one.history.stop(START + 1)
    async with database.writing.begin() as connection:
        await connection.execute(metric_minutes.update().values(durations=b"1234567"))
    with pytest.raises(StartupError, match="history of the metrics"):
        await started(database, START + 2)
