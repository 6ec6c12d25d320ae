"""64 connections hammer one key over real sockets: what is admitted is what a bucket on paper admits.

Ten seconds of it, which the suite does not take: `python -m tests.data_plane.test_hammering 10`.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import cast

import uvloop

from microgateway.entities import RateLimitRule
from microgateway.exchange import Exchange
from microgateway.testing import RunningProxy, serve
from tests.kit.configuration import key, limit_rule, route, service, settings

CONNECTIONS = 64
PER_MINUTE, BURST = 600, 20
ENOUGH = 1_000  # refused: less is no hammering
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(slots=True)
class Hammering:
    """What the clients saw, and when the gateway judged each of their requests, in seconds."""

    began: float = 0.0
    ended: float = 0.0
    admitted: int = 0
    refused: int = 0
    judged: list[float] = field(default_factory=list)

    def sink(self, exchanges: Sequence[Exchange]) -> None:
        self.judged.extend(exchange.started for exchange in exchanges)

    def on_paper(self) -> int:
        """What a bucket of fractions, full in the beginning, admits of requests that come at these moments."""
        left, admitted, before = Fraction(BURST), 0, Fraction(min(self.judged))
        for moment in map(Fraction, sorted(self.judged)):
            left, before = min(Fraction(BURST), left + (moment - before) * PER_MINUTE / 60), moment
            if left >= 1:
                left, admitted = left - 1, admitted + 1
        return admitted

    def at_most(self) -> float:
        """The promise, by the clients' clock: rate times time, and the burst."""
        return BURST + (self.ended - self.began) * PER_MINUTE / 60


class Upstream(asyncio.Protocol):
    """One answer for every head."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(OK * data.count(b"\r\n\r\n"))


async def hammer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes, seen: Hammering, seconds: float
) -> None:
    while time.monotonic() - seen.began < seconds or seen.refused <= ENOUGH:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        if head.startswith(b"HTTP/1.1 200 "):
            seen.admitted += 1
        else:
            assert head.startswith(b"HTTP/1.1 429 "), head
            seen.refused += 1
        seen.ended = time.monotonic()
    writer.close()
    await writer.wait_closed()


async def hammered(seconds: float, *, per_minute: int, burst: int, rules: tuple[RateLimitRule, ...]) -> Hammering:
    upstream = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    issued = key(per_minute=per_minute, burst=burst)
    request = f"GET / HTTP/1.1\r\nHost: a\r\nX-API-Key: {issued.secret}\r\n\r\n".encode()
    seen = Hammering()
    url = f"http://127.0.0.1:{upstream.sockets[0].getsockname()[1]}"
    async with serve(
        services=[service(url)],
        routes=[route("/", auth="required")],
        keys=[issued.entity],
        rate_limits=rules,
        settings=settings(),
        sinks=[seen.sink],
    ) as proxy:
        clients = [await asyncio.open_connection("127.0.0.1", proxy.port) for _ in range(CONNECTIONS)]
        seen.began = time.monotonic()
        await asyncio.gather(*(hammer(*client, request, seen, seconds) for client in clients))
        assert_counted(proxy, seen, rules)
    upstream.close()
    return seen


def assert_counted(proxy: RunningProxy, seen: Hammering, rules: tuple[RateLimitRule, ...]) -> None:
    """The gateway's own counters say what the clients saw."""
    usage = proxy.usage.keys["key"]
    assert (usage.total_requests, usage.rejected_requests) == (seen.admitted + seen.refused, seen.refused)
    for rule in rules:
        room = proxy.limiter.room(rule.id)
        assert (room.admitted, room.refused) == (seen.admitted, seen.refused)


def assert_as_on_paper(seen: Hammering) -> None:
    assert seen.refused > ENOUGH
    assert len(seen.judged) == seen.admitted + seen.refused
    assert abs(seen.admitted - seen.on_paper()) <= 1
    assert seen.admitted <= seen.at_most()


async def test_a_key_s_own_limit() -> None:
    assert_as_on_paper(await hammered(1.0, per_minute=PER_MINUTE, burst=BURST, rules=()))


async def test_a_rule_s_limit() -> None:
    rule = limit_rule(count_by="key", per_minute=PER_MINUTE, burst=BURST)
    assert_as_on_paper(await hammered(1.0, per_minute=1_000_000, burst=1_000_000, rules=(rule,)))


def main(seconds: float) -> None:
    rule = limit_rule(count_by="key", per_minute=PER_MINUTE, burst=BURST)
    for name, per_minute, burst, rules in (
        ("key", PER_MINUTE, BURST, ()),
        ("rule", 1_000_000, 1_000_000, (rule,)),
    ):
        seen = uvloop.run(hammered(seconds, per_minute=per_minute, burst=burst, rules=rules))
        sys.stdout.write(f"{name}: admitted {seen.admitted}, refused {seen.refused}, on paper {seen.on_paper()}\n")
        assert_as_on_paper(seen)


if __name__ == "__main__":
    main(float(sys.argv[1]))
