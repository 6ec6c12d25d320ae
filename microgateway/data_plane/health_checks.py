"""Active health checks: every target is asked from time to time, off the path of the requests.

One task keeps the time, and each check is a task of its own, at most `most_at_once` of them; so a slow target delays
nobody else, unless so many are slow at once. No target is ever asked twice at the same time: who wants to know while a
check is under way waits for that one.
"""

import asyncio
import heapq
import time
from collections.abc import Callable, Iterator, Mapping
from random import Random

from microgateway.background import start_task
from microgateway.core.answers import AnswerReader
from microgateway.core.fields import HeadError
from microgateway.core.health import CheckPolicy, CheckResult
from microgateway.data_plane.check_connection import CheckConnection
from microgateway.data_plane.connector import Connector, TlsFailedError
from microgateway.data_plane.resolver import NameNotResolvedError
from microgateway.snapshot import Target, Upstream
from microgateway.state.targets import Member, MemoryTargets

MOST_AT_ONCE = 64
SPREAD = 200  # a second: how many new targets get their first check in one

Key = tuple[str, str]  # a service's id, and a target's name
Told = Callable[[str, str, CheckResult, float], None]


class HealthChecker:
    """Asks the targets of the services in force, and tells their members what came of it.

    `told` hears of each result, under its key. `now` is the clock of the data plane.
    Used on one event loop; `start` and `stop` are called once each.
    """

    def __init__(
        self,
        *,
        connector: Connector,
        targets: MemoryTargets,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        random: Random | None = None,
        most_at_once: int = MOST_AT_ONCE,
        told: Told | None = None,
    ) -> None:
        self._connector = connector
        self._told = told
        self._targets = targets
        self._now = now
        self._wall = wall
        self._random = random or Random()  # noqa: S311  it spreads checks over time
        self._answers = AnswerReader()
        self._places = asyncio.Semaphore(most_at_once)
        self._upstreams: Mapping[str, Upstream] = {}
        self._due: dict[Key, float] = {}  # by the loop's clock; what is under way is not due
        self._queue: list[tuple[float, Key]] = []  # with entries that count no more: `_due` decides
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._news = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._keeper = start_task(self._keep_time(), "the health checks")
        self._schedule_new()

    async def stop(self) -> None:
        """Ends every check that is under way; nothing is told any more."""
        tasks = [*self._running.values(), *([] if self._keeper is None else [self._keeper])]
        self._keeper = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def apply(self, upstreams: Mapping[str, Upstream]) -> None:
        """Puts a configuration in force. Targets that were there keep their time."""
        before, self._upstreams = self._upstreams, upstreams
        if self._keeper is not None and upstreams is not before:
            self._schedule_new()

    async def check(self, service_id: str) -> None:
        """Asks all targets of a service now, whether its checks are switched on or not."""
        await asyncio.gather(*map(self._wait_for, self._keys_of(self._upstreams.get(service_id))))

    async def check_all(self) -> None:
        """The same for every service that is switched on."""
        upstreams = [upstream for upstream in self._upstreams.values() if upstream.enabled]
        await asyncio.gather(*(self._wait_for(key) for upstream in upstreams for key in self._keys_of(upstream)))

    # -- when ----------------------------------------------------------------------------------------------------------

    def _keys_of(self, upstream: Upstream | None) -> list[Key]:
        return [] if upstream is None else [(upstream.id, target.name) for target in upstream.targets]

    def _wanted(self) -> Iterator[tuple[Key, CheckPolicy]]:
        for upstream in self._upstreams.values():
            if upstream.enabled and upstream.checks.enabled:
                for key in self._keys_of(upstream):
                    yield key, upstream.checks

    def _schedule_new(self) -> None:
        """New targets get a time soon, all of them spread a little; those that are gone lose theirs."""
        wanted = dict(self._wanted())
        for key in self._due.keys() - wanted.keys():
            del self._due[key]
        now = asyncio.get_running_loop().time()
        new = [key for key in wanted if key not in self._due and key not in self._running]
        spread = len(new) / SPREAD
        for key in new:
            self._plan(key, now + self._random.random() * min(spread, wanted[key].interval))
        for key, due in tuple(self._due.items()):
            if due > (soonest := now + wanted[key].interval * (1 + wanted[key].jitter)):
                self._plan(key, soonest)  # the interval has become shorter
        self._news.set()

    def _plan(self, key: Key, due: float) -> None:
        self._due[key] = due
        heapq.heappush(self._queue, (due, key))

    async def _keep_time(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._news.clear()
            while self._queue and self._queue[0][0] <= loop.time():
                due, key = heapq.heappop(self._queue)
                if self._due.get(key) == due:
                    self._begin(key)
            wait = self._queue[0][0] - loop.time() if self._queue else None
            try:
                await asyncio.wait_for(self._news.wait(), wait)
            except TimeoutError:
                continue

    async def _wait_for(self, key: Key) -> None:
        """A check that ends because the checker stops is none of the caller's errors."""
        await asyncio.wait([self._begin(key)])

    def _begin(self, key: Key) -> asyncio.Task[None]:
        task = self._running.get(key)
        if task is None:
            self._due.pop(key, None)
            task = self._running[key] = start_task(self._check(key), "a health check")
            task.add_done_callback(lambda task: self._ended(key, task))
        return task

    def _ended(self, key: Key, task: asyncio.Task[None]) -> None:
        """Plans the next one, where the service still wants it."""
        del self._running[key]
        upstream = self._upstreams.get(key[0])
        if task.cancelled() or self._keeper is None or upstream is None:
            return
        member = self._targets.of(upstream).members.get(key[1])
        if member is not None and upstream.enabled and upstream.checks.enabled:
            delay = member.health.next_check_in(upstream.checks, self._random.random())
            self._plan(key, asyncio.get_running_loop().time() + delay)
            self._news.set()

    # -- how -----------------------------------------------------------------------------------------------------------

    async def _check(self, key: Key) -> None:
        async with self._places:
            upstream = self._upstreams.get(key[0])
            member = None if upstream is None else self._targets.of(upstream).members.get(key[1])
            if upstream is not None and member is not None:
                result = await self._ask(member, upstream.checks)
                now = self._now()
                member.checked(result, now)
                if self._told is not None:
                    self._told(*key, result, now)

    async def _ask(self, member: Member, policy: CheckPolicy) -> CheckResult:
        began, at = time.perf_counter(), self._wall()
        status: int | None = None
        try:
            async with asyncio.timeout(policy.timeout):
                status = await self._status_of(member.target, policy.path)
            detail = f"it answered {status}"
        except TimeoutError:
            detail = f"it did not answer within {policy.timeout:g} s"
        except (NameNotResolvedError, TlsFailedError) as error:
            detail = str(error)
        except HeadError:
            detail = "its answer can't be understood"
        except OSError as error:
            detail = f"it can't be reached: {error.strerror or error}"
        return CheckResult(status in policy.expected, at, time.perf_counter() - began, status, detail)

    async def _status_of(self, target: Target, path: bytes) -> int:
        made: list[CheckConnection] = []

        def factory() -> CheckConnection:
            made.append(CheckConnection(self._answers))
            return made[-1]

        try:
            await self._connector.connect(target.url, target.url.tls, factory)
            return await made[-1].ask(_request(target, path))
        finally:
            for connection in made:
                connection.close()


def _request(target: Target, path: bytes) -> bytes:
    line = b"GET %b%b HTTP/1.1\r\n" % (target.path, path)
    fields = b"User-Agent: microgateway health check\r\nAccept: */*\r\nConnection: close\r\n"
    return b"%b%b%b\r\n" % (line, target.host_field, fields)
