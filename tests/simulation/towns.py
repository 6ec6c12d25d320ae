"""Random gateways, each with services that listen, and random requests for them, over real sockets."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from microgateway.control_plane.gateway_requests import GatewayRequest
from microgateway.entities import RateLimitRule, Route, Service
from microgateway.simulation.telling import asked_of
from microgateway.snapshot import Principal
from microgateway.testing import FakeClock, RunningProxy, serve
from tests.kit.configuration import IssuedKey, key, limit_rule, route, service, settings

METHODS = ("GET", "POST", "HEAD", "OPTIONS", "DELETE")
PATHS = ("/", "/a", "/a/b", "/a/b/c", "/x", "/x/1", "/x/1/y", "/nowhere", "/a//b", "/A")
ODD_PATHS = (
    "/a/./b",
    "/a/../x",
    "/a%2Fb",
    "/%61",
    "/a/%2e%2e/x",
    "//",
    "/a b",
    "/a;v=1",
    "*",
    "http://other.example/a",
)
PATTERNS = ("/", "/a", "/a/b", "/x/{id}", "/x/{id}/y", "/a/*")
HOSTS = ("localhost", "a.example", "b.a.example", "other.example")
STATUSES = (200, 200, 200, 204, 404, 500, 503)
EXPIRED = "2020-01-01T00:00:00Z"
Fields = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Message:
    """A head and a body as they came; `start` is the first line."""

    start: str
    fields: Fields
    body: bytes


async def read_message(reader: asyncio.StreamReader, *, has_body: bool = True) -> Message | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    start, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    length = next((int(value) for name, value in fields if name.lower() == "content-length"), 0)
    return Message(start, fields, await reader.readexactly(length) if has_body else b"")


class _Closing:
    """Closes a connection to its end."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def aclose(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


class Upstream:
    """Keeps what came, and answers with the status that is set."""

    def __init__(self) -> None:
        self.received: list[Message] = []
        self.status = 200
        self.port = 0

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with contextlib.aclosing(_Closing(writer)):
            while (message := await read_message(reader)) is not None:
                self.received.append(message)
                body = b"" if self.status == 204 or message.start.startswith("HEAD ") else b"hello"
                length = b"" if self.status == 204 else b"Content-Length: 5\r\n"
                writer.write(b"HTTP/1.1 %d Said\r\nX-Own: yes\r\n%b\r\n%b" % (self.status, length, body))


@dataclass(slots=True)
class Town:
    """A gateway that runs, what it was made of, and a die. `upstream` is behind all its services."""

    served: RunningProxy
    clock: FakeClock
    upstream: Upstream
    keys: list[IssuedKey]
    dice: random.Random

    async def send(self, request: GatewayRequest) -> Message:
        """The same over a socket of its own."""
        octets = asked_of(request).octets("X-API-Key")
        reader, writer = await asyncio.open_connection("127.0.0.1", self.served.port)
        writer.write(octets)
        async with contextlib.aclosing(_Closing(writer)):
            answer = await read_message(reader, has_body=request.method != "HEAD")
        assert answer is not None, octets
        return answer

    def request(self) -> GatewayRequest:
        dice = self.dice
        headers: dict[str, str | list[str]] = {}
        for name, values in (
            ("X-Tenant", ("red", "blue", "x" * 80)),
            ("X-Forwarded-For", ("192.0.2.1", "192.0.2.2", "2001:db8::1", "nonsense, 192.0.2.9")),
            ("Origin", ("https://app.example", "https://evil.example")),
            ("Access-Control-Request-Method", ("GET", "PUT")),
            ("X-Version", ("1", "2")),
            ("Connection", ("close", "X-Tenant, keep-alive")),
            ("X-Forwarded-Proto", ("https",)),
            ("Content-Length", ("nonsense", "0")),
        ):
            if dice.random() < (0.05 if name == "Content-Length" else 0.25):
                headers[name] = dice.choice(values)
        method = dice.choice(METHODS)
        body = dice.choice((None, None, "short", "longer than ten")) if method == "POST" else None
        return GatewayRequest(
            method=dice.choice((*[method] * 40, "CONNECT", "G E T")) if body is None else method,
            path=dice.choice(ODD_PATHS) if dice.random() < 0.15 else dice.choice(PATHS),
            query=dice.choice((None, None, "v=1", "v=2&w")),
            host="no host" if dice.random() < 0.03 else dice.choice((None, None, None, *HOSTS, "A.Example:8080")),
            headers=headers,
            body=body,
            **self._credential(),
        )

    def _credential(self) -> dict[str, Any]:
        dice = self.dice
        chance = dice.random()
        if chance < 0.15:
            return {}
        if chance < 0.25:
            return {"api_key": dice.choice(("nonsense", "mgw_live_" + "a" * 36))}
        issued = dice.choice((self.keys[0], self.keys[0], self.keys[1], *self.keys))
        if chance < 0.45:
            principal = Principal.of_key(issued.entity)
            token = self.served.verifier.signer.issue(principal, self.clock.wall()).text
            return {"token": token if chance < 0.43 else token[:-2] + "xx"}
        return {"api_key": issued.secret}


