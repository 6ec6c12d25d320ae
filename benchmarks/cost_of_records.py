"""What the request log and the metrics cost the process that serves the requests: on and off in turn, in microseconds.

python benchmarks/cost_of_records.py --rounds 5 --seconds 3 --check

The log's writer is a process of its own: it is moved to the load's core, and its time is told apart.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

if not __package__:  # run as a file: the package's folder is not on the path yet
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks import command, report
from benchmarks.checks import check_policy
from benchmarks.load import Load, steady_script
from benchmarks.measure import own_seconds
from benchmarks.peers.contender import Contender, Place
from benchmarks.peers.gateway import Gateway
from benchmarks.processes import tree
from benchmarks.upstream import small_answers
from benchmarks.workload import HEADERS, Cores

ALLOWED = 1.15
WARM_UP_SECONDS = 1
OFF = {"MICROGATEWAY_REQUEST_LOG": "false", "MICROGATEWAY_METRICS": "false"}
WAYS: Mapping[str, Mapping[str, str]] = {
    "both off": OFF,
    "metrics on": OFF | {"MICROGATEWAY_METRICS": "true"},
    "log on": OFF | {"MICROGATEWAY_REQUEST_LOG": "true"},
    "both on": {},
}


@dataclass(frozen=True, slots=True)
class Cost:
    """One round: microseconds of processor time for a request, of the gateway's own process and of its writer."""

    own: float
    writer: float
    per_second: float


def measure(options: argparse.Namespace) -> dict[str, list[Cost]]:
    cores = Cores.choose()
    cores.keep_proxy_core_free()
    costs: dict[str, list[Cost]] = {name: [] for name in WAYS}
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as temporary,
        small_answers(Path(temporary) / "upstream", core=cores.load) as upstream_port,
    ):
        for number in range(options.rounds):
            for name, variables in WAYS.items():
                folder = Path(temporary) / f"{number}-{name.replace(' ', '-')}"
                folder.mkdir()
                place = Place(folder, cores.proxy, upstream_port)
                with Gateway(variables=variables).start(place) as gateway:
                    cost = _round(gateway, folder, options, cores)
                costs[name].append(cost)
                print(f"round {number + 1}  {name:<10} {cost.own:6.2f} µs, writer {cost.writer:6.2f}", file=sys.stderr)
    return costs


def _round(gateway: Contender, folder: Path, options: argparse.Namespace, cores: Cores) -> Cost:
    check_policy(gateway)
    script = steady_script(folder / "steady.lua", HEADERS | dict(gateway.call.headers()))
    url = f"http://127.0.0.1:{gateway.port}{gateway.call.path}"
    own, *others = tree(gateway.process.pid)
    for other in others:
        os.sched_setaffinity(other, {cores.load})
    Load(options.connections, WARM_UP_SECONDS, cores.load).run(url, script)
    before, writer_before = own_seconds(own), sum(map(own_seconds, others))
    counted = Load(options.connections, options.seconds, cores.load).run(url, script)
    counted.check(gateway.name)
    spent, writer_spent = own_seconds(own) - before, sum(map(own_seconds, others)) - writer_before
    return Cost(spent * 1e6 / counted.requests, writer_spent * 1e6 / counted.requests, counted.per_second)


def show(costs: Mapping[str, Sequence[Cost]], options: argparse.Namespace) -> bool:
    """Prints the table; whether the target is met: by the median of the ratios within each round."""
    print(report.machine())
    print(f"{options.rounds} rounds of {options.seconds} s in turn, {options.connections} connections; medians\n")
    bare = [cost.own for cost in costs["both off"]]
    lines = []
    for name, series in costs.items():
        ratio = median(cost.own / off for cost, off in zip(series, bare, strict=True))
        figures = (median(cost.own for cost in series), ratio, median(cost.writer for cost in series))
        per_second = median(cost.per_second for cost in series)
        lines.append((name, f"{figures[0]:.2f}", f"{figures[1]:.3f}", f"{figures[2]:.2f}", f"{per_second:,.0f}"))
    print(report.plain_table(("records", "µs/request", "÷ both off", "writer µs", "requests/s"), lines))
    ratio = median(cost.own / off for cost, off in zip(costs["both on"], bare, strict=True))
    print(f"\n{report.met_or_missed(ratio <= ALLOWED)}  both on ≤ {ALLOWED} × both off: {ratio:.3f}")
    return ratio <= ALLOWED


def main(given: Sequence[str] | None = None) -> int:
    parser = command.parser("cost_of_records.py", __doc__)
    command.add_rounds(parser)
    parser.add_argument("--check", action="store_true", help="exit code 1 unless the target is met")
    options = parser.parse_args(given)
    with command.ending_in_order():
        costs = measure(options)
    met = show(costs, options)
    return 1 if options.check and not met else 0


if __name__ == "__main__":
    sys.exit(main())
