"""Every scenario of the soak, small: a second of load, a tenth of the connections, and the gateway as a process."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import uvloop

from soak.aborts import aborts
from soak.agreement import agreement
from soak.crowd import Limits
from soak.facts import Fact, Report
from soak.idle import idle
from soak.setting import Scenario, Setting
from soak.swap import swap
from soak.term import term
from soak.upstreams import upstreams

REPOSITORY = Path(__file__).resolve().parents[2]
SECONDS = 1.0
SMALL = 0.1
SHORT_LIMITS = Limits(head=1.0, body=1.5, idle=3.0)

SCENARIOS: dict[str, Scenario] = {
    "idle": partial(idle, limits=SHORT_LIMITS),
    "aborts": aborts,
    "term": term,
    "swap": swap,
    "upstreams": upstreams,
    "agreement": partial(agreement, requests=20_000),
}


def run(name: str, folder: Path) -> list[Fact]:
    async def scenario() -> list[Fact]:
        report = Report(name, lambda line: None)
        await SCENARIOS[name](Setting(SECONDS, folder, SMALL), report)
        return report.facts

    return uvloop.run(scenario())


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_fact_that_does_not_depend_on_a_quiet_machine_is_met(name: str, tmp_path: Path) -> None:
    facts = run(name, tmp_path)
    assert len(facts) >= 3
    assert [fact.line() for fact in facts if not (fact.met or fact.needs_quiet)] == []


def soak(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "soak", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60)


class TestCommand:
    def test_it_tells_one_fact_a_line_and_ends_with_0_when_all_are_met(self) -> None:
        ended = soak("term", "--seconds", "0.1", "--scale", "0.2")
        assert ended.returncode == 0, ended.stdout + ended.stderr
        lines = ended.stdout.splitlines()
        assert lines[-1] == "every fact met"
        assert sum(line.startswith("met     term: ") for line in lines) == 3

    def test_a_scenario_that_is_not_there_is_a_wrong_call(self) -> None:
        ended = soak("rest")
        assert ended.returncode == 2
        assert "no such scenario: rest" in ended.stderr
