"""A million rows in the request log, and 5 000 more a second: how long any filter's first page takes, and a deep one.

python benchmarks/log_queries.py --rows 1000000 --check
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

if not __package__:  # run as a file: the package's folder is not on the path yet
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks import command, report
from microgateway.background import start_task
from microgateway.exchange import Exchange
from microgateway.observability.log_feed import LogFeed
from microgateway.observability.writer_process import WriterProcess
from microgateway.persistence.database import Database, locate_database, locate_log, store_url
from microgateway.persistence.log_filter import LogFilter
from microgateway.persistence.log_sqlite import SqliteLogStore
from microgateway.persistence.log_zones import COLUMNS, Row
from microgateway.persistence.migration import REQUEST_LOG
from microgateway.persistence.request_log import RequestLog

MEGABYTE = 1_000_000
ALLOWED_MILLISECONDS = 100.0
ROWS_AT_A_TIME = 5_000
BATCH = 64
PER_SECOND = 5_000
SERVICES, ROUTES, KEYS, PATHS = 10, 100, 1_000, 200_000
STATUSES = (200, 201, 304, 404, 429, 500, 502)
WEIGHTS = (80, 8, 4, 4, 3, 0.95, 0.05)


class Traffic:
    """Rows as a busy gateway would have them; once in the beginning, something that is looked for later."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        digits = self._random.getrandbits
        self._services = [(f"svc_{digits(96):024x}", f"service-{number}") for number in range(SERVICES)]
        self._routes = [(f"rt_{digits(96):024x}", f"/service-{n % SERVICES}/v{n}") for n in range(ROUTES)]
        self._keys = [(f"key_{digits(96):024x}", f"customer {number}") for number in range(KEYS)]

    def rows(self, first: int, count: int, began: float) -> list[Row]:
        return [self._row(number, began + number / PER_SECOND) for number in range(first, first + count)]

    def _row(self, number: int, timestamp: float) -> Row:
        pick = self._random
        status = 418 if number == 10 else pick.choices(STATUSES, WEIGHTS)[0]
        service, route, key = pick.choice(self._services), pick.choice(self._routes), pick.choice(self._keys)
        path = "/needle/in/the/hay" if number == 10 else f"{route[1]}/items/{pick.randrange(PATHS)}"
        values = {
            "timestamp": timestamp,
            "request_id": f"{pick.getrandbits(128):032x}" if number != 10 else "the-one-request",
            "trace_id": f"{pick.getrandbits(128):032x}",
            "client_ip": f"10.0.{pick.randrange(256)}.{pick.randrange(256)}",
            "path": path,
            "query": f"?page={pick.randrange(50)}",
            "method": pick.choices(("GET", "POST", "PUT", "DELETE"), (80, 15, 4, 1))[0],
            "status": status,
            "service_id": service[0],
            "service": service[1],
            "route_id": route[0],
            "route": route[1],
            "key_id": key[0],
            "key": key[1],
            "rate_limited": status == 429,
            "circuit_open": number % 100_000 == 7,
            "latency_ms": 30_000.0 if number == 10 else round(pick.expovariate(0.1), 3),
            "upstream_ms": 1.0,
            "stage": "proxy",
            "code": "",
            "retries": 0,
            "attempts": None,
            "breaker": "closed",
            "upstream": "10.1.0.1:9000",
            "upstream_status": status,
            "bytes_in": 0,
            "bytes_out": pick.randrange(20_000),
            "limited_by": None,
            "shadowed": None,
            "simulated": False,
            "configuration_version": 1,
        }
        return tuple(values[name] for name in COLUMNS)


def looked_for(began: float, rows: int) -> dict[str, LogFilter]:
    """Every filter, with a value that is common and one that is rare."""
    return {
        "nothing in particular": LogFilter(),
        "method GET": LogFilter(methods=("GET",)),
        "method DELETE (1 %)": LogFilter(methods=("DELETE",)),
        "status 200": LogFilter(statuses=(200,)),
        "status 4xx": LogFilter(classes=(4,)),
        "status 502 (0.05 %)": LogFilter(statuses=(502,)),
        "status 418 (one row, the oldest)": LogFilter(statuses=(418,)),
        "status 599 (none)": LogFilter(statuses=(599,)),
        "service by name": LogFilter(service="service-3"),
        "route by path": LogFilter(route="/service-7/v7"),
        "key by name (0.1 %)": LogFilter(key="customer 77"),
        "key that nobody has": LogFilter(key="nobody"),
        "path text, common": LogFilter(path="service-3"),
        "path text, rare": LogFilter(path="/items/12345"),
        "path text, the oldest row": LogFilter(path="NEEDLE/in"),
        "path text, nowhere": LogFilter(path="nowhere"),
        "rate-limited": LogFilter(rate_limited=True),
        "circuit open (ten rows)": LogFilter(circuit_open=True),
        "latency above 50 ms (1 %)": LogFilter(min_latency_ms=50.0),
        "latency above 20 s (one row)": LogFilter(min_latency_ms=20_000.0),
        "an hour long ago": LogFilter(since=began, until=began + rows / PER_SECOND / 10),
        "request id": LogFilter(request_id="the-one-request"),
        "DELETE, 502, one key": LogFilter(methods=("DELETE",), statuses=(502,), key="customer 77"),
    }


