"""The gateway's end of the log: sends every request that has ended to the writer, and never waits for it.

What the socket does not take at once waits here, up to a bound; what is beyond it is dropped and counted. So a writer
that can't keep up, or is being started again, costs rows and not a request's time.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from microgateway.errors import MicroGatewayError
from microgateway.exchange import Exchange
from microgateway.observability.log_frames import (
    CLEAR,
    COUNTS,
    DONE,
    REOPEN,
    SETTLE,
    pack,
    raw_rows,
    row_frames,
    unpack,
)

MOST_WAITING = 20_000  # rows that wait here for the writer
SEND_BUFFER = 1 << 20  # bytes; the kernel gives what the machine allows
LONGEST_ANSWER = 65_536


class LogUnavailableError(MicroGatewayError):
    """The log's writer does not do what it is asked."""


@dataclass(frozen=True, slots=True)
class LogCounts:
    """Rows since the gateway's start, but for `waiting`: how many wait here at the moment.

    `written` are in the database. `dropped` were lost here, since the writer was too slow, or there, since the database
    was away. `restarts` counts writers that ended by themselves; `complaint` is the last one's, empty when all is well.
    """

    written: int = 0
    dropped: int = 0
    waiting: int = 0
    restarts: int = 0
    complaint: str = ""


class LogFeed:
    """A sink of the recorder. `theirs` is the end of the socket pair that writers inherit, one after the other.

    Both ends stay open here from `start` to `close`: what one writer had not read when it ended the next one reads.
    """

    _ours: socket.socket
    theirs: socket.socket

    def __init__(self, most_waiting: int = MOST_WAITING) -> None:
        self._most_waiting = most_waiting
        self.elsewhere: Callable[[], tuple[int, int]] = lambda: (0, 0)  # rows dropped and waiting in other processes
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked: dict[int, asyncio.Future[str]] = {}
        self._emptied: asyncio.Future[None] | None = None
        self._number = 0
        self._has_both = False
        self._rows_waiting = self._dropped_here = self._restarts = 0
        self._written = self._written_earlier = 0
        self._dropped_there = self._dropped_earlier = 0
        self._complaint = ""

    @property
    def counts(self) -> LogCounts:
        """As far as the writer has told."""
        return LogCounts(
            written=self._written_earlier + self._written,
            dropped=self._dropped_here + self._dropped_earlier + self._dropped_there + self.elsewhere()[0],
            waiting=self._rows_waiting + self.elsewhere()[1],
            restarts=self._restarts,
            complaint=self._complaint,
        )

    def start(self) -> None:
        self._has_both = True
        ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.start_on(ours)

    def start_on(self, ours: socket.socket) -> None:
        """The same where somebody else has made the pair, and hands its other end to the writers."""
        self._ours = ours
        self._ours.setblocking(False)
        self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._ours.fileno(), self._hear)

    def __call__(self, batch: Sequence[Exchange]) -> None:
        """Sends these, or keeps them until they can be sent."""
        for frame in row_frames(raw_rows(batch)):
            if self._waiting or not self._send(frame[1]):
                self._keep(*frame)

    async def settle(self, patience: float) -> bool:
        """Waits until what was sent is written, at most so many seconds. Says whether it is."""
        try:
            return await self._ask(SETTLE, patience=patience) == ""
        except LogUnavailableError:
            return False

    async def clear(self, before: float | None, patience: float) -> None:
        """Has everything deleted that is of before this moment, None: everything. Raises `LogUnavailableError`."""
        complaint = await self._ask(CLEAR, before, patience=patience)
        if complaint:
            raise LogUnavailableError(f"The log was not cleared: {complaint}.")

    def reopen(self) -> None:
        """Has the access log's file opened anew."""
        self._enqueue(0, pack(REOPEN))

    def writer_ended(self, *, unexpectedly: bool) -> None:
        """Counts go on from those of the writer that ended; nobody answers what it was asked."""
        self._written_earlier, self._written = self._written_earlier + self._written, 0
        self._dropped_earlier, self._dropped_there = self._dropped_earlier + self._dropped_there, 0
        self._restarts += unexpectedly
        for asked in self._asked.values():
            if not asked.done():
                asked.set_result("the writer ended")

    @property
    def here(self) -> tuple[int, int]:
        """Rows that this process has dropped, and those that wait in it."""
        return self._dropped_here, self._rows_waiting

    async def finish(self, patience: float) -> None:
        """Sends what waits, and then the end of it all, after which the writer writes what it has and ends."""
        await self.empty(patience)
        self._ours.shutdown(socket.SHUT_WR)

    async def empty(self, patience: float) -> None:
        """Sends what waits, as much as goes in so many seconds; the rest is lost."""
        if self._waiting and self._loop is not None:
            self._emptied = self._loop.create_future()
            await asyncio.wait([self._emptied], timeout=patience)
            self._dropped_here += self._rows_waiting

    def close(self) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self._ours.fileno())
            self._loop.remove_writer(self._ours.fileno())
        self._ours.close()
        if self._has_both:
            self.theirs.close()

    # -- towards the writer --------------------------------------------------------------------------------------------

    def _send(self, frame: bytes) -> bool:
        try:
            self._ours.send(frame)
        except BlockingIOError:
            return False
        return True

    def _enqueue(self, rows: int, frame: bytes) -> None:
        """Behind what waits already."""
        if not self._waiting and self._send(frame):
            return
        if not self._waiting and self._loop is not None:
            self._loop.add_writer(self._ours.fileno(), self._go_on)
        self._waiting.append((rows, frame))
        self._rows_waiting += rows

    def _keep(self, rows: int, frame: bytes) -> None:
        if self._rows_waiting + rows > self._most_waiting:
            self._dropped_here += rows
        else:
            self._enqueue(rows, frame)

    def _go_on(self) -> None:
        """The socket takes more."""
        while self._waiting:
            rows, frame = self._waiting[0]
            if not self._send(frame):
                return
            self._waiting.popleft()
            self._rows_waiting -= rows
        if self._loop is not None:
            self._loop.remove_writer(self._ours.fileno())
        if self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)

    async def _ask(self, kind: int, *what: Any, patience: float) -> str:
        """The writer's answer. Raises `LogUnavailableError` when there is none in time."""
        self._number += 1
        number, answer = self._number, asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        self._enqueue(0, pack(kind, number, *what))
        try:
            return str(await asyncio.wait_for(answer, patience))
        except TimeoutError:
            raise LogUnavailableError("The log's writer does not answer.") from None
        finally:
            del self._asked[number]

    # -- from the writer -----------------------------------------------------------------------------------------------

    def _hear(self) -> None:
        try:
            frame = self._ours.recv(LONGEST_ANSWER)
        except BlockingIOError:
            return
        if not frame:
            return
        kind, *content = unpack(frame)
        if kind == COUNTS:
            told = content[0]
            self._written, self._dropped_there, self._complaint = told["written"], told["dropped"], told["complaint"]
        elif kind == DONE and (asked := self._asked.get(content[0])) is not None and not asked.done():
            asked.set_result(content[1])
