"""A worker: the data plane in a process of its own, `python -m microgateway.process.worker`.

It has neither database nor control port. What it needs to know comes over the link from the control process, and what
it has counted goes back; rows of the log go to the log's writer directly. Without the control process it serves on with
what it knows, keeps what it has to tell up to a bound, and attaches again when there is a new one.

It ends when it is told to (SIGTERM), after a drain; when it loses its supervisor, the same way. And when something of
its own fails that nobody waits for: a worker that can't report, or can't take a configuration, must not serve on.
"""

import asyncio
import gc
import json
import os
import signal
import socket
import sys
import time
import traceback
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import uvloop

from microgateway.clock import SystemClock
from microgateway.core.health import CheckResult, TargetStatus
from microgateway.data_plane.listener import Listener
from microgateway.data_plane.pipeline import State
from microgateway.exchange import Event, Exchange
from microgateway.observability.counting import Counting
from microgateway.observability.log_feed import LogFeed
from microgateway.observability.log_frames import raw_rows
from microgateway.observability.recorder import Recorder, Sink
from microgateway.observability.usage import Usage
from microgateway.process.collector import spare_the_collector
from microgateway.process.composition import authentication, proxy_options, verifier
from microgateway.process.leash import Leash
from microgateway.process.link import Kind, Link
from microgateway.process.reports import Reports
from microgateway.process.shared_state import SharedState
from microgateway.process.worker_messages import WorkerSetup
from microgateway.snapshot import KeyChange, KeyRing, Snapshot, SnapshotChange
from microgateway.state.shared_retries import SharedRetryBudgets
from microgateway.state.targets import Ejection, MemoryTargets

REPORT_INTERVAL = 0.25  # seconds
MOST_EVENTS = 1_000  # that wait for the control process
MOST_ROWS = 100_000  # for the log, about 20 MB: those of some seconds, in which another control process starts
MOST_WAITING = 1_000_000  # bytes for the control process, beyond which whoever follows the log misses rows
LAST_REPORT = 1.0  # seconds that an end waits for the control process to take what is left
MOST_CELLS = 10_000  # kinds of exchanges


