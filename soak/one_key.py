"""64 connections over all workers with one key: together they get what one bucket gives, and no token more."""

import asyncio
import time
from collections import Counter

from soak.clients import Client, Work, going_on
from soak.facts import Report
from soak.family import Family
from soak.gateway import Gateway, Upstream

CONNECTIONS = 64
LIMIT = {"requests_per_minute": 60_000, "burst_size": 500}
LEAST_SHARE = 0.99


def asking(port: int, name: str, key: str, statuses: Counter[int]) -> Work:
    async def run(over: asyncio.Event) -> None:
        client = Client(port, name, [f"X-API-Key: {key}"])
        while not over.is_set():
            statuses[(await client.ask("/one/now", client.next_id())).status] += 1
        client.close()

    return run


async def ask_with_one_key(
    gateway: Gateway, family: Family, upstream: Upstream, report: Report, *, seconds: float
) -> None:
    """For so many seconds, as fast as answers come."""
    service = await gateway.operator.create("services", name="one key", base_url=upstream.url)
    await gateway.operator.create("routes", path="/one", service_id=service["id"])
    key = await gateway.operator.create("keys", name="one key", **LIMIT)
    statuses, held = Counter[int](), dict[int, int]()
    clients = [asking(gateway.port, f"client{n}", key["key"], statuses) for n in range(CONNECTIONS)]
    began = time.monotonic()
    async with going_on(clients):
        await asyncio.sleep(seconds)
        held = {pid: len(family.clients_of(pid)) for pid in family.members("worker")}
        asked_for = time.monotonic() - began
    took = time.monotonic() - began  # the last answers may have come after the last look at the clock
    rate, burst = LIMIT["requests_per_minute"] / 60, LIMIT["burst_size"]
    admitted = statuses[200]
    report.check(
        "admitted ≤ rate·t + burst",
        admitted <= rate * took + burst,
        f"{admitted} of {rate * took + burst:.0f} in {took:.2f} s",
    )
    report.check(
        f"admitted ≥ {LEAST_SHARE:.0%} of rate·t + burst",
        admitted >= LEAST_SHARE * (rate * asked_for + burst),
        f"{admitted / (rate * asked_for + burst):.2%}; {statuses[429]} refused",
        needs_quiet=True,
    )
    report.check("no other answer", set(statuses) <= {200, 429}, f"{dict(statuses)}")
    report.check("every worker had some of them", all(held.values()), f"{list(held.values())} connections")