@asynccontextmanager
async def random_town(seed: int) -> AsyncIterator[Town]:
    dice, clock, upstream = random.Random(seed), FakeClock(), Upstream()
    server = await asyncio.start_server(upstream.converse, "127.0.0.1", 0)
    upstream.port = server.sockets[0].getsockname()[1]
    services, keys = _services(dice, upstream.port), _keys(dice)
    routes = _routes(dice)
    configuration: dict[str, Any] = {
        "services": services,
        "routes": routes,
        "keys": [one.entity for one in keys],
        "rate_limits": _rules(dice, routes),
        "settings": settings(
            circuit_failure_threshold=2,
            circuit_half_open_max_calls=1,
            trusted_proxies="127.0.0.0/8" if dice.random() < 0.7 else "",
            debug=True,
        ),
    }
    async with server, serve(**configuration, clock=clock) as served:
        yield Town(served, clock, upstream, keys, dice)


def _services(dice: random.Random, port: int) -> list[Service]:
    base = f"http://127.0.0.1:{port}"
    several = [{"url": base + "/one", "weight": 2}, {"url": base + "/two", "weight": 1}]
    return [
        service(base, "plain", preserve_host=dice.random() < 0.5),
        service(base + "/base", "based", circuit_breaker={"trip": "rate", "minimum_calls": 3, "failure_rate": 0.5}),
        service(
            base,
            "several",
            targets=several,
            load_balancing=dice.choice(("round_robin", "least_requests", "consistent_hash")),
            hash_on=dice.choice(("key", "address")),
            when_unhealthy=dice.choice(("fail", "try_all")),
            passive_health={"consecutive_failures": 1, "largest_share": 1.0},
        ),
        service(base, "off", enabled=False),
        service(base, "forced", circuit_breaker={"mode": dice.choice(("forced_open", "disabled", "auto"))}),
    ]


def _routes(dice: random.Random) -> list[Route]:
    extras: list[tuple[float, dict[str, Any]]] = [
        (0.3, {"methods": dice.sample(METHODS[:3], 2)}),
        (0.3, {"hosts": dice.choice((["a.example"], ["*.a.example", "other.example"]))}),
        (0.25, {"headers": [{"name": "X-Version", **dice.choice(({"value": "1"}, {"present": False}))}]}),
        (0.15, {"query": [{"name": "v", "value": "1"}]}),
        (0.2, {"cors": {"allow_origins": ["https://app.example"]}}),
        (0.2, {"deny_addresses": ["192.0.2.1/32"]}),
        (0.2, {"max_body_bytes": 10}),
        (0.3, {"strip_prefix": True}),
        (0.3, {"request_headers": {"set": {"X-Tenant": "edited"}, "remove": ["Origin"]}}),
        (0.3, {"response_headers": {"set": {"X-Said": "so"}}}),
        (0.3, {"priority": 1}),
        (0.2, {"forward_credentials": True}),
    ]

    def one(number: int) -> Route:
        fields: dict[str, Any] = {}
        for chance, extra in extras:
            fields |= extra if dice.random() < chance else {}
        service_id = dice.choice(("plain", "plain", "based", "several", "several", "off", "forced"))
        auth = dice.choice(("required", "required", "none"))
        return route(dice.choice(PATTERNS), id=f"route{number}", service_id=service_id, auth=auth, **fields)

    return [one(number) for number in range(dice.randint(2, 9))]


def _keys(dice: random.Random) -> list[IssuedKey]:
    def limit() -> dict[str, int]:
        return {"per_minute": dice.choice((7, 60, 600)), "burst": dice.randint(1, 4)}

    return [
        key("ada", **limit()),
        key("bob", **limit(), services=["plain", "several"]),
        key("off", **limit(), enabled=False),
        key("old", **limit(), expires_at=EXPIRED),
    ]


def _rules(dice: random.Random, routes: list[Route]) -> list[RateLimitRule]:
    ways: list[dict[str, Any]] = [
        {"count_by": "all"},
        {"count_by": "address"},
        {"count_by": "key"},
        {"count_by": "header", "header": "x-tenant"},
        {"count_by": "address", "before_auth": True},
        {"count_by": "all", "mode": "shadow"},
    ]
    wheres: list[dict[str, Any]] = [{}, {"path": "/a"}, {"methods": ["POST", "HEAD"]}, {"route_id": routes[0].id}]
    return [
        limit_rule(
            f"rule{number}",
            per_minute=dice.choice((7, 60, 600)),
            burst=dice.randint(1, 5),
            **dice.choice(ways),
            **dice.choice(wheres),
        )
        for number in range(dice.randrange(4))
    ]
