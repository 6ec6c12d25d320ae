"""Thousands of idle connections and hundreds of slow writers, while an ordinary client asks as always.

Each slow writer is replaced as soon as it is cut off, so that there are always as many.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from soak.clients import Tally, going_on, steady_client
from soak.crowd import BATCH, Crowd, Limits
from soak.facts import Report
from soak.gateway import Footprint, Gateway, Upstream, running_gateway, running_upstream
from soak.processes import waited_for_core
from soak.rest import judge_rest, until_at_rest
from soak.setting import BLOCK_SLACK, MEMORY_SLACK, WITH_SHORT_IDLE, Setting

IDLE, SLOW_HEADS, SLOW_BODIES = 2_000, 250, 250
NORMAL_CLIENTS, NORMAL_INTERVAL = 4, 0.02  # seconds
ALLOWED_P99 = 20.0  # milliseconds
MAY_STAY = 0.25  # of the memory that they took: caches that were filled


async def idle(setting: Setting, report: Report, limits: Limits | None = None) -> None:
    """The scenario."""
    limits = limits or Limits()
    async with (
        running_upstream(setting.folder, setting.cores) as upstream,
        running_gateway(setting.folder, setting.cores, variables={**WITH_SHORT_IDLE, **limits.variables()}) as gateway,
    ):
        await gateway.operator.create_route("/load", upstream.url)
        before = await _open_and_close(gateway, upstream, setting.many(BATCH))
        crowd, tally = Crowd(gateway.port, limits), Tally()
        async with _held(setting, gateway, crowd, report) as held:
            normal = [
                steady_client(gateway.port, f"normal{number}", "/load/now", tally, interval=NORMAL_INTERVAL)
                for number in range(NORMAL_CLIENTS)
            ]
            pids = (gateway.process.pid, os.getpid())
            began = [waited_for_core(pid) for pid in pids]
            async with going_on(normal):
                await asyncio.sleep(setting.seconds)
            waited = [waited_for_core(pid) - before for pid, before in zip(pids, began, strict=True)]
        _judge_normal(report, tally)
        report.note(
            f"others had the core while the gateway ({waited[0]:.2f} s) or the clients ({waited[1]:.2f} s) wanted it"
        )
        crowd.heads.tell(report, "slow heads")
        crowd.bodies.tell(report, "bodies that stop")
        crowd.idle.tell(report, "idle connections")
        after = await until_at_rest(gateway, upstream, before)
        judge_rest(report, before, after)
        again = await _open_and_close(gateway, upstream, setting.many(IDLE))
        _judge_memory(report, before, held, after, again)


async def _open_and_close(gateway: Gateway, upstream: Upstream, count: int) -> Footprint:
    """What is left of so many clients."""
    for stream, _ in await Crowd(gateway.port, Limits()).open_idle(count):
        stream.close()
    return await until_at_rest(gateway, upstream)


@asynccontextmanager
async def _held(setting: Setting, gateway: Gateway, crowd: Crowd, report: Report) -> AsyncIterator[Footprint]:
    """The whole crowd while the block lasts, then until all of it was cut off. Gives what it costs."""
    slow = [crowd.write_heads] * setting.many(SLOW_HEADS) + [crowd.write_bodies] * setting.many(SLOW_BODIES)
    async with asyncio.TaskGroup() as ending, going_on(slow):
        opened = await crowd.open_idle(setting.many(IDLE))
        for stream, since in opened:
            ending.create_task(crowd.await_end(stream, since))
        await asyncio.sleep(max(crowd.heads.limit, crowd.bodies.limit) / 2)  # by then all slow ones are there
        held, wanted = await gateway.footprint(), len(opened) + len(slow)
        told = f"{len(opened)} idle and {len(slow)} slow, {held.descriptors} descriptors"
        report.check("the crowd is there", held.descriptors >= wanted, told)
        yield held


def _judge_normal(report: Report, tally: Tally) -> None:
    report.none("failed request of an ordinary client", tally.failures, of=f"{tally.answered} requests")
    p99 = tally.percentile(0.99)
    found = f"{p99:.1f} ms (p50 {tally.percentile(0.5):.1f}, longest {tally.percentile(1.0):.1f})"
    report.check(f"its p99 stays under {ALLOWED_P99:g} ms", p99 < ALLOWED_P99, found, needs_quiet=True)


def _judge_memory(report: Report, before: Footprint, held: Footprint, after: Footprint, again: Footprint) -> None:
    """By Python's own count, and by the process's size, of which the allocator keeps something for the next time."""
    took, stays = held.blocks - before.blocks, after.blocks - before.blocks
    report.check(
        "memory falls back",
        stays < took * MAY_STAY + BLOCK_SLACK,
        f"{took} blocks more while they were held, {stays} afterwards",
    )
    report.check(
        "resident memory too, but for what the allocator keeps",
        after.resident - before.resident < MEMORY_SLACK,
        f"{before.megabytes:.1f} MB before, {held.megabytes:.1f} with all of them, {after.megabytes:.1f} after",
    )
    report.check(
        "the same again leaves nothing more",
        again.blocks - after.blocks < BLOCK_SLACK and again.descriptors == before.descriptors,
        f"{again.blocks - after.blocks:+} blocks, {again.megabytes:.1f} MB, {again.descriptors} descriptors",
    )
