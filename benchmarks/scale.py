"""The gateway with ten routes and keys beside the gateway with very many: does a request cost the same?

python benchmarks/scale.py --routes 10000 --keys 100000
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

if not __package__:  # run as a file: the package's folder is not on the path yet
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks import command, report
from benchmarks.checks import check_policy
from benchmarks.errors import BenchmarkError
from benchmarks.load import Load, rotating_script
from benchmarks.measure import resident_bytes
from benchmarks.peers.contender import Contender, Place
from benchmarks.peers.gateway import NO_LOG, Gateway, running_gateway
from benchmarks.rounds import Series, run_rounds
from benchmarks.seed import Catalogue, Size, catalogue, write_seed
from benchmarks.upstream import small_answers
from benchmarks.workload import HEADERS, Cores

SMALL = Size(routes=10, keys=10)
CALLS = 10  # different requests in the load's rotation, the same number for both sizes
LARGEST_RATIO = 1.10
LONGEST_START_SECONDS = 10.0
MEGABYTE = 1_000_000
COLUMNS = (
    "gateway",
    "routes",
    "keys",
    "loaded in s",
    "starts in s",
    "memory MB",
    "after load MB",
    "µs/request",
    "requests/s",
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A gateway with everything in its database. Seconds: for the first start with the seed, and for a later start."""

    contender: Contender
    size: Size
    entries: Catalogue
    seeding_seconds: float
    start_seconds: float
    resident: int


@contextmanager
def loaded(name: str, size: Size, place: Place) -> Iterator[Loaded]:
    """Started once to read the seed, stopped, and started again as after any deployment."""
    entries = catalogue(size)
    seed = write_seed(place.folder / "seed.json", entries, upstream_port=place.upstream_port)
    started = time.perf_counter()
    with running_gateway(name, place, seed=seed, variables=NO_LOG):
        seeding_seconds = time.perf_counter() - started
    started = time.perf_counter()
    with running_gateway(name, place, variables=NO_LOG) as gateway:
        start_seconds = time.perf_counter() - started
        (call,) = entries.calls(1)
        contender = Contender(name=name, process=gateway.process, port=gateway.proxy_port, call=call)
        check_policy(contender)
        resident = resident_bytes(gateway.process.pid)
        yield Loaded(contender, size, entries, seeding_seconds, start_seconds, resident)


def measure(options: argparse.Namespace) -> list[tuple[Loaded, Series]]:
    cores = Cores.choose()
    cores.keep_proxy_core_free()
    if reason := Gateway().missing():
        raise BenchmarkError(reason)
    load = Load(connections=options.connections, seconds=options.seconds, core=cores.load)
    sizes = {"gateway-small": SMALL, "gateway-large": Size(routes=options.routes, keys=options.keys)}
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as temporary,
        small_answers(Path(temporary) / "upstream", core=cores.load) as upstream_port,
        ExitStack() as stack,
    ):
        gateways, scripts = [], {}
        for name, size in sizes.items():
            folder = Path(temporary) / name
            folder.mkdir()
            one = stack.enter_context(loaded(name, size, Place(folder, cores.proxy, upstream_port)))
            calls = [(call.path, call.headers()) for call in one.entries.calls(options.calls)]
            scripts[name] = rotating_script(folder / "load.lua", HEADERS, calls)
            gateways.append(one)
        contenders = [one.contender for one in gateways]
        series = run_rounds(
            contenders, scripts, load, rounds=options.rounds, progress=lambda line: print(line, file=sys.stderr)
        )
        return list(zip(gateways, series, strict=True))


def row(one: Loaded, series: Series) -> tuple[str, ...]:
    return (
        series.name,
        f"{one.size.routes:,}",
        f"{one.size.keys:,}",
        f"{one.seeding_seconds:.1f}",
        f"{one.start_seconds:.1f}",
        f"{one.resident / MEGABYTE:.0f}",
        f"{series.resident / MEGABYTE:.0f}",
        f"{series.microseconds:.1f}",
        f"{series.per_second:,.0f}",
    )


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = command.parser("scale.py", __doc__)
    parser.add_argument("--routes", type=int, default=10_000, help="routes of the large gateway (default 10000)")
    parser.add_argument("--keys", type=int, default=100_000, help="keys of the large gateway (default 100000)")
    parser.add_argument(
        "--calls", type=int, default=CALLS, help="different requests, spread over routes and keys (default 10)"
    )
    command.add_rounds(parser)
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return parser.parse_args(given)


def verdicts(small: Series, large: Series, start_seconds: float) -> Iterator[tuple[bool, str]]:
    ratio = large.ratio_to(small)
    yield ratio <= LARGEST_RATIO, f"large ≤ {LARGEST_RATIO:g} × small: {ratio:.3f}"
    yield start_seconds < LONGEST_START_SECONDS, f"starts in under {LONGEST_START_SECONDS:g} s: {start_seconds:.1f} s"


def main(given: Sequence[str] | None = None) -> int:
    options = arguments(given)
    with command.ending_in_order():
        (small, small_series), (large, large_series) = measure(options)
    print(report.machine())
    print(f"{options.rounds} rounds of {options.seconds} s in turn, {options.connections} connections; medians")
    print(f"every connection walks through {options.calls:,} requests spread over all routes and keys\n")
    table = report.markdown_table if options.markdown else report.plain_table
    print(table(COLUMNS, [row(small, small_series), row(large, large_series)]), end="\n\n")
    outcome = list(verdicts(small_series, large_series, large.start_seconds))
    for met, text in outcome:
        print(f"{report.met_or_missed(met)}  {text}")
    return 0 if all(met for met, _ in outcome) else 1


if __name__ == "__main__":
    sys.exit(main())
