"""The floor: a byte pump on uvloop that parses nothing. No Python proxy on this event loop can cost less.

Run as a program: `python -m benchmarks.peers.pump PORT UPSTREAM_PORT`.
"""

import asyncio
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from benchmarks.peers.contender import Contender, Place
from benchmarks.processes import free_port, running

REPOSITORY = Path(__file__).resolve().parents[2]


class Pump(asyncio.Protocol):
    """One side of a pair of connections: what comes in here goes out on the other side."""

    def __init__(self, *, upstream_port: int, other: asyncio.Transport | None = None) -> None:
        self._upstream_port = upstream_port
        self._other = other
        self._waiting: list[bytes] = []
        self._dialing: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of asyncio's
        if self._other is None:
            self._dialing = asyncio.get_running_loop().create_task(self._dial())

    async def _dial(self) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(
            lambda: Pump(upstream_port=self._upstream_port, other=self._transport), "127.0.0.1", self._upstream_port
        )
        if self._transport.is_closing():
            transport.close()
            return
        transport.write(b"".join(self._waiting))
        self._other = transport

    def data_received(self, data: bytes) -> None:
        if self._other is None:
            self._waiting.append(data)
        else:
            self._other.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._other is not None:
            self._other.close()


async def serve(port: int, upstream_port: int) -> None:
    server = await asyncio.get_running_loop().create_server(
        lambda: Pump(upstream_port=upstream_port), "127.0.0.1", port, backlog=4096
    )
    async with server:
        await server.serve_forever()


@dataclass(frozen=True, slots=True)
class BytePump:
    name: str = "pump"
    does: str = "copies bytes on uvloop, parses nothing: the floor for Python"

    def missing(self) -> str | None:
        return None if importlib.util.find_spec("uvloop") else "uvloop is not installed"

    @contextmanager
    def start(self, place: Place) -> Iterator[Contender]:
        port = free_port()
        command = [sys.executable, "-m", "benchmarks.peers.pump", str(port), str(place.upstream_port)]
        with running(self.name, command, core=place.core, folder=place.folder, cwd=REPOSITORY) as process:
            process.wait_for_port(port)
            yield Contender(name=self.name, process=process, port=port, stranger=200)


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
