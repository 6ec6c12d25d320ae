"""Clients that hang up, two hundred a second, at any point and in any way: nothing of them is to stay."""

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field

from soak.clients import Client, Tally, Work, going_on, is_good, pause, steady_client
from soak.facts import Report
from soak.gateway import Footprint, running_gateway, running_upstream
from soak.messages import read_answer, request
from soak.rest import judge_rest, until_at_rest
from soak.setting import BLOCK_SLACK, MEMORY_SLACK, WITH_SHORT_IDLE, Setting
from soak.stream import GoneError, Stream

ABORTS_PER_SECOND = 200
KEPT_PACE = 0.95
NORMAL_CLIENTS, NORMAL_INTERVAL = 4, 0.02  # seconds
BODY = b"b" * 100_000
FRAGILE = {"failure_threshold": 1, "recovery_timeout": 0.1, "half_open_max_calls": 2}
ADMITS_WITHIN = 5.0  # seconds; a client that hung up with a FIN counts as gone after one
WARM_UP = 0.2  # of the time: what is allocated by then is not a leak


@dataclass(slots=True)
class Done:
    """What was done. `circuits`: how often a half-open circuit lost its probes; `held` of them refused a third one."""

    aborts: Counter[str] = field(default_factory=Counter)
    circuits: int = 0
    held: int = 0
    wedged: list[str] = field(default_factory=list)


class Aborting:
    """One client that hangs up, in one of these ways."""

    def __init__(self, port: int, done: Done) -> None:
        self._port = port
        self._done = done
        self._random = random.Random(1)  # noqa: S311
        self._ways = {
            "nothing sent": self._nothing,
            "in the head": self._in_head,
            "in the body": self._in_body,
            "in a chunk": self._in_chunk,
            "while waiting": self._waiting,
            "at the end of the request": self._at_once,
            "in a short answer": self._in_answer,
            "in a long answer": self._in_long_answer,
            "between two requests": self._between,
            "in a second request": self._pipelined,
        }

    async def one(self) -> None:
        way = self._random.choice(tuple(self._ways))
        reset = self._random.random() < 0.5
        stream = await Stream.connect(self._port)
        try:
            await self._ways[way](stream)
        except GoneError:
            return  # the gateway was quicker, which is its right
        finally:
            stream.close(reset=reset)
            self._done.aborts[f"{way}, {'RST' if reset else 'FIN'}"] += 1

    async def _nothing(self, stream: Stream) -> None:
        await self._moment()

    async def _in_head(self, stream: Stream) -> None:
        head = request("/load/now/in-head", "X-Some: field")
        await stream.send(head[: self._random.randrange(1, len(head))])
        await self._moment()

    async def _in_body(self, stream: Stream) -> None:
        head = request("/load/now/in-body", f"Content-Length: {len(BODY)}", method="POST")
        await stream.send(head + BODY[: self._random.randrange(0, len(BODY))])
        await self._moment()

    async def _in_chunk(self, stream: Stream) -> None:
        head = request("/load/now/in-chunk", "Transfer-Encoding: chunked", method="POST")
        await stream.send(head + b"3e8\r\n" + BODY[: self._random.randrange(0, 1_000)])
        await self._moment()

    async def _waiting(self, stream: Stream) -> None:
        await stream.send(request("/load/wait-300/waiting"))
        await self._moment(0.3)

    async def _at_once(self, stream: Stream) -> None:
        await stream.send(request("/load/now/at-once"))

    async def _in_answer(self, stream: Stream) -> None:
        await stream.send(request("/load/trickle-300/in-answer"))
        await stream.read_some()
        await self._moment(0.25)

    async def _in_long_answer(self, stream: Stream) -> None:
        await stream.send(request("/load/kilobytes-1000/in-long-answer"))
        await stream.read_some()
        await self._moment()

    async def _between(self, stream: Stream) -> None:
        await stream.send(request("/load/now/between"))
        await self._answer(stream)
        await self._moment()

    async def _pipelined(self, stream: Stream) -> None:
        await stream.send(request("/load/now/first") + request("/load/wait-300/second") + request("/load/now/third"))
        await self._answer(stream)
        await self._moment()

    async def _answer(self, stream: Stream) -> None:
        await read_answer(stream)

    async def _moment(self, longest: float = 0.05) -> None:
        await asyncio.sleep(self._random.uniform(0, longest))


