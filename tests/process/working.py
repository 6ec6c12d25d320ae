"""A worker in this process here: the test holds the supervisor's and the control process's ends of its sockets."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from microgateway.process.leash import Leash
from microgateway.process.link import Kind, Link
from microgateway.process.shared_state import SharedState
from microgateway.process.worker import Worker
from microgateway.process.worker_messages import WorkerSetup
from microgateway.settings import Settings
from microgateway.snapshot import Snapshot
from tests.kit.waiting import PATIENCE


class Peer:
    """One end of a link, and what the other end has told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.link = Link(self.hear, lambda: None)
        self._news = asyncio.Event()

    def hear(self, message: Any) -> None:
        self.told.append(message)
        self._news.set()
        if message[0] == Kind.REPORT:
            self.link.send(Kind.TAKEN, message[1])

    async def has_told(self, *message: Any) -> Any:
        """The first message that begins so."""
        async with asyncio.timeout(PATIENCE):
            while not (found := [each for each in self.told if each[: len(message)] == message]):
                self._news.clear()
                await self._news.wait()
        return found[0]


@dataclass
class Scene:
    """A worker that serves. `control` is the control process."""

    port: int
    leash: Leash
    running: asyncio.Task[int]
    control: Peer = field(default_factory=Peer)

    async def exit_code(self) -> int:
        return await asyncio.wait_for(self.running, PATIENCE)


@contextmanager
def own_signals() -> Iterator[None]:
    """A worker says what signals mean to its process."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@asynccontextmanager
async def working(snapshot: Snapshot | None = None) -> AsyncIterator[Scene]:
    """One that has this configuration in force, as version 1."""
    with own_signals():
        state = SharedState.create()
        listening = socket.create_server(("127.0.0.1", 0))
        leash, theirs = Leash.pair()
        log, ear = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        here, there = socket.socketpair()
        port = listening.getsockname()[1]
        worker = Worker(number=1, leash=Leash(theirs), listening=[listening], state=state)
        scene = Scene(port, leash, asyncio.create_task(worker.run(log)))
        link = scene.control.link
        await link.open(here)
        leash.send({"attach": 1}, there)
        there.close()
        settings = Settings(drain_timeout=1.0, proxy_port=0)
        link.send(Kind.SETUP, WorkerSetup(settings, "s" * 32, writes=True))
        link.send(Kind.SNAPSHOT, 1, (snapshot or Snapshot()).without_keys())
        try:
            await scene.control.has_told(Kind.APPLIED)
            yield scene
        finally:
            leash.close()  # without a supervisor it ends
            await asyncio.wait([scene.running])
            link.abort()
            ear.close()
            state.close()
