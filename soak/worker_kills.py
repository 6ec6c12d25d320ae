"""`kill -9` for a worker under load, again and again: what was in flight on it may fail, and nothing else may be felt.

A worker is stopped for the moment in which it is looked up which connections it has, and killed where it stands: that
is anywhere, within a lock too. Two keys are in use. The deep one has so many tokens that it never runs out, so what is
missing from its bucket at the end is the number of tokens that were taken. The narrow one is asked for more than it
has: it is what a paper bucket of its rate and burst would have given.
"""

import asyncio
import os
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from soak.clients import Client, Work, describe, going_on, is_good, pause
from soak.facts import Report
from soak.family import Family, is_stopped
from soak.gateway import Gateway, Operator, Upstream
from soak.messages import BrokenError, read_answer, request
from soak.processes import until
from soak.stream import GoneError, Stream

CLIENTS = 32
NARROW_CLIENTS = 8
DEEP = {"requests_per_minute": 1, "burst_size": 1_000_000_000}
NARROW = {"requests_per_minute": 12_000, "burst_size": 100}
LIFE = 1.2  # seconds between two kills: each worker serves for twice as long
LEAST_SHARE = 0.99
AFTER_429 = 0.01  # seconds
BACK_WITHIN = 1.0  # seconds
JUDGED_BY_RATE = {"trip": "rate"}  # so that every request changes the circuit, under its lock


@dataclass(slots=True)
class Seen:
    """What the clients of one key were answered. `failed` are the ports of the connections on which requests failed."""

    statuses: Counter[int] = field(default_factory=Counter)
    failed: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    longest: float = 0.0

    async def ask(self, client: Client) -> int:
        """One request; its status, 0 where it failed."""
        request_id, began = client.next_id(), time.monotonic()
        try:
            answer = await client.ask("/load/now", request_id)
        except (GoneError, BrokenError, TimeoutError):
            self.failed.append(client.port)
            return 0
        self.longest = max(self.longest, time.monotonic() - began)
        if not answer.complete:
            self.failed.append(client.port)
            return 0
        self.statuses[answer.status] += 1
        if answer.status != 429 and not is_good(answer, request_id):
            self.wrong.append(describe(answer))
        return answer.status


def asking(port: int, name: str, key: str, seen: Seen, rest: float) -> Work:
    async def run(over: asyncio.Event) -> None:
        client = Client(port, name, [f"X-API-Key: {key}"])
        while not over.is_set():
            status = await seen.ask(client)
            await pause(over, AFTER_429 if status == 429 else rest)
        client.close()

    return run


@dataclass(slots=True)
class Kills:
    """`held` are the clients' ports of connections that victims had; `back` is how long each place was empty."""

    held: list[int] = field(default_factory=list)
    back: list[float] = field(default_factory=list)

    async def make_one(self, family: Family) -> None:
        workers = family.members("worker")
        victim = workers[0]
        os.kill(victim, signal.SIGSTOP)
        await until(lambda: is_stopped(victim), "the worker stands still")
        self.held += family.clients_of(victim)
        began = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        await _another_serves(family, workers)
        self.back.append(time.monotonic() - began)
        await asyncio.sleep(max(0.0, began + LIFE - time.monotonic()))


async def _another_serves(family: Family, before: list[int]) -> None:
    """Until a worker that was not there before has answered."""
    served = False
    while not served:
        stream = await Stream.connect(family.port)
        try:
            await stream.send(request("/open/now/probe-0"))
            answer = await read_answer(stream)
            new = set(family.members("worker")).difference(before)
            served = answer.status == 200 and any(stream.port in family.clients_of(pid) for pid in new)
        except (GoneError, BrokenError):
            served = False  # the victim had taken it
        finally:
            stream.close()
        await asyncio.sleep(0.005)


