"""Twenty changes of the configuration a second, under load: nobody who sends requests is to notice."""

import asyncio
import time
from typing import Any

from soak import marks
from soak.clients import Client, Tally, Work, ask_and_check, going_on
from soak.facts import Report
from soak.gateway import Gateway, Upstream, running_gateway, running_upstream
from soak.setting import WITH_SHORT_IDLE, Setting

CHANGES_PER_SECOND = 20
CLIENTS = 24
KEPT_PACE = 0.95
BODY = b"x" * 1_000


class Changes:
    """One change after the other: the service moves between two upstreams, and everything else comes and goes."""

    def __init__(self, gateway: Gateway, service: dict[str, Any], upstreams: tuple[Upstream, Upstream]) -> None:
        self._operator = gateway.operator
        self._service_id = service["id"]
        self._upstreams = upstreams
        self.made = 0

    async def make_one(self) -> None:
        operator, number = self._operator, self.made
        match number % 5:
            case 0:
                await operator.change("services", self._service_id, base_url=self._upstreams[(number // 5 + 1) % 2].url)
            case 1:
                route = await operator.create(
                    "routes", path=f"/load/now/other-{number}", service_id=self._service_id, methods=["DELETE"]
                )
                self._route_id = route["id"]
            case 2:
                await operator.delete("routes", self._route_id)
            case 3:
                key = await operator.create("keys", name=f"key {number}")
                self._key_id = key["id"]
            case 4:
                await operator.delete("keys", self._key_id)
        self.made += 1

    async def go_on(self, seconds: float) -> float:
        """The seconds that it really took."""
        began = time.monotonic()
        for number in range(round(seconds * CHANGES_PER_SECOND)):
            await self.make_one()
            await asyncio.sleep(max(0.0, began + (number + 1) / CHANGES_PER_SECOND - time.monotonic()))
        return time.monotonic() - began


def busy_client(port: int, name: str, tally: Tally) -> Work:
    """GET and POST in turn, without a pause: what is not idempotent can't be saved by trying again."""

    async def run(over: asyncio.Event) -> None:
        client = Client(port, name)
        while not over.is_set():
            await ask_and_check(client, "/load/now", tally)
            await ask_and_check(client, "/load/now", tally, method="POST", body=BODY)
        client.close()

    return run


async def swap(setting: Setting, report: Report) -> None:
    """The scenario."""
    folder, cores, tally = setting.folder, setting.cores, Tally()
    async with (
        running_upstream(folder, cores, "first") as first,
        running_upstream(folder, cores, "second") as second,
        running_gateway(folder, cores, variables=WITH_SHORT_IDLE) as gateway,
    ):
        changes = Changes(gateway, await gateway.operator.create_route("/load", first.url), (first, second))

        clients = [busy_client(gateway.port, f"client{number}", tally) for number in range(setting.many(CLIENTS))]
        async with going_on(clients):
            took = await changes.go_on(setting.seconds)
        counts = [await upstream.counts() for upstream in (first, second)]
    told = [count["requests"] for count in counts]
    report.none("failed request while the configuration changes", tally.failures, of=f"{tally.answered} requests")
    report.check(
        "every request reached the service exactly once",
        sum(told) == tally.answered and sum(count["body_bytes"] for count in counts) == tally.answered // 2 * len(BODY),
        f"{tally.answered} answered, {told[0]} + {told[1]} came to the two upstreams",
    )
    report.check("both upstreams were in use", min(told) > 0, f"{told[0]} and {told[1]} requests")
    pace = changes.made / took
    report.check(
        f"{CHANGES_PER_SECOND} changes a second",
        pace >= CHANGES_PER_SECOND * KEPT_PACE,
        f"{changes.made} in {took:.1f} s, {pace:.1f} a second",
        needs_quiet=True,
    )
    report.note(
        f"{tally.answered / took:.0f} requests a second; p50 {tally.percentile(0.5):.1f} ms, "
        f"p99 {tally.percentile(0.99):.1f} ms; an answer has {len(marks.body('client0-0'))} bytes"
    )
