"""The stand of every scenario: a gateway and an upstream, each a process on its core, and the operator's API."""

import json
import os
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soak.messages import Answer, read_answer, request
from soak.processes import Process, SoakError, running, until
from soak.stream import Stream
from soak.watched import BLOCKS, MARK

TOKEN = "the-token-of-a-soak"  # noqa: S105
OURS = re.compile(r"MICROGATEWAY_|DATABASE_URL|REDIS_URL|JWT_|DEFAULT_|CIRCUIT_")
TRUSTING = {"failure_threshold": 1_000_000}  # a circuit that lets everything through, so that what is broken is seen


@dataclass(frozen=True, slots=True)
class Cores:
    """Which processor cores the gateway has, which a gateway with workers, and which everything else.

    None: wherever the kernel likes.
    """

    gateway: tuple[int, ...] = ()
    workers: tuple[int, ...] = ()
    load: tuple[int, ...] = ()


class Operator:
    """Who holds the admin token, on one keep-alive connection to the control port."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stream: Stream | None = None

    async def create(self, kind: str, **fields: object) -> dict[str, Any]:
        return await self.call("POST", f"/api/{kind}", fields)

    async def change(self, kind: str, entity_id: str, **fields: object) -> dict[str, Any]:
        return await self.call("PATCH", f"/api/{kind}/{entity_id}", fields)

    async def delete(self, kind: str, entity_id: str) -> None:
        await self.call("DELETE", f"/api/{kind}/{entity_id}")

    async def create_route(self, path: str, base_url: str, **circuit: object) -> dict[str, Any]:
        """A service and a route to it that asks for no key; answers the service. Two retries."""
        service = await self.create("services", name=path, base_url=base_url, circuit_breaker=circuit or TRUSTING)
        await self.create("routes", path=path, service_id=service["id"], auth="none", retries=2)
        return service

    async def call(self, method: str, path: str, content: object = None) -> dict[str, Any]:
        """Raises `SoakError` unless it went well."""
        answer = await self._exchange(method, path, b"" if content is None else json.dumps(content).encode())
        if not (answer.complete and 200 <= answer.status < 300):
            raise SoakError(f"{method} {path}: {answer.status} {answer.body[:500]!r}")
        told: dict[str, Any] = json.loads(answer.body) if answer.body else {}
        return told

    async def read(self, path: str) -> bytes:
        """What a GET answers, whatever it is. Raises `SoakError` unless it went well."""
        answer = await self._exchange("GET", path, b"")
        if not (answer.complete and answer.status == 200):
            raise SoakError(f"GET {path}: {answer.status} {answer.body[:500]!r}")
        return answer.body

    async def _exchange(self, method: str, path: str, body: bytes) -> Answer:
        if self._stream is None or self._stream.has_ended():
            self.close()
            self._stream = await Stream.connect(self._port)
        fields = (f"Authorization: Bearer {TOKEN}", f"Content-Length: {len(body)}", "Content-Type: application/json")
        await self._stream.send(request(path, *fields, method=method) + body)
        return await read_answer(self._stream)

    def close(self) -> None:
        """The connection; the next call opens another."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a watched gateway's process holds: bytes, descriptors, blocks of Python's memory, live objects by type."""

    resident: int
    descriptors: int
    blocks: int
    alive: Counter[str]

    @property
    def megabytes(self) -> float:
        return self.resident / 1_000_000


@dataclass(frozen=True, slots=True)
class Gateway:
    process: Process
    operator: Operator
    port: int
    data: Path

    async def footprint(self) -> Footprint:
        """Counted with no connection of the operator's open."""
        self.operator.close()
        process = self.process
        before = process.said.count(MARK)
        os.kill(process.pid, signal.SIGUSR1)
        await until(lambda: process.said.count(MARK) > before, "the gateway has counted itself")
        alive = Counter[str](json.loads(process.said.rpartition(MARK)[2].partition("\n")[0]))
        return Footprint(process.resident_bytes(), process.descriptors(), alive.pop(BLOCKS), alive)


@dataclass(frozen=True, slots=True)
class Upstream:
    port: int
    facts_port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def counts(self) -> dict[str, int]:
        stream = await Stream.connect(self.facts_port)
        try:
            counts: dict[str, int] = json.loads(await stream.read_to_end())
        finally:
            stream.close()
        return counts


@asynccontextmanager
async def running_upstream(folder: Path, cores: Cores, name: str = "upstream") -> AsyncIterator[Upstream]:
    async with running(name, ["-m", "soak.upstream"], folder, cores=cores.load) as process:
        service = int(await process.wait_for(r"service (\d+)\n"))
        facts = int(await process.wait_for(r"facts (\d+)\n"))
        yield Upstream(service, facts)


@asynccontextmanager
async def running_gateway(
    folder: Path,
    cores: Cores,
    *,
    name: str = "gateway",
    watched: bool = True,
    workers: int = 1,
    variables: Mapping[str, str] | None = None,
) -> AsyncIterator[Gateway]:
    """`watched`: it can count itself (see the module of that name); otherwise it is started as anybody would.

    `workers` 1: it is one process.
    """
    environment = {variable: value for variable, value in os.environ.items() if not OURS.match(variable)} | {
        "MICROGATEWAY_ADMIN_TOKEN": TOKEN,
        "MICROGATEWAY_DATA_DIR": str(data := folder / f"{name}-data"),
        "MICROGATEWAY_PORT": "0",
        "MICROGATEWAY_PROXY_HOST": "127.0.0.1",
        "MICROGATEWAY_PROXY_PORT": "0",
        **(variables or {}),
    }
    module = "soak.watched" if watched else "microgateway"
    command, own = ["-m", module, "run", "--workers", str(workers)], cores.gateway if workers == 1 else cores.workers
    async with running(name, command, folder, cores=own, environment=environment) as process:
        port = int(await process.wait_for(r"Proxy port: +http://127\.0\.0\.1:(\d+)\n"))
        operator = Operator(int(await process.wait_for(r"Control port: +http://127\.0\.0\.1:(\d+)\n")))
        try:
            yield Gateway(process, operator, port, data)
        finally:
            operator.close()
