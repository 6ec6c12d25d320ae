"""`python -m soak.upstream`: answers as the path says, `/PREFIX/WAY/ID`, and counts what reaches it.

It prints two ports: one for the gateway, one where everybody who connects gets the counts as JSON.
"""

import asyncio
import json
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass

import uvloop

from soak import broken, marks
from soak.messages import BrokenError, Head, read_body, read_head
from soak.stream import GoneError, Stream

BACKLOG = 1_024
TRICKLE_PIECES = 10

Conversation = Callable[[Stream], Awaitable[None]]


@dataclass(slots=True)
class Counts:
    """`connections` and `active` are of now, the rest since the beginning."""

    connections: int = 0
    active: int = 0
    opened: int = 0
    requests: int = 0
    body_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: what its path says."""

    method: bytes
    way: str
    number: int
    request_id: str

    @classmethod
    def read(cls, head: Head) -> "Asked":
        method, target, _ = head.start.split(b" ")
        _, _, way, request_id = target.decode().split("/")
        name, _, number = way.partition("-")
        return cls(method, name, int(number or 0), request_id)


class Upstream:
    """The service: good ways are here, broken ones in their own module."""

    def __init__(self) -> None:
        self.counts = Counts()
        self._good: dict[str, Callable[[Stream, Asked], Awaitable[None]]] = {
            "now": self._now,
            "named": self._named,
            "fail": self._fail,
            "wait": self._wait,
            "trickle": self._trickle,
            "chunked": self._chunked,
            "untilclose": self._until_close,
            "hangup": self._hang_up,
            "kilobytes": self._kilobytes,
        }

    async def converse(self, stream: Stream) -> None:
        """One connection, until either side ends it."""
        counts = self.counts
        counts.opened += 1
        counts.connections += 1
        try:
            while True:
                await self._take_one(stream, await read_head(stream))
        except (GoneError, BrokenError):
            return
        finally:
            counts.connections -= 1
            stream.close()

    async def _take_one(self, stream: Stream, head: Head) -> None:
        counts, asked, come = self.counts, Asked.read(head), list[bytes]()
        counts.requests += 1
        counts.active += 1
        try:
            await read_body(stream, head, come)
            if asked.method == b"HEAD":
                await self._now(stream, asked)
            elif asked.way in self._good:
                await self._good[asked.way](stream, asked)
            else:
                await broken.answer(stream, asked.way, asked.request_id)
        finally:
            counts.active -= 1
            counts.body_bytes += sum(map(len, come))

    async def _now(self, stream: Stream, asked: Asked, status: str = "200 OK") -> None:
        body = marks.body(asked.request_id)
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        await stream.send(head if asked.method == b"HEAD" else head + body)

    async def _named(self, stream: Stream, asked: Asked) -> None:
        """A head that is another one each time."""
        await self._now(stream, asked, f"200 OK\r\nX-Answer-To: {asked.request_id}")

    async def _fail(self, stream: Stream, asked: Asked) -> None:
        await self._now(stream, asked, "500 Internal Server Error")

    async def _wait(self, stream: Stream, asked: Asked) -> None:
        await asyncio.sleep(asked.number / 1_000)
        await self._now(stream, asked)

    async def _trickle(self, stream: Stream, asked: Asked) -> None:
        """`LINES` lines in pieces, over so many milliseconds."""
        piece = marks.body(asked.request_id, marks.LINES // TRICKLE_PIECES)
        length = len(piece) * TRICKLE_PIECES
        await stream.send(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode())
        for _ in range(TRICKLE_PIECES):
            await asyncio.sleep(asked.number / 1_000 / TRICKLE_PIECES)
            await stream.send(piece)

    async def _chunked(self, stream: Stream, asked: Asked) -> None:
        body = marks.body(asked.request_id)
        await stream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(body), 100):
            await stream.send(b"%x\r\n%b\r\n" % (len(body[at : at + 100]), body[at : at + 100]))
        await stream.send(b"0\r\n\r\n")

    async def _until_close(self, stream: Stream, asked: Asked) -> None:
        await stream.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + marks.body(asked.request_id))
        raise GoneError("as the answer's end")

    async def _hang_up(self, stream: Stream, asked: Asked) -> None:
        """A good answer; then the connection closes though nothing said so, as a restart or an idle limit would."""
        await self._now(stream, asked)
        await asyncio.sleep(asked.number / 1_000)
        raise GoneError("without a word")

    async def _kilobytes(self, stream: Stream, asked: Asked) -> None:
        own = marks.line(asked.request_id)
        lines = asked.number * 1_024 // len(own)
        await stream.send(f"HTTP/1.1 200 OK\r\nContent-Length: {lines * len(own)}\r\n\r\n".encode())
        block = 2_048
        for at in range(0, lines, block):
            await stream.send(own * min(block, lines - at))


async def tell(stream: Stream, counts: Counts) -> None:
    try:
        await stream.send(json.dumps(asdict(counts)).encode())
    except GoneError:
        return  # whoever asked does not want to know any more
    finally:
        stream.close()


async def accept(listening: socket.socket, converse: Conversation) -> None:
    loop, tasks = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    while True:
        connected, _ = await loop.sock_accept(listening)
        task = loop.create_task(_converse(converse, Stream(connected)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


async def _converse(converse: Conversation, stream: Stream) -> None:
    await converse(stream)


def listen() -> socket.socket:
    listening = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    listening.setblocking(False)
    return listening


async def main() -> None:
    upstream, service, facts = Upstream(), listen(), listen()
    sys.stdout.write(f"service {service.getsockname()[1]}\nfacts {facts.getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.gather(
        accept(service, upstream.converse), accept(facts, lambda stream: tell(stream, upstream.counts))
    )


if __name__ == "__main__":
    uvloop.run(main())
