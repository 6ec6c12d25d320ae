"""What a gateway with workers has to get over, small, and all of it by one gateway, one thing after the other."""

from pathlib import Path

import uvloop

from soak.control_kills import kill_control
from soak.facts import Fact, Report
from soak.one_key import ask_with_one_key
from soak.probes import probe
from soak.reloads import reload
from soak.setting import Setting
from soak.worker_kills import kill_workers
from soak.workers import standing

FEW = 2  # clients
REST = 0.02  # seconds between an answer and the next request


async def all_of_it(folder: Path) -> list[Fact]:
    report = Report("workers", lambda line: None)
    async with standing(Setting(1.0, folder)) as stand:
        gateway, family, upstream = stand.gateway, stand.family, stand.upstream
        await ask_with_one_key(gateway, family, upstream, report, seconds=0.5)
        await probe(gateway, family, upstream, report, rounds=1)
        await kill_workers(gateway, family, upstream, report, kills=2, clients=FEW, rest=REST)
        await kill_control(gateway, family, upstream, report, kills=1, clients=FEW, rest=REST)
        await reload(gateway, family, upstream, report, times=1, clients=FEW, rest=REST)
    return report.facts


def test_every_fact_that_does_not_depend_on_a_quiet_machine_is_met(tmp_path: Path) -> None:
    facts = uvloop.run(all_of_it(tmp_path))
    assert len(facts) == 20
    assert [fact.line() for fact in facts if not (fact.met or fact.needs_quiet)] == []