async def hang_up(aborting: Aborting, seconds: float, per_second: float) -> float:
    """So many a second; the seconds that it really took."""
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(round(seconds * per_second)):
            group.create_task(aborting.one())
            await asyncio.sleep(max(0.0, began + (number + 1) / per_second - time.monotonic()))
        return time.monotonic() - began


def probes_abandoned(port: int, done: Done) -> Work:
    """A circuit that trips, goes half-open, and loses its probes' clients; again and again. It must admit again."""

    async def run(over: asyncio.Event) -> None:
        client = Client(port, "circuit")
        while not over.is_set() and not done.wedged:
            await _abandon_probes(port, client, done)
            if not await _admits(client):
                done.wedged.append(f"time {done.circuits}")
            await pause(over, 0.1)
        client.close()

    return run


async def _abandon_probes(port: int, client: Client, done: Done) -> None:
    await client.ask("/fragile/fail", client.next_id())
    await asyncio.sleep(FRAGILE["recovery_timeout"])
    probes = [await Stream.connect(port) for _ in range(int(FRAGILE["half_open_max_calls"]))]
    for number, probe in enumerate(probes):
        await probe.send(request(f"/fragile/wait-2000/probe-{number}"))
    await asyncio.sleep(random.uniform(0.02, 0.1))  # noqa: S311
    one_more = await client.ask("/fragile/now", client.next_id())
    done.held += one_more.status == 503
    for probe in probes:
        probe.close(reset=done.circuits % 2 == 0)
    done.circuits += 1


async def _admits(client: Client) -> bool:
    """Whether enough requests pass, one after the other, for the circuit to close."""
    deadline, passed = time.monotonic() + ADMITS_WITHIN, 0
    while passed < FRAGILE["half_open_max_calls"] and time.monotonic() < deadline:
        request_id = client.next_id()
        answer = await client.ask("/fragile/now", request_id)
        passed += is_good(answer, request_id)
        await asyncio.sleep(0.02)
    return passed >= FRAGILE["half_open_max_calls"]


async def aborts(setting: Setting, report: Report) -> None:
    """The scenario."""
    done, tally, rate = Done(), Tally(), ABORTS_PER_SECOND * setting.scale
    async with (
        running_upstream(setting.folder, setting.cores) as upstream,
        running_gateway(setting.folder, setting.cores, variables=WITH_SHORT_IDLE) as gateway,
    ):
        await gateway.operator.create_route("/load", upstream.url)
        await gateway.operator.create_route("/fragile", upstream.url, **FRAGILE)
        aborting = Aborting(gateway.port, done)
        work = [
            steady_client(gateway.port, f"normal{number}", "/load/now", tally, interval=NORMAL_INTERVAL)
            for number in range(NORMAL_CLIENTS)
        ]
        work.append(probes_abandoned(gateway.port, done))
        async with going_on(work):
            await hang_up(aborting, setting.seconds * WARM_UP, rate)
        before = await until_at_rest(gateway, upstream)
        done.aborts.clear()
        async with going_on(work):
            took = await hang_up(aborting, setting.seconds, rate)
        _judge_doing(report, done, tally, took, rate)
        after, counts = await until_at_rest(gateway, upstream, before), await upstream.counts()
        judge_rest(report, before, after)
        report.check("the upstream serves nobody any more", counts["active"] == 0, f"{counts}")
        _judge_memory(report, before, after)


def _judge_doing(report: Report, done: Done, tally: Tally, took: float, rate: float) -> None:
    total = done.aborts.total()
    report.check(
        f"{rate:.0f} aborts a second",
        total / took >= rate * KEPT_PACE,
        f"{total} in {took:.1f} s, in {len(done.aborts)} ways",
        needs_quiet=True,
    )
    report.none("failed request of an ordinary client", tally.failures, of=f"{tally.answered} requests")
    report.check(
        "probes that were abandoned had held every permit", done.held > 0, f"{done.held} of {done.circuits} times"
    )
    report.none("half-open circuit that stays shut", done.wedged, of=f"{done.circuits} whose probes were abandoned")


def _judge_memory(report: Report, before: Footprint, after: Footprint) -> None:
    report.check(
        "what Python has allocated stays the same",
        after.blocks - before.blocks < BLOCK_SLACK,
        f"{before.blocks} blocks, then {after.blocks}",
    )
    report.check(
        "resident memory stays the same",
        after.resident - before.resident < MEMORY_SLACK,
        f"{before.megabytes:.1f} MB, then {after.megabytes:.1f}",
    )