def fill(file: str, traffic: Traffic, rows: int, began: float) -> float:
    """Writes them as the log's writer would; seconds."""
    store = SqliteLogStore(file)
    started = time.perf_counter()
    for first in range(0, rows, ROWS_AT_A_TIME):
        store.append(traffic.rows(first, min(ROWS_AT_A_TIME, rows - first), began))
    store.close()
    return time.perf_counter() - started


@asynccontextmanager
async def arriving(store: str, per_second: int) -> AsyncIterator[LogFeed]:
    """So many requests end every second, and go through a writer of its own as they do in a gateway."""
    feed = LogFeed()
    writer = WriterProcess(feed, {"store": store})
    await writer.start()
    task = start_task(_arrive(feed, per_second), "the arrivals")
    try:
        yield feed
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await writer.stop()


async def _arrive(feed: LogFeed, per_second: int) -> None:
    number, due = 0, time.perf_counter()
    while True:
        feed(list(_ended(number)))
        number += BATCH
        due += BATCH / per_second
        await asyncio.sleep(max(0.0, due - time.perf_counter()))


def _ended(first: int) -> Iterator[Exchange]:
    for number in range(first, first + BATCH):
        now = time.monotonic()
        exchange = Exchange(b"GET", b"/arriving/%d" % (number % PATHS), "10.0.0.1", now - 0.002, time.time())
        exchange.request_id, exchange.status, exchange.ended = b"arriving-%d" % number, 200, now
        yield exchange


async def measure(log: RequestLog, wanted: LogFilter, *, before: int | None, times: int) -> tuple[list[float], int]:
    """Milliseconds of each, and how many rows came."""
    spent, found = [], 0
    for _ in range(times):
        started = time.perf_counter()
        page = await log.page(wanted, size=50, before=before)
        spent.append((time.perf_counter() - started) * 1_000)
        found = len(page.items)
    return spent, found


async def run(options: argparse.Namespace, folder: Path) -> bool:
    url = locate_log(locate_database(None, folder), folder)
    database = Database(url, REQUEST_LOG)
    await database.open()
    began = time.time() - options.rows / PER_SECOND
    took = await asyncio.to_thread(fill, str(url.database), Traffic(options.seed), options.rows, began)
    size = sum(file.stat().st_size for file in folder.glob("microgateway-log.db*"))  # noqa: ASYNC240
    print(f"{options.rows:,} rows in {took:.0f} s, {size / MEGABYTE:.0f} MB, {size / options.rows:.0f} bytes a row\n")
    log, worst, lines = RequestLog(database), 0.0, []
    async with arriving(store_url(url), PER_SECOND) as feed:
        for name, wanted in looked_for(began, options.rows).items():
            first, found = await measure(log, wanted, before=None, times=options.times)
            deep, _ = await measure(log, wanted, before=options.rows // 10, times=options.times)
            worst = max(worst, *first, *deep)
            figures = (median(first), max(first), median(deep), max(deep))
            lines.append((name, str(found), *(f"{figure:.1f}" for figure in figures)))
        await feed.settle(10.0)
        print(report.plain_table(("filter", "rows", "first ms", "worst", "deep ms", "worst"), lines))
        print(f"\nmeanwhile {feed.counts.written:,} rows arrived and {feed.counts.dropped} were dropped")
    await database.close()
    print(f"{report.met_or_missed(worst < ALLOWED_MILLISECONDS)}  every page below 100 ms; the slowest: {worst:.1f} ms")
    return worst < ALLOWED_MILLISECONDS


def main(given: Sequence[str] | None = None) -> int:
    parser = command.parser("log_queries.py", __doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows to begin with (default 1 000 000)")
    parser.add_argument("--times", type=int, default=5, help="how often each page is asked for (default 5)")
    parser.add_argument("--seed", type=int, default=1, help="of the rows (default 1)")
    parser.add_argument("--check", action="store_true", help="exit code 1 unless every page came in time")
    options = parser.parse_args(given)
    print(report.machine())
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        met = asyncio.run(run(options, Path(folder)))
    return 1 if options.check and not met else 0


if __name__ == "__main__":
    sys.exit(main())
