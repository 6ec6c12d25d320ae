"""Runs scenarios and tells their facts: `python -m soak idle aborts --seconds 60`. Without names: all of them."""

import argparse
import gc
import os
import resource
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import uvloop

from soak.aborts import aborts
from soak.agreement import agreement
from soak.facts import Fact, Report
from soak.gateway import Cores
from soak.idle import idle
from soak.setting import Scenario, Setting
from soak.swap import swap
from soak.term import term
from soak.upstreams import upstreams
from soak.workers import control_kill, one_key, probes, reloads, workers_kill

SCENARIOS: Mapping[str, Scenario] = {
    "idle": idle,
    "aborts": aborts,
    "term": term,
    "swap": swap,
    "upstreams": upstreams,
    "agreement": agreement,
    "workers-kill": workers_kill,
    "control-kill": control_kill,
    "reload": reloads,
    "one-key": one_key,
    "probes": probes,
}
DESCRIPTORS = 8_192  # for all connections of the idle scenario, and some


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def choose_cores() -> Cores:
    """One for the gateway and another for the rest, this process included, where there are two."""
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        say("        one core only: the gateway shares it with its load, and times mean little")
        return Cores()
    os.sched_setaffinity(0, {available[1]})
    return Cores(gateway=(available[0],), workers=tuple(available), load=(available[1],))


def allow_descriptors() -> None:
    """As many as the scenarios need, as far as the system lets us. The gateway inherits it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def spare_the_collector() -> None:
    """A collection among thousands of the load's own connections takes longer than the latencies that it measures."""
    gc.freeze()
    gc.set_threshold(200_000, 50, 100)


def run(name: str, setting: Setting) -> list[Fact]:
    report = Report(name, say)
    uvloop.run(SCENARIOS[name](setting, report))  # type: ignore[arg-type]
    return report.facts


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help=f"some of: {', '.join(SCENARIOS)}")
    parser.add_argument("--seconds", type=float, default=60.0, help="of load in each scenario (default 60)")
    parser.add_argument("--scale", type=float, default=1.0, help="of all numbers of connections (default 1)")
    options = parser.parse_args()
    if unknown := set(options.scenarios) - SCENARIOS.keys():
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    allow_descriptors()
    spare_the_collector()
    cores = choose_cores()
    missed: list[Fact] = []
    for name in options.scenarios or SCENARIOS:
        with tempfile.TemporaryDirectory(prefix="soak-") as folder:
            facts = run(name, Setting(options.seconds, Path(folder), options.scale, cores))
        missed += [fact for fact in facts if not fact.met]
    say(f"{len(missed)} facts missed" if missed else "every fact met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
