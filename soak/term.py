"""SIGTERM under load, again and again: every request that was accepted gets its whole answer, and the exit code is 0.

Accepted is a request whose head was sent whole while the connection was still open: just before it is sent, the client
looks whether the gateway's end has come.
"""

import asyncio
import random
import signal
import time
from dataclasses import dataclass, field

from soak import marks
from soak.facts import Report
from soak.gateway import Gateway, Upstream, running_gateway, running_upstream
from soak.messages import Answer, BrokenError, read_answer, request
from soak.setting import Setting
from soak.stream import GoneError, Stream

# Ways, and how many clients go each.
WAYS = {"now": 24, "wait-50": 8, "wait-400": 8, "trickle-500": 8, "kilobytes-2000": 4, "upload": 8}
UPLOAD_PIECES = 10
UPLOAD_PIECE = b"u" * 5_000
UPLOAD_PAUSE = 0.05  # seconds
LONGEST_DRAIN = 20.0  # seconds; everything here is answered within one
SHORTEST_LOAD, LONGEST_LOAD = 0.3, 1.0  # seconds before the signal


@dataclass(slots=True)
class Outcome:
    """Of all clients. `after` counts the requests that were under way when the signal was sent, or later."""

    answered: int = 0
    after: int = 0
    lost: list[str] = field(default_factory=list)
    exits: list[int | None] = field(default_factory=list)
    drains: list[float] = field(default_factory=list)
    signalled: bool = False


async def client(port: int, way: str, name: str, outcome: Outcome) -> None:
    """Asks on one connection until the gateway ends it."""
    stream, number = await Stream.connect(port), 0
    try:
        going_on = True
        while going_on:
            number += 1
            going_on = await _ask_one(stream, way, f"{name}-{number}", outcome)
    finally:
        stream.close()


async def _ask_one(stream: Stream, way: str, request_id: str, outcome: Outcome) -> bool:
    """False when that was the connection's last request."""
    is_upload = way == "upload"
    fields = (f"Content-Length: {UPLOAD_PIECES * len(UPLOAD_PIECE)}",) if is_upload else ()
    head = request(f"/load/{'now' if is_upload else way}/{request_id}", *fields, method="POST" if is_upload else "GET")
    if stream.has_ended():
        return False
    try:
        await stream.send(head)
    except GoneError:
        return False
    async with asyncio.TaskGroup() as both:
        reading = both.create_task(_read(stream))
        if is_upload:
            both.create_task(_upload(stream))
    answer = reading.result()
    own = marks.line(request_id)
    length = 2_000 * 1_024 // len(own) * len(own) if way == "kilobytes-2000" else len(marks.body(request_id))
    if (
        answer.complete
        and answer.status == 200
        and len(answer.body) == length
        and marks.is_only(answer.body, request_id)
    ):
        outcome.answered += 1
        outcome.after += outcome.signalled
        return not answer.closes
    outcome.lost.append(f"{way}: {answer.status}, {len(answer.body)} bytes, complete {answer.complete}")
    return False


async def _read(stream: Stream) -> Answer:
    """What is not HTTP counts as no answer."""
    try:
        return await read_answer(stream)
    except BrokenError as error:
        return Answer(body=str(error).encode())


async def _upload(stream: Stream) -> None:
    try:
        for _ in range(UPLOAD_PIECES):
            await stream.send(UPLOAD_PIECE)
            await asyncio.sleep(UPLOAD_PAUSE)
    except GoneError:
        return  # the reader sees what became of the answer


async def one_round(number: int, setting: Setting, upstream: Upstream, outcome: Outcome) -> None:
    """A gateway of its own, from its start to its end."""
    name = f"gateway{number}"
    async with running_gateway(setting.folder, setting.cores, name=name, watched=False) as gateway:
        await gateway.operator.create_route("/load", upstream.url)
        gateway.operator.close()
        async with asyncio.TaskGroup() as clients:
            for way, count in WAYS.items():
                for index in range(setting.many(count)):
                    clients.create_task(client(gateway.port, way, f"{way}-{number}-{index}", outcome))
            clients.create_task(_terminate(gateway, outcome))


async def _terminate(gateway: Gateway, outcome: Outcome) -> None:
    outcome.signalled = False
    await asyncio.sleep(random.uniform(SHORTEST_LOAD, LONGEST_LOAD))  # noqa: S311
    outcome.signalled, began = True, time.monotonic()
    gateway.process.handle.send_signal(signal.SIGTERM)
    outcome.exits.append(await gateway.process.wait(LONGEST_DRAIN))
    outcome.drains.append(time.monotonic() - began)


async def term(setting: Setting, report: Report) -> None:
    """The scenario."""
    outcome, began = Outcome(), time.monotonic()
    async with running_upstream(setting.folder, setting.cores) as upstream:
        while not outcome.exits or time.monotonic() - began < setting.seconds:
            await one_round(len(outcome.exits), setting, upstream, outcome)
    stops = len(outcome.exits)
    report.none(
        "accepted request without its whole answer",
        outcome.lost,
        of=f"{outcome.answered + len(outcome.lost)} in {stops} stops, {outcome.after} of them after the signal",
    )
    bad = [str(code) for code in outcome.exits if code != 0]
    report.check("exit code 0", not bad, f"{stops - len(bad)} of {stops} times{' ' if bad else ''}{', '.join(bad)}")
    report.check(
        "requests were under way at every stop",
        outcome.after >= stops * 10 * min(1.0, setting.scale),
        f"{outcome.after / stops:.0f} answered after the signal on average",
    )
    report.note(f"from the signal to the exit {max(outcome.drains):.2f} s at most")