async def kill_workers(
    gateway: Gateway,
    family: Family,
    upstream: Upstream,
    report: Report,
    *,
    kills: int,
    clients: int = CLIENTS,
    rest: float = 0.0,
) -> None:
    """So many times. `rest` is seconds between an answer and the same client's next request."""
    operator = gateway.operator
    service = await operator.create_route("/load", upstream.url, **JUDGED_BY_RATE)
    keyed = await operator.create("routes", path="/load/now", service_id=service["id"])
    await operator.create("routes", path="/open", service_id=service["id"], auth="none")
    keys = {name: await operator.create("keys", name=name, **limit) for name, limit in limits().items()}
    deep, narrow, made = Seen(), Seen(), Kills()
    busy = [asking(gateway.port, f"deep{n}", keys["deep"]["key"], deep, rest) for n in range(clients)]
    busy += [asking(gateway.port, f"narrow{n}", keys["narrow"]["key"], narrow, 0.0) for n in range(NARROW_CLIENTS)]
    began = time.monotonic()
    async with going_on(busy):
        for _ in range(kills):
            await made.make_one(family)
    took = time.monotonic() - began
    _tell_failures(report, made, deep, narrow)
    await _tell_deep(report, gateway, keys["deep"]["key"], deep, took)
    _tell_narrow(report, narrow, took)
    worst = max(made.back)
    report.check(
        f"another worker serves within {BACK_WITHIN:g} s of each kill",
        worst < BACK_WITHIN,
        f"{kills} kills; {median(made.back):.2f} s, at most {worst:.2f} s",
        needs_quiet=True,
    )
    restarts = await _restarts(operator)
    report.check("every restart is counted", restarts >= kills, f"{restarts} restarts")
    report.note(f"{deep.statuses[200] / took:.0f} requests a second; the longest took {deep.longest * 1_000:.0f} ms")
    await operator.delete("routes", keyed["id"])


def limits() -> dict[str, dict[str, int]]:
    return {"deep": DEEP, "narrow": NARROW}


def _tell_failures(report: Report, made: Kills, deep: Seen, narrow: Seen) -> None:
    failed, held = Counter(deep.failed + narrow.failed), Counter(made.held)
    elsewhere = [f"port {port}" for port in (failed - held)]
    total = deep.statuses.total() + narrow.statuses.total()
    report.none("request failed but those in flight on a worker that was killed", elsewhere, of=f"{total} requests")
    report.none("answer was wrong", deep.wrong + narrow.wrong, of=f"{total} answers")
    report.note(f"{failed.total()} requests failed, of {held.total()} connections to victims")


async def _tell_deep(report: Report, gateway: Gateway, key: str, seen: Seen, took: float) -> None:
    """A request in flight on a victim may have taken its token or not; every other one has, once."""
    client = Client(gateway.port, "last", [f"X-API-Key: {key}"])
    answer = await client.ask("/load/now", client.next_id())
    client.close()
    left = int(answer.get(b"x-ratelimit-remaining"))
    refilled = int(took * DEEP["requests_per_minute"] / 60)
    taken = DEEP["burst_size"] - left + refilled - 1
    answered, failed = seen.statuses[200], len(seen.failed)
    report.check(
        "no token was lost and none was won",
        answered <= taken <= answered + failed + 1,  # and the fraction of one that has come back
        f"{taken} taken, {answered} answered, {failed} failed",
    )


def _tell_narrow(report: Report, seen: Seen, took: float) -> None:
    most = NARROW["requests_per_minute"] / 60 * took + NARROW["burst_size"]
    admitted = seen.statuses[200]
    report.check("admitted ≤ rate·t + burst", admitted <= most, f"{admitted} of {most:.0f} admitted")
    report.check(
        f"admitted, with those in flight on victims, ≥ {LEAST_SHARE:.0%} of rate·t + burst",
        admitted + len(seen.failed) >= LEAST_SHARE * most,
        f"{(admitted + len(seen.failed)) / most:.1%}; {len(seen.failed)} failed, {seen.statuses[429]} refused",
        needs_quiet=True,
    )


async def _restarts(operator: Operator) -> int:
    health: dict[str, Any] = await operator.call("GET", "/health")
    return sum(process["restarts"] for process in health["processes"] if process["kind"] == "worker")
