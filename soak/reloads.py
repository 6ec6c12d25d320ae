"""Reloads under load, by SIGHUP: not one request may fail, also of those who connect anew each time."""

import asyncio
import os
import signal
import time
from statistics import median

from soak.clients import Client, Tally, Work, ask_and_check, going_on, pause
from soak.facts import Report
from soak.family import Family
from soak.gateway import Gateway, Upstream
from soak.processes import until

CLIENTS = 12
NEWCOMERS = 4
RELOADED = "microgateway: reloaded\n"
LONGEST_RELOAD = 60.0  # seconds; other work may go on


def asking(port: int, name: str, tally: Tally, rest: float, *, anew: bool) -> Work:
    """GET and POST in turn; `anew`: on a new connection each time."""

    async def run(over: asyncio.Event) -> None:
        client = Client(port, name)
        while not over.is_set():
            await ask_and_check(client, "/reloads/now", tally)
            if anew:
                client.close()
            await ask_and_check(client, "/reloads/now", tally, method="POST", body=b"x")
            if anew:
                client.close()
            await pause(over, rest)
        client.close()

    return run


async def reload(
    gateway: Gateway,
    family: Family,
    upstream: Upstream,
    report: Report,
    *,
    times: int,
    clients: int = CLIENTS,
    rest: float = 0.0,
) -> None:
    """So many times. `rest` is seconds between an answer and the same client's next request."""
    await gateway.operator.create_route("/reloads", upstream.url)
    tally, took = Tally(), list[float]()
    busy = [asking(gateway.port, f"client{n}", tally, rest, anew=False) for n in range(clients)]
    busy += [asking(gateway.port, f"newcomer{n}", tally, rest, anew=True) for n in range(NEWCOMERS)]
    exchanged = 0
    async with going_on(busy):
        for _ in range(times):
            began, before = time.monotonic(), family.members("worker")
            await _reload_once(gateway, family, len(before))
            took.append(time.monotonic() - began)
            exchanged += not set(before) & set(family.members("worker"))
    gateway.operator.close()
    report.none("failed or refused request", tally.failures, of=f"{tally.answered} requests")
    report.check(
        "every reload exchanged all workers",
        exchanged == times,
        f"{exchanged} of {times} reloads; {median(took):.1f} s each, at most {max(took):.1f} s",
    )
    report.note(
        f"p50 {tally.percentile(0.5):.1f} ms, p99 {tally.percentile(0.99):.1f} ms, longest {tally.percentile(1):.0f} ms"
    )


async def _reload_once(gateway: Gateway, family: Family, workers: int) -> None:
    """Until it has told so, and the old workers have ended."""
    told = gateway.process.said.count(RELOADED)
    os.kill(family.root, signal.SIGHUP)
    await until(lambda: gateway.process.said.count(RELOADED) > told, "it has reloaded", LONGEST_RELOAD)
    await until(lambda: len(family.members("worker")) == workers, "the old workers have ended")
