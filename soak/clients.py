"""Clients that ask on a keep-alive connection and look at every byte of what they get."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

from soak import marks
from soak.messages import Answer, BrokenError, read_answer, request
from soak.stream import GoneError, Stream

LONGEST_ANSWER = 20.0  # seconds; nothing here takes so long, so that it is a hang


Work = Callable[[asyncio.Event], Awaitable[None]]  # until the event is set


@dataclass(slots=True)
class Tally:
    """What clients have seen together. `latencies` are seconds."""

    answered: int = 0
    failures: list[str] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        """Of the latencies, in milliseconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1_000 if ordered else 0.0


class Client:
    """Asks on one connection as long as that lasts, then on the next. Every request has an id of its own.

    `fields` are header lines of all its requests. `port` is that of this end of its latest connection.
    """

    def __init__(self, port: int, name: str, fields: Sequence[str] = ()) -> None:
        self._port = port
        self._fields = fields
        self.port = 0
        self._numbers: Iterator[int] = count()
        self._name = name
        self._stream: Stream | None = None

    def next_id(self) -> str:
        return f"{self._name}-{next(self._numbers)}"

    async def ask(self, path: str, request_id: str, *, method: str = "GET", body: bytes = b"") -> Answer:
        """`path/ID`, with the answer as far as it came. Raises `GoneError` where no connection can be made."""
        if self._stream is None or self._stream.has_ended():
            self.close()
            self._stream = await Stream.connect(self._port)
            self.port = self._stream.port
        fields = [f"X-Request-Id: {request_id}", *self._fields]
        if method == "POST":
            fields.append(f"Content-Length: {len(body)}")
        try:
            await self._stream.send(request(f"{path}/{request_id}", *fields, method=method) + body)
            async with asyncio.timeout(LONGEST_ANSWER):
                answer = await read_answer(self._stream, to_head=method == "HEAD")
        except BaseException:
            self.close()
            raise
        if answer.closes or not answer.complete:
            self.close()
        return answer

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


async def ask_and_check(client: Client, path: str, tally: Tally, *, method: str = "GET", body: bytes = b"") -> None:
    """One request whose answer must be good; what is not goes into the tally's failures."""
    request_id, began = client.next_id(), time.monotonic()
    try:
        answer = await client.ask(path, request_id, method=method, body=body)
    except (GoneError, BrokenError, TimeoutError) as error:
        tally.failures.append(f"{method} {path}/{request_id}: {error!r}")
        return
    tally.latencies.append(time.monotonic() - began)
    tally.answered += 1
    if not is_good(answer, request_id):
        tally.failures.append(f"{method} {path}/{request_id}: {describe(answer)}")


def is_good(answer: Answer, request_id: str) -> bool:
    """Whole, 200, and nobody else's."""
    return answer.complete and answer.status == 200 and answer.body == marks.body(request_id)


def describe(answer: Answer) -> str:
    whole = "whole" if answer.complete else "cut off"
    return f"{answer.status}, {whole}, {len(answer.body)} bytes, {answer.body[:200]!r}"


@asynccontextmanager
async def going_on(work: Sequence[Work]) -> AsyncIterator[asyncio.Event]:
    """Each of these runs while the block lasts; at its end they are told by the event, and waited for."""
    over = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for piece in work:
            group.create_task(_run(piece, over))
        try:
            yield over
        finally:
            over.set()


async def _run(piece: Work, over: asyncio.Event) -> None:
    await piece(over)


async def pause(over: asyncio.Event, seconds: float) -> None:
    """Until it is over, but no longer than this."""
    if seconds > 0:
        try:
            await asyncio.wait_for(over.wait(), seconds)
        except TimeoutError:
            return


def steady_client(port: int, name: str, path: str, tally: Tally, *, interval: float) -> Work:
    """An ordinary client: a request, and the next one `interval` seconds after that was due."""

    async def run(over: asyncio.Event) -> None:
        client, due = Client(port, name), time.monotonic()
        while not over.is_set():
            await ask_and_check(client, path, tally)
            due = max(due + interval, time.monotonic() - interval)
            await pause(over, due - time.monotonic())
        client.close()

    return run
