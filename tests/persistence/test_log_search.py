"""A search has a bounded time: what it had no time for it says, and goes on from there."""

import itertools
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from microgateway.persistence.database import Database, locate_database, locate_log
from microgateway.persistence.log_filter import LogFilter
from microgateway.persistence.log_sqlite import SqliteLogStore
from microgateway.persistence.log_zones import ROWS_PER_ZONE, Zone, fingerprint, word
from microgateway.persistence.migration import REQUEST_LOG
from microgateway.persistence.request_log import MOST_COUNTED, RequestLog
from tests.kit.log import log_row, log_rows

ROWS = 30_000
TOGETHER = (5, 11, 20_000)  # the rows that have both of two things which are common apart


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log in which every zone has a PUT and a 404, and next to no row is both."""
    folder = tmp_path_factory.mktemp("log")
    return Path(str(locate_log(locate_database(None, folder), folder).database))


@pytest.fixture
async def database(file: Path) -> AsyncIterator[Database]:
    opened = Database(locate_log(locate_database(None, file.parent), file.parent), REQUEST_LOG)
    await opened.open()
    with closing(SqliteLogStore(str(file))) as store:
        if (await RequestLog(opened).page(LogFilter(), size=1)).total == 0:
            store.append([mixed(number) for number in range(ROWS)])
    yield opened
    await opened.close()


def mixed(number: int) -> Any:
    if number in TOGETHER:
        return log_row(number, method="PUT", status=404)
    return log_row(number, method="PUT") if number % 2 else log_row(number, status=404)


HURRIES = pytest.mark.parametrize("step", [1.0, 0.025, 0.013])  # after one look at the clock, after three, after five


def hurried(database: Database, step: float) -> RequestLog:
    """One to which every look at the clock seems so many seconds later."""
    return RequestLog(database, now=itertools.count(0.0, step).__next__)


@HURRIES
async def test_a_page_that_is_cut_short_goes_on_where_it_came_to(database: Database, step: float) -> None:
    log, wanted = hurried(database, step), LogFilter(methods=("PUT",), statuses=(404,))
    found: list[str] = []
    page = await log.page(wanted, size=10)
    assert not page.is_complete
    assert not page.total_is_exact
    asked = 1
    while page.next_cursor is not None:
        found += [row["request_id"] for row in page.items]
        page = await log.page(wanted, size=10, before=page.next_cursor)
        asked += 1
    found += [row["request_id"] for row in page.items]
    assert found == [f"request-{number}" for number in sorted(TOGETHER, reverse=True)]
    assert asked > 2
    assert page.is_complete


async def test_in_time_it_finds_them_at_once(database: Database) -> None:
    log = RequestLog(database, now=lambda: 0.0)
    page = await log.page(LogFilter(methods=("PUT",), statuses=(404,)), size=10)
    assert (len(page.items), page.total, page.total_is_exact, page.is_complete) == (3, 3, True, True)


async def test_what_is_common_is_counted_up_to_a_bound(database: Database) -> None:
    page = await RequestLog(database, now=lambda: 0.0).page(LogFilter(methods=("PUT",)), size=10)
    assert (page.total, page.total_is_exact) == (MOST_COUNTED, False)


@pytest.mark.parametrize("place", [0, 1, 9_999, 14_900])
async def test_a_page_far_back_with_a_filter(database: Database, place: int) -> None:
    log = RequestLog(database, now=lambda: 0.0)
    page = await log.page(LogFilter(methods=("PUT",)), size=20, offset=place)
    puts = [number for number in range(ROWS - 1, -1, -1) if number % 2 or number in TOGETHER]
    assert [row["request_id"] for row in page.items] == [f"request-{n}" for n in puts[place : place + 20]]


async def test_a_cursor_within_a_zone(database: Database) -> None:
    log = RequestLog(database, now=lambda: 0.0)
    for before in (1, 2, ROWS_PER_ZONE, ROWS_PER_ZONE + 1, 700, ROWS + 1):
        page = await log.page(LogFilter(), size=3, before=before)
        expected = [number for number in (before - 1, before - 2, before - 3) if number > 0]
        assert [row["id"] for row in page.items] == expected


@HURRIES
async def test_an_export_cut_short_is_whole_all_the_same(database: Database, step: float) -> None:
    pieces = [piece async for piece in hurried(database, step).export(LogFilter(statuses=(404,)))]
    numbers = [int(row["request_id"].removeprefix("request-")) for piece in pieces for row in piece]
    assert numbers == [n for n in range(ROWS - 1, -1, -1) if n % 2 == 0 or n in TOGETHER]


class TestZone:
    def test_it_tells_what_its_rows_hold(self) -> None:
        zone = Zone(100)
        zone.add([log_row(1, latency_ms=7.0, path="/A/b"), log_row(2, status=503, circuit_open=True, key=None)])
        first, last, count, earliest, latest, slowest, words, prints, keys, paths = zone.row()
        assert (first, last, count, slowest, latest - earliest) == (100, 101, 2, 7.0, 1.0)
        for kind, value in (("m", "GET"), ("s", 200), ("s", 503), ("c", 5), ("S", "svc_1"), ("R", "/items"), ("o", 1)):
            assert word(kind, value) + "\n" in words
        assert word("s", 50) + "\n" not in words
        assert word("K", "demo") + "\n" in keys
        assert "/a/b" in paths
        assert fingerprint("request-2") in prints

    def test_a_name_with_a_line_end_says_nothing_of_others(self) -> None:
        zone = Zone(1)
        zone.add([log_row(1, service="a\ns=500")])
        assert word("s", 500) + "\n" not in zone.row()[6]

    def test_it_has_room_for_so_many(self) -> None:
        zone = Zone(1)
        zone.add(log_rows(ROWS_PER_ZONE - 1))
        assert (zone.room, zone.next_id) == (1, ROWS_PER_ZONE)
