"""A gateway with two workers, and what it has to get over: each scenario has a gateway of its own.

What is done to it is in the modules that are called from here, so that a test can do all of it to one gateway.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from soak.control_kills import kill_control
from soak.facts import Report
from soak.family import Family
from soak.gateway import Gateway, Upstream, running_gateway, running_upstream
from soak.one_key import ask_with_one_key
from soak.probes import probe
from soak.reloads import reload
from soak.setting import Setting
from soak.worker_kills import kill_workers

WORKERS = 2
KILLS = 20
CONTROL_KILLS = 5
RELOADS = 20
ROUNDS = 10


@dataclass(frozen=True, slots=True)
class Stand:
    gateway: Gateway
    family: Family
    upstream: Upstream


@asynccontextmanager
async def standing(setting: Setting) -> AsyncIterator[Stand]:
    async with (
        running_upstream(setting.folder, setting.cores) as upstream,
        running_gateway(setting.folder, setting.cores, watched=False, workers=WORKERS) as gateway,
    ):
        yield Stand(gateway, Family(gateway.process.pid, gateway.port), upstream)


async def workers_kill(setting: Setting, report: Report) -> None:
    """The scenario. It takes as long as the kills do."""
    async with standing(setting) as stand:
        await kill_workers(stand.gateway, stand.family, stand.upstream, report, kills=setting.many(KILLS))


async def control_kill(setting: Setting, report: Report) -> None:
    """The scenario. It takes as long as the kills do."""
    async with standing(setting) as stand:
        await kill_control(stand.gateway, stand.family, stand.upstream, report, kills=setting.many(CONTROL_KILLS))


async def reloads(setting: Setting, report: Report) -> None:
    """The scenario. It takes as long as the reloads do."""
    async with standing(setting) as stand:
        await reload(stand.gateway, stand.family, stand.upstream, report, times=setting.many(RELOADS))


async def one_key(setting: Setting, report: Report) -> None:
    """The scenario."""
    async with standing(setting) as stand:
        await ask_with_one_key(stand.gateway, stand.family, stand.upstream, report, seconds=setting.seconds)


async def probes(setting: Setting, report: Report) -> None:
    """The scenario."""
    async with standing(setting) as stand:
        await probe(stand.gateway, stand.family, stand.upstream, report, rounds=setting.many(ROUNDS))
