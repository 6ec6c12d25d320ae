"""The writer by itself: when it writes, what it keeps while the database is away, and where that ends."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from microgateway.observability.log_writer import COMMIT_INTERVAL, MOST_PENDING, RETRY_INTERVAL, LogWriter
from microgateway.persistence.log_store import LogStoreError, Retention
from microgateway.persistence.log_zones import Row
from microgateway.testing import FakeClock
from tests.kit.log import log_row, log_rows


@dataclass
class FaultyStore:
    """Remembers what was written. While `is_away` it does nothing that it is asked."""

    rows: list[Row] = field(default_factory=list)
    is_away: bool = False
    retained: int = 0

    def append(self, rows: Sequence[Row]) -> None:
        self._answer()
        self.rows += rows

    def retain(self, keep: Retention, now: float) -> bool:
        self._answer()
        self.retained += 1
        return False

    def clear(self, before: float | None) -> None:
        self._answer()
        self.rows.clear()

    def close(self) -> None: ...

    def _answer(self) -> None:
        if self.is_away:
            raise LogStoreError("the database is away")


class Bench:
    def __init__(self) -> None:
        self.store, self.clock = FaultyStore(), FakeClock()
        self.writer = LogWriter(lambda: self.store, Retention(), now=self.clock.now, wall=self.clock.wall)
        self.writer.work()

    def after(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.writer.work()


def test_rows_are_written_an_interval_after_the_first_came() -> None:
    bench = Bench()
    bench.writer.add([log_row(1)])
    bench.after(COMMIT_INTERVAL * 0.5)
    bench.writer.add([log_row(2)])
    assert bench.store.rows == []
    bench.after(COMMIT_INTERVAL * 0.5)
    assert len(bench.store.rows) == 2
    assert bench.writer.counts.written == 2


def test_an_idle_writer_sleeps() -> None:
    bench = Bench()
    bench.after(1.0)
    assert bench.writer.wait() > 10 * COMMIT_INTERVAL


def test_while_the_database_is_away_rows_wait_and_then_are_written() -> None:
    bench = Bench()
    bench.store.is_away = True
    bench.writer.add([log_row(1)])
    bench.after(COMMIT_INTERVAL)
    assert bench.writer.counts.complaint == "the database is away"
    assert bench.writer.settle() == "the database is away"
    bench.writer.add([log_row(2)])
    bench.store.is_away = False
    bench.after(RETRY_INTERVAL)
    assert len(bench.store.rows) == 2
    assert bench.writer.counts.complaint == ""
    assert bench.writer.counts.dropped == 0


def test_what_is_too_much_to_wait_is_dropped_the_newest_first_and_counted() -> None:
    bench = Bench()
    bench.store.is_away = True
    rows = log_rows(1_000)
    for _ in range(MOST_PENDING // 1_000):
        bench.writer.add(rows)
    bench.writer.add([log_row(9_999)] * 30)
    assert bench.writer.counts.dropped == 30
    bench.store.is_away = False
    bench.writer.close()
    assert len(bench.store.rows) == MOST_PENDING
    assert log_row(9_999) not in bench.store.rows


def test_what_can_t_be_written_at_the_end_is_counted() -> None:
    bench = Bench()
    bench.store.is_away = True
    bench.writer.add([log_row(1)])
    bench.writer.close()
    assert bench.writer.counts.dropped == 1


def test_clearing_takes_what_has_not_been_written_yet_too() -> None:
    bench = Bench()
    bench.writer.add([log_row(1)])
    assert bench.writer.clear(None) == ""
    bench.after(COMMIT_INTERVAL)
    assert bench.store.rows == []


def test_the_log_is_tidied_after_writing() -> None:
    bench = Bench()
    before = bench.store.retained
    bench.writer.add([log_row(1)])
    bench.after(COMMIT_INTERVAL)
    assert bench.store.retained == before + 1
