"""Good and broken upstreams at once, over the same pool: no client is shown a broken answer as a whole one, nor a byte
of another client's.
"""

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass, field

from soak import marks
from soak.broken import BROKEN, SOMETIMES, WHOLE
from soak.clients import Client, describe, going_on
from soak.facts import Report
from soak.gateway import running_gateway, running_upstream
from soak.messages import Answer, BrokenError
from soak.rest import judge_rest, until_at_rest
from soak.setting import WITH_SHORT_IDLE, Setting
from soak.stream import GoneError

CLIENTS = 64
GOOD = ("now", "named", "chunked", "untilclose", "wait-20", "trickle-50", "hangup-0", "hangup-5")
GOOD_SHARE = 0.6
METHODS = ("GET", "GET", "GET", "POST", "HEAD")
READ_TIMEOUT = 1.5  # seconds: how long a silent upstream holds a client
PROBLEMS = (502, 504)


@dataclass(slots=True)
class Seen:
    """What all clients got. A finding is what must never be."""

    asked: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    foreign: list[str] = field(default_factory=list)
    taken_for_whole: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


class Reader:
    """A client that judges each answer by what it asked for."""

    def __init__(self, port: int, name: str, seen: Seen) -> None:
        self._client = Client(port, name)
        self._seen = seen
        self._random = random.Random(name)  # noqa: S311

    async def go_on(self, over: asyncio.Event) -> None:
        while not over.is_set():
            is_good = self._random.random() < GOOD_SHARE
            way = self._random.choice(GOOD if is_good else (*BROKEN, *WHOLE, SOMETIMES))
            method = self._random.choice(METHODS) if is_good else self._random.choice(("GET", "POST"))
            await self._ask(way, method)
        self._client.close()

    async def _ask(self, way: str, method: str) -> None:
        request_id, seen = self._client.next_id(), self._seen
        seen.asked[way] += 1
        body = marks.body(request_id) if method == "POST" else b""
        try:
            answer = await self._client.ask(f"/load/{way}", request_id, method=method, body=body)
        except (GoneError, BrokenError, TimeoutError) as error:
            seen.failed.append(f"{method} {way}: {error!r}")
            return
        self.judge(way, method, request_id, answer)

    def judge(self, way: str, method: str, request_id: str, answer: Answer) -> None:
        seen, told = self._seen, f"{method} {way}/{request_id}: {describe(answer)}"
        if not _is_own(answer, request_id):
            seen.foreign.append(told)
        elif answer.status == 200 and answer.complete:
            seen.outcomes["whole"] += 1
            if way in BROKEN or answer.body != _whole_body(way, method, request_id):
                seen.taken_for_whole.append(told)
        elif answer.status == 200 and way in BROKEN:
            seen.outcomes["visibly cut off"] += 1
        elif answer.status in PROBLEMS and answer.complete and (way not in GOOD or method == "POST"):
            # A POST is not repeated when its pooled connection turns out to be closed: 502 is the honest answer
            seen.outcomes[str(answer.status)] += 1
        else:
            seen.failed.append(told)


def _is_own(answer: Answer, request_id: str) -> bool:
    """Every answer, the gateway's own too, tells whose it is."""
    if answer.status in (0, 200):
        told = answer.get(b"x-answer-to")
        return marks.is_only(answer.body, request_id) and told in (b"", request_id.encode())
    if not answer.body:
        return answer.get(b"x-request-id") == request_id.encode()
    try:
        problem: dict[str, object] = json.loads(answer.body)
    except ValueError:
        return False
    return problem.get("request_id") == request_id


def _whole_body(way: str, method: str, request_id: str) -> bytes:
    body = marks.body(request_id)
    if method == "HEAD":
        return b""
    return body[: len(body) // 2] if way == "shorter" else body


async def upstreams(setting: Setting, report: Report) -> None:
    """The scenario."""
    seen, variables = Seen(), {"MICROGATEWAY_UPSTREAM_READ_TIMEOUT": str(READ_TIMEOUT), **WITH_SHORT_IDLE}
    async with (
        running_upstream(setting.folder, setting.cores) as upstream,
        running_gateway(setting.folder, setting.cores, variables=variables) as gateway,
    ):
        await gateway.operator.create_route("/load", upstream.url)
        before = await until_at_rest(gateway, upstream)
        readers = [Reader(gateway.port, f"reader{number}", seen).go_on for number in range(setting.many(CLIENTS))]
        async with going_on(readers):
            await asyncio.sleep(setting.seconds)
        _judge(report, seen)
        judge_rest(report, before, await until_at_rest(gateway, upstream, before))


def _judge(report: Report, seen: Seen) -> None:
    total = seen.asked.total()
    broken = sum(seen.asked[way] for way in BROKEN)
    told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(seen.outcomes.items()))
    report.none("answer with another client's bytes", seen.foreign, of=f"{total} answers")
    report.none("broken answer taken for a whole one", seen.taken_for_whole, of=f"{broken} broken, {total} in all")
    report.none("good request failed", seen.failed, of=f"{total} requests ({told})")
    missing = [way for way in (*BROKEN, *WHOLE, SOMETIMES, *GOOD) if not seen.asked[way]]
    report.check("every way was gone", not missing, f"{len(seen.asked)} ways; not {missing}", needs_quiet=True)
