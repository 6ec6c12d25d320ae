"""Those who ask for attention and do nothing with it: idle connections, and slow writers of two kinds.

One kind writes a byte of its head every second. The other writes a byte of its body every second for a while and then
nothing more: a body's limit is between two reads, so a byte a second may go on for ever.
"""

import asyncio
import random
import time
from dataclasses import dataclass, field

from soak.facts import Report
from soak.messages import Answer, BrokenError, read_answer, request
from soak.processes import SoakError
from soak.stream import GoneError, Stream

BATCH = 50  # idle connections that are opened at once
LATE = 4.0  # seconds that a limit may be late by: a quarter is the gateway's, the rest a busy machine's
BYTES_OF_BODY = 5


@dataclass(frozen=True, slots=True)
class Limits:
    """What the gateway is set to, seconds. The defaults are the gateway's own."""

    head: float = 10.0
    body: float = 30.0
    idle: float = 75.0

    def variables(self) -> dict[str, str]:
        return {
            "MICROGATEWAY_CLIENT_HEADER_TIMEOUT": str(self.head),
            "MICROGATEWAY_CLIENT_BODY_TIMEOUT": str(self.body),
            "MICROGATEWAY_CLIENT_IDLE_TIMEOUT": str(self.idle),
        }


@dataclass(slots=True)
class Cuts:
    """How those of one kind ended: the seconds that each was allowed, and what was wrong."""

    limit: float
    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def note(self, seconds: float, failure: str | None) -> None:
        self.seconds.append(seconds)
        if failure is None and not -0.05 <= seconds - self.limit <= LATE:
            failure = f"after {seconds:.2f} s"
        if failure is not None:
            self.failures.append(failure)

    def tell(self, report: Report, what: str) -> None:
        spread = f"{min(self.seconds):.2f} to {max(self.seconds):.2f} s" if self.seconds else "none"
        wanted = f"{what} ended at the limit of {self.limit:g} s"
        examples = "; ".join(self.failures[:3])
        found = f"{len(self.seconds) - len(self.failures)} of {len(self.seconds)}, after {spread} {examples}"
        report.check(wanted, bool(self.seconds) and not self.failures, found.rstrip())


class Crowd:
    """All of them, towards one port, and how they ended."""

    def __init__(self, port: int, limits: Limits) -> None:
        self._port = port
        self.heads, self.bodies, self.idle = Cuts(limits.head), Cuts(limits.body), Cuts(limits.idle)

    async def open_idle(self, count: int) -> list[tuple[Stream, float]]:
        """Connections that have asked once; with the time of their answer."""
        opened: list[tuple[Stream, float]] = []
        while len(opened) < count:
            batch = range(len(opened), min(count, len(opened) + BATCH))
            opened += await asyncio.gather(*(self._open_one(number) for number in batch))
        return opened

    async def _open_one(self, number: int) -> tuple[Stream, float]:
        stream = await Stream.connect(self._port)
        await stream.send(request(f"/load/now/idle-{number}"))
        answer = await read_answer(stream)
        if answer.status != 200:
            raise SoakError(f"an idle client's only request was answered {answer.status}")
        return stream, time.monotonic()

    async def await_end(self, stream: Stream, since: float) -> None:
        """An idle connection is closed in silence."""
        said = await stream.read_to_end()
        self.idle.note(time.monotonic() - since, f"it said {said[:60]!r}" if said else None)
        stream.close()

    async def write_heads(self, over: asyncio.Event) -> None:
        """One slow client after the other. Who is at it at the end stays until it is cut off."""
        await asyncio.sleep(random.uniform(0, self.heads.limit / 2))  # noqa: S311  so that they don't all end at once
        while not over.is_set():
            began = time.monotonic()
            await self._write_slowly(self.heads, request("/load/now/slow", *["X-Slow: very"] * 90), None, began)

    async def write_bodies(self, over: asyncio.Event) -> None:
        await asyncio.sleep(random.uniform(0, self.bodies.limit / 2))  # noqa: S311
        while not over.is_set():
            head = request("/load/now/slow", "Content-Length: 1000", method="POST")
            await self._write_slowly(self.bodies, head + b"b" * BYTES_OF_BODY, len(head), None)

    async def _write_slowly(self, cuts: Cuts, data: bytes, at_once: int | None, began: float | None) -> None:
        """`began` None: its time counts from the last byte."""
        stream = await Stream.connect(self._port)
        reading = asyncio.create_task(read_answer(stream))
        try:
            if at_once:
                await stream.send(data[:at_once])
            last = await self._write_bytes(stream, data[at_once or 0 :], reading)
            answer = await reading
            cuts.note(time.monotonic() - (last if began is None else began), _what_is_wrong(answer))
        except (GoneError, BrokenError) as error:
            cuts.note(0.0, repr(error))
        finally:
            reading.cancel()
            stream.close()

    async def _write_bytes(self, stream: Stream, data: bytes, reading: "asyncio.Task[Answer]") -> float:
        """A byte a second until they are sent or an answer comes; when the last one went."""
        last = time.monotonic()
        for octet in data:
            await stream.send(bytes((octet,)))
            last = time.monotonic()
            done, _ = await asyncio.wait((reading,), timeout=1.0)
            if done:
                break
        return last


def _what_is_wrong(answer: Answer) -> str | None:
    if (answer.status, answer.complete, answer.closes) == (408, True, True):
        return None
    return f"{answer.status}, complete {answer.complete}, closes {answer.closes}"