class Worker:
    """`number` is the worker's among all processes that share the memory; it is nobody else's while it lives."""

    _serving: tuple[Listener, Recorder, Reports] | None = None

    def __init__(self, *, number: int, leash: Leash, listening: list[socket.socket], state: SharedState) -> None:
        self._number = number
        self._leash = leash
        self._listening = listening
        self._state = state
        self._turns = state.turns(number)
        self._link: Link | None = None
        self._events: deque[Event] = deque(maxlen=MOST_EVENTS)
        self._parts: list[KeyChange] = []
        self._set_up = asyncio.Event()
        self._ending = asyncio.Event()
        self._feed: LogFeed | None = None
        self._setup: WorkerSetup | None = None
        self._attaching: set[asyncio.Task[None]] = set()
        self._exit_code = 0
        self._is_told = False
        self._is_tailed = False
        self._version = 0  # of the present control process
        self._snapshot = Snapshot()
        self._targets = MemoryTargets(listeners=[self._tell])

    async def run(self, log: socket.socket) -> int:
        """The exit code."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._ending.set)
        for number in (signal.SIGINT, signal.SIGHUP):  # those of a terminal: the supervisor decides what they mean
            signal.signal(number, signal.SIG_IGN)
        loop.add_reader(self._leash.socket.fileno(), self._pulled)
        await _first_of(self._set_up, self._ending)
        if self._setup is not None:
            await self._serve(self._setup, log)
        if self._link is not None:
            self._link.close()
        return self._exit_code

    async def _serve(self, setup: WorkerSetup, log: socket.socket) -> None:
        settings = setup.settings
        counting = Counting(
            most_routes=settings.metrics_series, most_keys=settings.metrics_series, most_cells=MOST_CELLS
        )
        sinks: list[Sink] = [self._tail]
        if setup.writes:
            self._feed = LogFeed(MOST_ROWS)
            self._feed.start_on(log)
            sinks.append(self._feed)
        recorder = Recorder(Usage(), sinks, counters=[counting.count])
        limiter, circuits = self._state.limiter(self._number), self._state.circuits(self._number, [self._tell])
        listener = Listener(
            options=proxy_options(settings),
            snapshot=Snapshot(),
            state=State(
                limiter,
                circuits,
                authentication(settings, verifier(settings, setup.secret, SystemClock())),
                self._targets,
                SharedRetryBudgets(limiter),
            ),
            recorder=recorder,
        )
        reports = Reports(counting, recorder.usage)
        listener.apply(self._snapshot)
        await listener.start_on(self._listening, self._turns.excess)
        recorder.start()
        spare_the_collector()
        self._serving = (listener, recorder, reports)
        self._leash.send({"serving": True})
        self._greet()
        reporting = asyncio.create_task(self._report(*self._serving))
        reporting.add_done_callback(self._task_ended)
        await self._ending.wait()
        self._turns.leave()
        await listener.drain(settings.drain_timeout)
        reporting.cancel()
        await self._settle(*self._serving)

    # -- what comes ----------------------------------------------------------------------------------------------------

    def _pulled(self) -> None:
        """The supervisor hands a link over, or is gone."""
        if not self._leash.receive(self._handed):
            asyncio.get_running_loop().remove_reader(self._leash.socket.fileno())
            self._ending.set()

    def _handed(self, message: dict[str, Any], sockets: list[socket.socket]) -> None:
        task = asyncio.create_task(self._attach(sockets[0]))
        self._attaching.add(task)
        task.add_done_callback(self._attaching.discard)
        task.add_done_callback(self._task_ended)

    async def _attach(self, end: socket.socket) -> None:
        if self._link is not None:
            self._link.abort()
        link = Link(self._receive, lambda: self._lost(link))
        await link.open(end)
        self._link, self._version, self._is_tailed = link, 0, False
        link.send(Kind.HELLO, os.getpid())
        self._greet()

    def _greet(self) -> None:
        """Now that there is both a link and something to tell."""
        if self._link is None or self._serving is None:
            return
        if self._version:
            self._link.send(Kind.APPLIED, self._version)
        self._serving[2].attach(self._link)
        while self._events:
            self._link.send(Kind.EVENT, self._events.popleft())
        for ejection in self._targets.ejections(time.monotonic()):
            self._link.send(Kind.EJECTED, ejection)

    def _lost(self, link: Link) -> None:
        if self._link is link:
            self._link = None
            if self._serving is not None:
                self._serving[2].link = None

    def _receive(self, message: Any) -> None:
        """A message that can't be obeyed ends the worker: what it would serve by then is not what is configured."""
        try:
            self._obey(message)
        except Exception as error:  # noqa: BLE001  it is told, and this process ends of it
            self._fail(error)

    def _obey(self, message: Any) -> None:
        kind, *content = message
        if kind == Kind.CHANGE:
            self._change(*content)
        elif kind == Kind.KEYS:
            self._parts.append(content[0])
        elif kind == Kind.SNAPSHOT:
            keys, self._parts = KeyRing.of_parts(self._parts), []
            self._apply(content[0], replace(content[1], keys=keys))
            gc.freeze()  # it stays: the collector would look at all of it again, for some 50 ms with 10 000 routes
        elif kind == Kind.TAKEN and self._serving is not None:
            self._serving[2].was_taken(content[0])
        elif kind == Kind.SETUP:
            self._setup = self._setup or content[0]
        elif kind == Kind.FLUSH:
            self._flush()
        elif kind == Kind.RENEW and self._serving is not None:
            self._serving[0].renew_files()
        elif kind == Kind.TAIL:
            self._is_tailed = content[0]
        else:
            self._hear_of_target(kind, *content)

    def _hear_of_target(self, kind: Kind, *content: Any) -> None:
        if kind == Kind.CHECKED:
            self._checked(*content)
        elif kind == Kind.EJECTED:
            self._follow(*content)

    def _change(self, version: int, change: SnapshotChange) -> None:
        """A change counts for the version before it only: with any other in force, the whole is asked for, once."""
        if version == self._version + 1:
            self._apply(version, self._snapshot.with_change(change))
        elif self._version and self._link is not None:
            self._version = 0
            self._link.send(Kind.BEHIND)

    def _apply(self, version: int, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._version = version
        self._set_up.set()
        if self._serving is not None:
            self._serving[0].apply(self._snapshot)
            if self._link is not None:
                self._link.send(Kind.APPLIED, version)

    def _checked(self, service_id: str, target: str, result: CheckResult, now: float) -> None:
        """The control process asked a target how it is. It has told of what came of that, so nothing is told here."""
        upstream = self._snapshot.upstreams.get(service_id)
        member = None if upstream is None else self._targets.of(upstream).members.get(target)
        if member is not None:
            self._is_told = True
            member.checked(result, now)
            self._is_told = False

    def _follow(self, ejection: Ejection) -> None:
        upstream = self._snapshot.upstreams.get(ejection.service_id)
        if upstream is not None:
            self._targets.follow(upstream, ejection, time.monotonic())

    # -- what fails ----------------------------------------------------------------------------------------------------

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Says what it is, and has this worker end, after a drain; the supervisor starts another."""
        traceback.print_exception(error)
        self._exit_code = 1
        self._ending.set()

    # -- what goes -----------------------------------------------------------------------------------------------------

    def _tell(self, event: Event) -> None:
        if self._is_told:
            return
        if self._link is None:
            self._events.append(event)
        else:
            self._link.send(Kind.EVENT, event)
            if event.kind == "target" and event.after == TargetStatus.EJECTED.value:
                self._share(event)

    def _share(self, event: Event) -> None:
        """The other workers need not find out for themselves."""
        for ejection in self._targets.ejections(time.monotonic()):
            if self._link is not None and (ejection.service_id, ejection.target) == (event.service_id, event.target):
                self._link.send(Kind.EJECTED, ejection)

    def _tail(self, batch: Sequence[Exchange]) -> None:
        """For who follows the log as it comes: a sink, which costs nothing while nobody does."""
        if self._is_tailed and self._link is not None and self._link.waiting < MOST_WAITING:
            self._link.send(Kind.ROWS, raw_rows(batch))

    def _flush(self) -> None:
        if self._serving is not None:
            listener, recorder, reports = self._serving
            recorder.flush()
            reports.send(listener, self._feed)
        if self._link is not None:
            self._link.send(Kind.FLUSHED)

    async def _report(self, listener: Listener, recorder: Recorder, reports: Reports) -> None:
        while True:
            if listener.is_listening:
                self._turns.note(listener.connections)
            await asyncio.sleep(REPORT_INTERVAL)
            recorder.flush()
            reports.send(listener, self._feed)

    async def _settle(self, listener: Listener, recorder: Recorder, reports: Reports) -> None:
        """The last of what is to be told, as far as somebody takes it in time."""
        recorder.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_REPORT):
                if reports.link is not None:
                    await reports.taken.wait()
                if reports.send(listener, self._feed):
                    await reports.taken.wait()
        if self._feed is not None:
            await self._feed.empty(LAST_REPORT)


async def _first_of(*events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


async def _main(given: dict[str, Any]) -> int:
    worker = Worker(
        number=given["number"],
        leash=Leash.inherited(given["leash"]),
        listening=[socket.socket(fileno=descriptor) for descriptor in given["listening"]],
        state=SharedState.attached(given["memory"]),
    )
    return await worker.run(socket.socket(fileno=given["log"]))


if __name__ == "__main__":
    sys.exit(uvloop.run(_main(json.loads(sys.argv[1]))))
