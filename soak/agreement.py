"""Requests that end in every way there is, counted by their clients; all that the gateway tells of them must say the
same: Prometheus, the windows, the counters of keys and services, and the request log.
"""

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from soak.facts import Report
from soak.gateway import Gateway, Operator, running_gateway
from soak.messages import read_answer, read_head, request
from soak.setting import Setting
from soak.stream import GoneError, Stream

REQUESTS = 100_000
CLIENTS = 16
PATIENCE = 20.0  # seconds
ROUTE_TIMEOUT = 0.6  # seconds, which ends a request that is never answered
ABORTED = 499
OPEN_KEY = {"requests_per_minute": 1_000_000_000, "burst_size": 1_000_000_000}
SHARES = {  # of a thousand requests; slow ones are few, as each takes its time
    "good": 560,
    "stranger": 100,
    "nowhere": 100,
    "wrong method": 60,
    "limited": 80,
    "broken": 40,
    "circuit": 30,
    "websocket": 15,
    "abort": 10,
    "silent": 5,
}
_SAMPLE = re.compile(r'^microgateway_requests_total\{.*code="(\d+)".*\} (\d+)$', re.MULTILINE)
_HISTOGRAM = re.compile(r"^microgateway_request_duration_seconds_count\{.*\} (\d+)$", re.MULTILINE)


@dataclass(slots=True)
class Seen:
    """What clients have counted: by status, by whose key, and by the service that the request got to."""

    statuses: Counter[int] = field(default_factory=Counter)
    by_key: Counter[str] = field(default_factory=Counter)
    limited_by_key: Counter[str] = field(default_factory=Counter)
    unanswered: list[str] = field(default_factory=list)

    def note(self, status: int, key: str) -> None:
        self.statuses[status] += 1
        if key:
            self.by_key[key] += 1
            self.limited_by_key[key] += status == 429


class Service:
    """An upstream that does what the path says, and counts the requests that reached it."""

    def __init__(self) -> None:
        self.requests = 0
        self.silent: set[bytes] = set()  # the paths of those that get no answer
        self._news = asyncio.Condition()
        self._over = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._answer(reader, writer):
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the gateway has no more use for this connection
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests += 1
        path = head.split(b" ", 2)[1]
        way = path.rpartition(b"/")[2]
        if way == b"silent":
            self.silent.add(path)
            async with self._news:
                self._news.notify_all()
            await self._over.wait()
            return False
        if way == b"broken":
            return False
        if way == b"socket":
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
            writer.write(await reader.readexactly(5))
            return False
        status = b"500 Internal Server Error" if way == b"fail" else b"200 OK"
        writer.write(b"HTTP/1.1 %b\r\nContent-Length: 2\r\n\r\nok" % status)
        return True

    async def has_got(self, path: bytes) -> None:
        """Returns when a request for this silent path is here."""
        async with self._news:
            await self._news.wait_for(lambda: path in self.silent)

    def stop(self) -> None:
        self._over.set()


@asynccontextmanager
async def running_service() -> AsyncIterator[tuple[Service, str]]:
    service = Service()
    server = await asyncio.start_server(service.serve, "127.0.0.1", 0)
    try:
        yield service, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        service.stop()
        server.close()


class Clients:
    """One client's requests, each of a kind, on a connection that is kept while it lasts."""

    def __init__(self, port: int, keys: dict[str, str], service: Service, seen: Seen) -> None:
        self._port = port
        self._keys = keys
        self._service = service
        self._seen = seen
        self._stream: Stream | None = None
        self.kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "good": lambda: self._ask("/works/now", "open"),
            "stranger": lambda: self._ask("/works/now", ""),
            "nowhere": lambda: self._ask("/nowhere", "open"),
            "wrong method": lambda: self._ask("/works/now", "open", method="DELETE"),
            "limited": lambda: self._ask("/works/now", "tight"),
            "broken": lambda: self._ask("/works/broken", "open", method="POST"),
            "circuit": lambda: self._ask("/fails/fail", "open"),
            "websocket": self._open_socket,
            "abort": self._abort,
            "silent": lambda: self._ask("/works/silent", "open"),
        }

    async def one(self, kind: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await self.kinds[kind]()
        except (GoneError, TimeoutError) as error:
            self._seen.unanswered.append(f"{kind}: {error!r}")
            self.close()

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    async def _ask(self, path: str, key: str, *, method: str = "GET") -> None:
        if self._stream is None or self._stream.has_ended():
            self.close()
            self._stream = await Stream.connect(self._port)
        await self._stream.send(self._request(path, key, method=method))
        answer = await read_answer(self._stream)
        if not answer.complete:
            raise GoneError("half an answer")
        self._seen.note(answer.status, key)
        if answer.closes:
            self.close()

    def _request(self, path: str, key: str, *fields: str, method: str = "GET") -> bytes:
        credentials = [f"X-API-Key: {self._keys[key]}"] if key else []
        length = ["Content-Length: 0"] if method == "POST" else []
        return request(path, *credentials, *length, *fields, method=method)

    async def _open_socket(self) -> None:
        stream = await Stream.connect(self._port)
        try:
            upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
            await stream.send(
                self._request("/works/socket", "open", *upgrade, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
            )
            head = await read_head(stream)
            await stream.send(b"hello")
            await stream.read_to_end()
            self._seen.note(int(head.start.split(b" ")[1]), "open")
        finally:
            stream.close()

    async def _abort(self) -> None:
        """Hangs up once the service has the request, which so can't be refused any more."""
        stream = await Stream.connect(self._port)
        path = f"/works/{self._seen.statuses.total()}-{id(self)}/silent"
        try:
            await stream.send(self._request(path, "open"))
            await self._service.has_got(path.encode())
            self._seen.note(ABORTED, "open")
        finally:
            stream.close(reset=True)


async def agreement(setting: Setting, report: Report, *, requests: int = REQUESTS) -> None:
    """The scenario."""
    seen, number = Seen(), setting.many(requests)
    async with running_service() as (service, url), running_gateway(setting.folder, setting.cores) as gateway:
        keys, services = await _configure(gateway.operator, url)
        await _ask_everything(gateway, keys, service, seen, number)
        report.none("request without an answer", seen.unanswered, of=f"{number}")
        report.check(
            "every way to end was taken",
            {200, 401, 404, 405, 429, 500, 502, 503, 504, 101, ABORTED} <= seen.statuses.keys(),
            _told(seen.statuses),
        )
        await _settled(gateway.operator, number)
        await _judge(report, gateway.operator, seen, services)


async def _configure(operator: Operator, url: str) -> tuple[dict[str, str], dict[str, str]]:
    """The texts of two keys, and the ids of two services, by name."""
    trusting = {"failure_threshold": 1_000_000}
    fragile = {"failure_threshold": 2, "recovery_timeout": 0.2}
    services: dict[str, str] = {}
    for name, circuit in (("works", trusting), ("fails", fragile)):
        service = await operator.create("services", name=name, base_url=url, circuit_breaker=circuit)
        services[name] = service["id"]
        await operator.create(
            "routes",
            path=f"/{name}",
            service_id=service["id"],
            methods=["GET", "POST"],
            timeout_seconds=ROUTE_TIMEOUT,
        )
    open_key = await operator.create("keys", name="open", **OPEN_KEY)
    tight_key = await operator.create("keys", name="tight", requests_per_minute=60, burst_size=5)
    return {"open": open_key["key"], "tight": tight_key["key"]}, services


async def _ask_everything(gateway: Gateway, keys: dict[str, str], service: Service, seen: Seen, number: int) -> None:
    kinds = list(SHARES)
    chosen = random.Random(1).choices(kinds, list(SHARES.values()), k=number)  # noqa: S311
    chosen[: len(kinds)] = kinds  # each at least once
    waiting = iter(chosen)

    async def client() -> None:
        one = Clients(gateway.port, keys, service, seen)
        for kind in waiting:
            await one.one(kind)
        one.close()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))


