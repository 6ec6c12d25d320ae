"""The gateway's end of the log: what is sent arrives whole; a writer that does not read costs rows, and no time."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest

from microgateway.core.circuit import CircuitPolicy
from microgateway.exchange import Judgement, Problem
from microgateway.observability.log_feed import MOST_WAITING, LogFeed, LogUnavailableError
from microgateway.observability.log_frames import COUNTS, DONE, LONGEST_TEXT, ROWS, SETTLE, pack, raw_rows, unpack
from microgateway.observability.log_rows import as_mapping, ended
from microgateway.state.memory import MemoryCircuits
from tests.observability.exchanges import destination, exchange, principal, refused, rule

BATCH = [exchange(200, path=b"/%d" % number) for number in range(64)]


@pytest.fixture
async def feed() -> AsyncIterator[LogFeed]:
    """A feed whose other end this test holds, in the writer's place."""
    made = LogFeed()
    made.start()
    yield made
    made.close()


def read_rows(feed: LogFeed) -> list[dict[str, Any]]:
    """As the writer would read and keep them; what else comes is passed over."""
    feed.theirs.setblocking(False)
    rows: list[dict[str, Any]] = []
    while True:
        try:
            kind, *content = unpack(feed.theirs.recv(1 << 20))
        except BlockingIOError:
            return rows
        if kind == ROWS:
            rows += [as_mapping(item.row()) for item in ended(content[0])]


class TestSending:
    async def test_rows_arrive_as_they_were(self, feed: LogFeed) -> None:
        feed(BATCH)
        assert [row["path"] for row in read_rows(feed)] == [f"/{number}" for number in range(64)]

    async def test_a_batch_of_huge_paths_arrives_in_parts(self, feed: LogFeed) -> None:
        feed([exchange(200, path=b"/" * 8_000, query=b"?" + b"q" * 8_000) for _ in range(64)])
        rows = read_rows(feed)
        assert len(rows) == 64
        assert all(len(row["path"]) <= LONGEST_TEXT for row in rows)

    async def test_a_path_larger_than_any_frame_is_cut(self, feed: LogFeed) -> None:
        feed([exchange(414, path=b"/" * 1_000_000)])
        assert len(read_rows(feed)) == 1

    async def test_neighbours_do_not_share_what_is_not_theirs(self, feed: LogFeed) -> None:
        permit = MemoryCircuits().of("users", CircuitPolicy(), 0.0).try_acquire(0.0)
        through = exchange(200, to=destination(), by=principal())
        through.judgement = Judgement(permit, principal(), destination())  # type: ignore[arg-type]
        unread = exchange(400, stage="parse")
        unread.judgement = None
        feed([through, unread, exchange(401, stage="auth"), through])
        seen = [(row["key"], row["service"], row["breaker"]) for row in read_rows(feed)]
        nobody = (None, None, None)
        assert seen == [("Ada", "users", "closed"), nobody, nobody, ("Ada", "users", "closed")]

    async def test_who_was_limited_by_what(self, feed: LogFeed) -> None:
        limited = refused(429, "rate_limit", "rate_limited", by=principal(), limited_by=rule("burst"))
        own = refused(429, "rate_limit", "rate_limited", by=principal(), limited_by=principal())
        for item in (limited, own):
            assert item.judgement is not None
            item.judgement.outcome = problem("rate_limit")
        passed = exchange(200, limited_by=principal(), shadowed=(rule("trial"),))
        feed([limited, own, passed])
        rows = read_rows(feed)
        assert [(row["limited_by"], row["shadowed"]) for row in rows] == [
            ("Burst", None),
            ("key", None),
            (None, '["Trial"]'),
        ]
        assert [row["rate_limited"] for row in rows] == [True, True, False]


async def until(condition: Callable[[], bool]) -> None:
    """Lets the loop turn until the condition holds; a test that waits in vain is ended by its timeout."""
    while not condition():  # noqa: ASYNC110  nothing tells of it
        await asyncio.sleep(0)


def has_written(feed: LogFeed, rows: int) -> bool:
    return feed.counts.written == rows


def problem(stage: str) -> Problem:
    return Problem(429, "Too Many Requests", "rate_limited", stage, "Wait.")


class TestOverload:
    async def test_a_writer_that_does_not_read_costs_rows_and_no_time(self, feed: LogFeed) -> None:
        """A second's worth of a busy gateway, ten times over."""
        began = time.process_time()
        for _ in range(3_000):
            feed(BATCH)
        took = time.process_time() - began
        sent = 3_000 * 64
        assert took / sent < 20e-6  # seconds for a row, however loaded this machine is
        counts = feed.counts
        assert 0 < counts.waiting <= MOST_WAITING
        assert counts.dropped > sent / 2
        arrived = 0
        while feed.counts.waiting:
            arrived += len(read_rows(feed))
            await asyncio.sleep(0)
        arrived += len(read_rows(feed))
        assert arrived + feed.counts.dropped == sent

    async def test_it_goes_on_when_the_writer_reads_again(self, feed: LogFeed) -> None:
        while not feed.counts.dropped:
            feed(BATCH)
        while feed.counts.waiting:
            read_rows(feed)
            await asyncio.sleep(0)
        read_rows(feed)
        dropped = feed.counts.dropped
        feed(BATCH)
        assert len(read_rows(feed)) == 64
        assert feed.counts.dropped == dropped


class TestAsking:
    async def test_settling_waits_for_the_writer(self, feed: LogFeed) -> None:
        asked = asyncio.ensure_future(feed.settle(30.0))
        await asyncio.sleep(0)
        kind, number = unpack(feed.theirs.recv(1_000))
        assert kind == SETTLE
        assert not asked.done()
        feed.theirs.send(pack(DONE, number, ""))
        assert await asked

    async def test_a_writer_that_says_nothing_is_not_waited_for(self, feed: LogFeed) -> None:
        assert not await feed.settle(0.01)
        with pytest.raises(LogUnavailableError):
            await feed.clear(None, 0.01)

    async def test_a_writer_that_ends_meanwhile_is_told(self, feed: LogFeed) -> None:
        asked = asyncio.ensure_future(feed.clear(None, 30.0))
        await asyncio.sleep(0)
        feed.writer_ended(unexpectedly=True)
        with pytest.raises(LogUnavailableError, match="the writer ended"):
            await asked

    async def test_counts_go_on_over_writers(self, feed: LogFeed) -> None:
        for written, total in ((10, 10), (5, 15)):
            told = {"written": written, "dropped": 1, "failures": 0, "complaint": ""}
            feed.theirs.send(pack(COUNTS, told))
            await until(partial(has_written, feed, total))
            feed.writer_ended(unexpectedly=True)
        assert (feed.counts.written, feed.counts.dropped, feed.counts.restarts) == (15, 2, 2)


def test_what_neighbours_share_is_sent_once() -> None:
    to, by = destination(), principal()
    alike = raw_rows([exchange(200, to=to, by=by) for _ in range(64)])
    assert len(pack(ROWS, alike)) < 64 * 250
