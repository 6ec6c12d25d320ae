"""64 connections hammer one key over real sockets: what is admitted is what a bucket on paper admits.

Ten seconds of it, which the suite does not take: `python -m tests.data_plane.test_hammering 10`.
"""

import asyncio
import math
import sys
import time
from dataclasses import dataclass, field
from typing import cast

import uvloop

from microgateway.entities import RateLimitRule
from microgateway.testing import RunningProxy, serve
from tests.kit.configuration import key, limit_rule, route, service, settings

CONNECTIONS = 64
PER_MINUTE, BURST = 600, 20
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(slots=True)
class Hammering:
    """What the clients saw. `began` and `ended` are when the first request was sent, and the last, in seconds."""

    began: float = field(default_factory=time.monotonic)
    ended: float = 0.0
    admitted: int = 0
    refused: int = 0

    def on_paper(self) -> int:
        """What a bucket admits that was full in the beginning and is asked without pause."""
        return math.floor(BURST + (self.ended - self.began) * PER_MINUTE / 60)


class Upstream(asyncio.Protocol):
    """One answer for every head."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(OK * data.count(b"\r\n\r\n"))


async def hammer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes, seen: Hammering, seconds: float
) -> None:
    while (now := time.monotonic()) - seen.began < seconds:
        seen.ended = now
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        if head.startswith(b"HTTP/1.1 200 "):
            seen.admitted += 1
        else:
            assert head.startswith(b"HTTP/1.1 429 "), head
            seen.refused += 1
    writer.close()
    await writer.wait_closed()


async def hammered(seconds: float, *, per_minute: int, burst: int, rules: tuple[RateLimitRule, ...]) -> Hammering:
    upstream = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    issued = key(per_minute=per_minute, burst=burst)
    request = f"GET / HTTP/1.1\r\nHost: a\r\nX-API-Key: {issued.secret}\r\n\r\n".encode()
    url = f"http://127.0.0.1:{upstream.sockets[0].getsockname()[1]}"
    async with serve(
        services=[service(url)],
        routes=[route("/", auth="required")],
        keys=[issued.entity],
        rate_limits=rules,
        settings=settings(),
    ) as proxy:
        clients = [await asyncio.open_connection("127.0.0.1", proxy.port) for _ in range(CONNECTIONS)]
        seen = Hammering()
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
    assert seen.refused > 1_000, "this was no hammering"
    assert abs(seen.admitted - seen.on_paper()) <= 1


async def test_a_key_s_own_limit() -> None:
    assert_as_on_paper(await hammered(2.0, per_minute=PER_MINUTE, burst=BURST, rules=()))


async def test_a_rule_s_limit() -> None:
    rule = limit_rule(count_by="key", per_minute=PER_MINUTE, burst=BURST)
    assert_as_on_paper(await hammered(2.0, per_minute=1_000_000, burst=1_000_000, rules=(rule,)))


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