async def _settled(operator: Operator, number: int) -> None:
    """Tunnels and aborted requests end a moment after their clients have gone."""
    told = 0

    async def ask() -> None:
        nonlocal told
        while told < number:
            told = sum((await _prometheus(operator))[0].values())

    async with asyncio.timeout(PATIENCE):
        await ask()


async def _judge(report: Report, operator: Operator, seen: Seen, services: dict[str, str]) -> None:
    statuses, durations = await _prometheus(operator)
    report.check("Prometheus says what the clients say", statuses == seen.statuses, _apart(statuses, seen.statuses))
    report.check("every request is in a histogram", durations == seen.statuses.total(), f"{durations} durations")
    dashboard = await operator.call("GET", "/api/metrics/dashboard?window=24h")
    window = Counter({int(status): count for status, count in dashboard["statuses"].items()})
    report.check("so does the window of a day", window == seen.statuses, _apart(window, seen.statuses))
    volume = await operator.call("GET", "/api/metrics/volume?window=1h")
    charted = sum(point["requests"] for point in volume["history"])
    report.check("and the chart of an hour", charted == seen.statuses.total(), f"{charted} requests")
    keys = {item["name"]: item for item in (await operator.call("GET", "/api/keys"))["items"]}
    by_key = Counter({name: keys[name]["total_requests"] for name in seen.by_key})
    limited = Counter({name: keys[name]["rejected_requests"] for name in seen.by_key})
    agree = by_key == seen.by_key and limited == seen.limited_by_key
    report.check("so do the counters of the keys", agree, f"{dict(by_key)}, of them refused {dict(limited)}")
    await _judge_services(report, operator, services)
    logged = await _logged(operator)
    report.check("and so does the request log", logged == seen.statuses, _apart(logged, seen.statuses))


async def _judge_services(report: Report, operator: Operator, services: dict[str, str]) -> None:
    """What the services' counters say is what Prometheus says was sent to them."""
    text = (await operator.read("/metrics")).decode()
    told: dict[str, tuple[int, int]] = {}
    for name, service_id in services.items():
        found = re.findall(
            rf'^microgateway_upstream_duration_seconds_count\{{service="{name}".*\}} (\d+)$', text, re.MULTILINE
        )
        counters = await operator.call("GET", f"/api/services/{service_id}")
        told[name] = (counters["total_requests"], sum(map(int, found)))
    agree = all(counter == sent for counter, sent in told.values())
    report.check("the services' counters are the requests that were sent to them", agree, f"{told}")


async def _prometheus(operator: Operator) -> tuple[Counter[int], int]:
    """Requests by code, and how many durations there are."""
    text = (await operator.read("/metrics")).decode()
    found: Counter[int] = Counter()
    for code, count in _SAMPLE.findall(text):
        found[int(code)] += int(count)
    return found, sum(map(int, _HISTOGRAM.findall(text)))


async def _logged(operator: Operator) -> Counter[int]:
    lines = (await operator.read("/api/logs/export")).splitlines()
    return Counter(json.loads(line)["status"] for line in lines)


def _told(statuses: Counter[int]) -> str:
    return ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items()))


def _apart(found: Counter[int], wanted: Counter[int]) -> str:
    """What differs, or how many agree."""
    differing = [status for status in found.keys() | wanted.keys() if found[status] != wanted[status]]
    if not differing:
        return f"{wanted.total()} requests"
    return ", ".join(f"{status}: {found[status]} for {wanted[status]}" for status in sorted(differing))
