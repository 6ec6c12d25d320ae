"""A circuit that is half open, and 200 requests at one moment over all workers: as many probes as it allows pass."""

import asyncio
from collections import Counter

from soak.clients import Client
from soak.facts import Report
from soak.family import Family
from soak.gateway import Gateway, Upstream

REQUESTS = 200
PROBES = 3
THRESHOLD = 3
RECOVERY = 0.3  # seconds
ANSWER_AFTER = 1_000  # milliseconds: until all the others are refused
CIRCUIT = {"failure_threshold": THRESHOLD, "recovery_timeout": RECOVERY, "half_open_max_calls": PROBES}


async def probe(gateway: Gateway, family: Family, upstream: Upstream, report: Report, *, rounds: int) -> None:
    """So often: the circuit opens, recovers, is asked by all at once, and closes."""
    service = await gateway.operator.create("services", name="probed", base_url=upstream.url, circuit_breaker=CIRCUIT)
    await gateway.operator.create("routes", path="/probed", service_id=service["id"], auth="none")
    clients = [Client(gateway.port, f"client{number}") for number in range(REQUESTS)]
    for client in clients:  # a connection for each, before the moment comes
        await client.ask("/probed/now", client.next_id())
    held = [len(family.clients_of(pid)) for pid in family.members("worker")]
    reached, statuses = list[int](), Counter[int]()
    for _ in range(rounds):
        for _ in range(THRESHOLD):
            await clients[0].ask("/probed/fail", clients[0].next_id())
        await asyncio.sleep(RECOVERY)
        before = (await upstream.counts())["requests"]
        asked = [client.ask(f"/probed/wait-{ANSWER_AFTER}", client.next_id()) for client in clients]
        statuses += Counter(answer.status for answer in await asyncio.gather(*asked))
        reached.append((await upstream.counts())["requests"] - before)
    for client in clients:
        client.close()
    report.check(
        f"a half-open circuit lets {PROBES} probes of {REQUESTS} requests pass",
        set(reached) == {PROBES},
        f"{sorted(set(reached))} in {rounds} rounds; answers {dict(statuses)}",
    )
    circuit = await gateway.operator.call("GET", f"/api/circuit-breakers/{service['id']}")
    report.check("their success closes it", circuit["state"] == "closed", circuit["state"])
    report.check("every worker had some of them", all(held), f"{held} connections")
