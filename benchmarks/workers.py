"""Two workers on two cores beside one worker on one: requests per second, and processor time for each request.

python benchmarks/workers.py --rounds 5 --seconds 3 --check

The load and the upstream take processor time from the same two cores, so that two workers can't have both to
themselves. Two accounts are given:

- by processor time, which the verdicts are of: what a request costs two workers that share both cores with their load,
  over what it costs one with a core of its own, as in compare.py. Two cores that are all the workers' serve twice the
  requests, divided by that. Sharing makes it dearer, so the two are not flattered;
- by the clock: one worker with its load and its upstream on one core, then two workers with load and upstream on both.
  Nothing is left out there and nothing worked out, but not only the workers differ: on one core load, upstream and
  worker take turns, and each finds much to do at once when its turn comes, which is cheap for all three.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
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
from benchmarks.peers.gateway import NO_LOG, Gateway
from benchmarks.processes import tree
from benchmarks.upstream import small_answers
from benchmarks.workload import HEADERS, Cores

LEAST_GAIN = 1.85
MOST_COST = 1.10
WARM_UP_SECONDS = 1
ALONE, ONE, TWO = "one, a core of its own", "one, all on one core", "two, all on two cores"


@dataclass(frozen=True, slots=True)
class Round:
    """`cost` is the workers' microseconds for a request; `share` is that of the worker that worked most."""

    per_second: float
    cost: float
    share: float
    control: float


@dataclass(frozen=True, slots=True)
class Standing:
    """A gateway that is up, and its script for the load."""

    contender: Contender
    script: Path

    @property
    def workers(self) -> list[int]:
        """The processes that serve: the workers, or the only one."""
        every = tree(self.contender.process.pid)
        return [pid for pid in every if "microgateway.process.worker" in _command(pid)] or every[:1]


@dataclass(frozen=True, slots=True)
class Bench:
    """Where everything may run. `upstream` are the upstream's processes."""

    cores: Cores
    upstream: Sequence[int]
    options: argparse.Namespace

    def take(self, one: Standing, gateway: Sequence[int], load: Sequence[int]) -> Round:
        """A round with the gateway on these cores, and load and upstream on those."""
        every = tree(one.contender.process.pid)
        _move(every, gateway)
        _move(self.upstream, load)
        url = f"http://127.0.0.1:{one.contender.port}{one.contender.call.path}"
        connections, seconds = self.options.connections, self.options.seconds
        Load(connections, WARM_UP_SECONDS, load[0], tuple(load[1:])).run(url, one.script)
        others = [pid for pid in every if pid not in one.workers]
        before, before_others = [own_seconds(pid) for pid in one.workers], sum(map(own_seconds, others))
        counted = Load(connections, seconds, load[0], tuple(load[1:])).run(url, one.script)
        counted.check(one.contender.name)
        spent = [own_seconds(pid) - earlier for pid, earlier in zip(one.workers, before, strict=True)]
        return Round(
            per_second=counted.per_second,
            cost=sum(spent) * 1e6 / counted.requests,
            share=max(spent) / sum(spent),
            control=(sum(map(own_seconds, others)) - before_others) * 1e6 / counted.requests,
        )


def _move(pids: Iterable[int], cores: Collection[int]) -> None:
    """With all their threads."""
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), cores)


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def measure(options: argparse.Namespace) -> dict[str, list[Round]]:
    cores = Cores.choose()
    cores.keep_proxy_core_free()
    first, second = [cores.proxy], [cores.load]
    rounds: dict[str, list[Round]] = {ALONE: [], ONE: [], TWO: []}
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as temporary,
        small_answers(Path(temporary) / "upstream", core=cores.load) as upstream_port,
        ExitStack() as stack,
    ):
        bench = Bench(cores, [pid for pid in tree(os.getpid()) if pid != os.getpid()], options)
        one, two = (_start(stack, Path(temporary), workers, cores, upstream_port) for workers in (1, 2))
        for number in range(options.rounds):
            rounds[ALONE].append(bench.take(one, first, second))
            rounds[ONE].append(bench.take(one, first, first))
            rounds[TWO].append(bench.take(two, first + second, first + second))
            latest = ", ".join(f"{series[-1].per_second:,.0f}/s {series[-1].cost:.1f} µs" for series in rounds.values())
            print(f"round {number + 1}  {latest}", file=sys.stderr)
    return rounds


def _start(stack: ExitStack, folder: Path, workers: int, cores: Cores, upstream_port: int) -> Standing:
    name = f"gateway-{workers}"
    own = folder / name
    own.mkdir()
    gateway = Gateway(name=name, variables=NO_LOG, workers=workers)
    contender = stack.enter_context(gateway.start(Place(own, cores.proxy, upstream_port)))
    check_policy(contender)
    return Standing(contender, steady_script(own / "steady.lua", HEADERS | dict(contender.call.headers())))


def show(rounds: Mapping[str, Sequence[Round]], options: argparse.Namespace) -> bool:
    """Prints the table and the verdicts; whether all targets are met: by the median of the ratios in each round."""
    print(report.machine())
    print(f"{options.rounds} rounds of {options.seconds} s in turn, {options.connections} connections; medians\n")
    lines = [
        (
            name,
            f"{median(one.per_second for one in series):,.0f}",
            f"{median(one.cost for one in series):.1f}",
            f"{median(one.share for one in series):.0%}",
            f"{median(one.control for one in series):.1f}",
        )
        for name, series in rounds.items()
    ]
    columns = ("workers", "requests/s", "µs/request", "of the busier one", "control µs")
    print(report.plain_table(columns, lines), end="\n\n")
    cost = median(two.cost / one.cost for one, two in zip(rounds[ALONE], rounds[TWO], strict=True))
    clock = median(two.per_second / one.per_second for one, two in zip(rounds[ONE], rounds[TWO], strict=True))
    gain, met = 2 / cost, report.met_or_missed
    print(f"{met(gain >= LEAST_GAIN)}  requests/s by processor time ≥ {LEAST_GAIN} × one worker's: {gain:.2f}")
    print(f"{met(cost <= MOST_COST)}  processor time for a request ≤ {MOST_COST} × one worker's: {cost:.3f}")
    print(f"        requests/s by the clock, load and upstream included: {clock:.2f} × those of one core")
    return gain >= LEAST_GAIN and cost <= MOST_COST


def main(given: Sequence[str] | None = None) -> int:
    parser = command.parser("workers.py", __doc__)
    command.add_rounds(parser, connections=64)
    parser.add_argument("--check", action="store_true", help="exit code 1 unless every target is met")
    options = parser.parse_args(given)
    with command.ending_in_order():
        rounds = measure(options)
    met = show(rounds, options)
    return 1 if options.check and not met else 0


if __name__ == "__main__":
    sys.exit(main())
