"""When nobody uses the gateway any more, and what of it is left then."""

import asyncio
import time

from soak.facts import Report
from soak.gateway import Footprint, Gateway, Upstream
from soak.processes import SoakError, becomes_true
from soak.setting import UPSTREAM_IDLE

PATIENCE = 15.0  # seconds, over the time that an idle connection is kept anyway
BETWEEN_LOOKS = 0.25  # seconds: longer than what the gateway does later, such as counting a request
NOT_LEFT = {
    "Downstream": "client connection",
    "UpstreamConnection": "upstream connection",
    "Forwarding": "forwarded request",
    "Tunnel": "tunnel",
    "Exchange": "request's record",
    "Task": "task",
}


async def until_at_rest(gateway: Gateway, upstream: Upstream, before: Footprint | None = None) -> Footprint:
    """What it holds when nothing goes on any more; or what it still holds when the patience is over.

    A gateway has tasks of its own, and some come and go, such as health checks: it waits until there are no more of
    them than `before`.

    Raises `SoakError` when it has not even given up its connections to the upstream by then.
    """
    gateway.operator.close()

    async def is_left_alone() -> bool:
        return (await upstream.counts())["connections"] == 0

    if not await becomes_true(is_left_alone, UPSTREAM_IDLE + PATIENCE):
        raise SoakError(f"the gateway still holds connections to the upstream: {await upstream.counts()}")
    deadline, last, footprint = time.monotonic() + PATIENCE, 0, await gateway.footprint()
    while time.monotonic() < deadline and not (footprint.descriptors == last and _is_at_rest(footprint, before)):
        await asyncio.sleep(BETWEEN_LOOKS)
        last, footprint = footprint.descriptors, await gateway.footprint()
    return footprint


def _is_at_rest(footprint: Footprint, before: Footprint | None) -> bool:
    tasks = footprint.alive["Task"]
    return footprint.alive.total() == tasks and (before is None or tasks <= before.alive["Task"])


def judge_rest(report: Report, before: Footprint, after: Footprint) -> None:
    """Two facts: descriptors, and all that is counted by name."""
    report.check(
        "no descriptor is left",
        after.descriptors == before.descriptors,
        f"{before.descriptors}, then {after.descriptors}",
    )
    left = [what for name, what in NOT_LEFT.items() if after.alive[name] > before.alive[name]]
    told = ", ".join(f"{after.alive[name]} {name}" for name in NOT_LEFT)
    report.check(f"no {', '.join(NOT_LEFT.values())} is left", not left, f"alive: {told}")
