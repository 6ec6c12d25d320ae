"""Large bodies through the gateway and through nginx: how much one core can carry, up and down.

python benchmarks/streaming.py --rounds 5 --mebibytes 64
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

if not __package__:  # run as a file: the package's folder is not on the path yet
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks import command, report
from benchmarks.bulk import MEBIBYTE, BulkClient
from benchmarks.measure import ProcessorTime
from benchmarks.peers.contender import Contender, Proxy
from benchmarks.peers.gateway import Gateway
from benchmarks.peers.nginx import BareNginx
from benchmarks.standing import standing
from benchmarks.upstream import large_bodies
from benchmarks.workload import HEADERS, Cores

MEGABYTE = 1_000_000
COLUMNS = ("proxy", "direction", "MB/s", "MB per core second", "core busy", "gateway ÷ it")
DIRECTIONS = ("down", "up")


@dataclass(frozen=True, slots=True)
class Carried:
    """One round: bytes, and the seconds that passed and that the proxy computed."""

    size: int
    seconds: float
    processor_seconds: float

    @property
    def speed(self) -> float:
        return self.size / self.seconds

    @property
    def per_core_second(self) -> float:
        """What the proxy would carry if its core were the only limit; `speed` depends on client and upstream too."""
        return self.size / self.processor_seconds


@dataclass(frozen=True, slots=True)
class Bodies:
    """`streams` bodies at the same time, of `size` bytes each."""

    streams: int
    size: int

    def carry(self, contender: Contender, direction: str) -> Carried:
        client = BulkClient(
            name=contender.name,
            port=contender.port,
            prefix=contender.call.path,
            headers=HEADERS | dict(contender.call.headers()),
        )
        move: Callable[[int], None] = client.download if direction == "down" else client.upload
        before, started = ProcessorTime.read(contender.process.pid), time.perf_counter()
        with ThreadPoolExecutor(self.streams) as pool:
            for each in [pool.submit(move, self.size) for _ in range(self.streams)]:
                each.result()
        seconds = time.perf_counter() - started
        spent = ProcessorTime.read(contender.process.pid).seconds_since(before)
        return Carried(size=self.size * self.streams, seconds=seconds, processor_seconds=spent)


Found = dict[tuple[str, str], list[Carried]]


def proxies() -> tuple[Proxy, ...]:
    """nginx by default stores an upload whole, on disk; beside it the same nginx, told to pass uploads on at once."""
    unbuffered = BareNginx(
        name="nginx-unbuffered", does="the same, uploads passed on at once", extra="proxy_request_buffering off;"
    )
    return (BareNginx(), unbuffered, Gateway(methods=("GET", "POST")))


def measure(chosen: Sequence[Proxy], bodies: Bodies, rounds: int) -> Found:
    """All rounds in turn, after one that warms up, by proxy and direction."""
    cores = Cores.choose()
    cores.keep_proxy_core_free()
    found: Found = {}
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as temporary,
        large_bodies(Path(temporary) / "upstream", core=cores.load) as upstream_port,
        standing(chosen, Path(temporary), upstream_port=upstream_port, cores=cores) as contenders,
    ):
        for number in range(rounds + 1):
            for contender in contenders:
                for direction in DIRECTIONS:
                    carried = bodies.carry(contender, direction)
                    if number:
                        found.setdefault((contender.name, direction), []).append(carried)
    return found


def rows(found: Found) -> list[tuple[str, ...]]:
    table: list[tuple[str, ...]] = []
    for (name, direction), rounds in found.items():
        gateway = found.get((report.GATEWAY, direction))
        ratio = ""
        if gateway is not None and name != report.GATEWAY:
            pairs = zip(gateway, rounds, strict=True)
            ratio = f"{median(mine.per_core_second / theirs.per_core_second for mine, theirs in pairs):.2f}"
        table.append(
            (
                name,
                direction,
                f"{median(one.speed for one in rounds) / MEGABYTE:,.0f}",
                f"{median(one.per_core_second for one in rounds) / MEGABYTE:,.0f}",
                f"{median(one.processor_seconds / one.seconds for one in rounds):.0%}",
                ratio,
            )
        )
    return table


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = command.parser("streaming.py", __doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each proxy and direction (default 5)")
    parser.add_argument("--mebibytes", type=int, default=64, help="size of a body (default 64)")
    parser.add_argument("--streams", type=int, default=4, help="bodies at the same time (default 4)")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    options = arguments(given)
    chosen = [proxy for proxy in proxies() if proxy.missing() is None]
    with command.ending_in_order():
        found = measure(chosen, Bodies(streams=options.streams, size=options.mebibytes * MEBIBYTE), options.rounds)
    print(report.machine())
    print(f"{options.rounds} rounds of {options.streams} bodies of {options.mebibytes} MiB at a time; medians\n")
    print((report.markdown_table if options.markdown else report.plain_table)(COLUMNS, rows(found)))
    for proxy in proxies():
        if reason := proxy.missing():
            print(f"{proxy.name}: skipped, {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
