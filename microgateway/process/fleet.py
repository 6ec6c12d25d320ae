"""The workers, as the control process sees them: what is in force in them, what they have counted, who they are.

To the rest of the control process a fleet is what a listener is in a gateway of one process. A configuration counts as
published when every worker that is there has it in force; one that does not say so in time is ended by the supervisor,
and comes back with it.
"""

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from microgateway.background import start_task
from microgateway.control_plane.live_view import ProcessView
from microgateway.core.health import CheckResult
from microgateway.errors import StartupError
from microgateway.exchange import Event
from microgateway.observability.log_frames import RawRow
from microgateway.process.leash import Leash
from microgateway.process.link import Kind, Link, packed
from microgateway.process.shared_state import SharedState
from microgateway.process.worker_messages import Report, WorkerSetup
from microgateway.snapshot import Snapshot, SnapshotChange
from microgateway.state.targets import Ejection

LONGEST_START = 30.0  # seconds for the workers to be there
LONGEST_APPLYING = 5.0  # seconds for a worker to put a configuration in force
LONGEST_FLUSH = 1.0
KEYS_AT_A_TIME = 2_000  # of a whole key ring: some milliseconds of a worker's time

Counted = Callable[[Report], None]
Checked = tuple[str, str, CheckResult, float]
"""A service's id, the name of one of its targets, and what a health check came to, and when (monotonic)."""


@dataclass(frozen=True, slots=True)
class FleetEnds:
    """What the control process inherits: its leash, the memory, and where it stands among sockets that others hold."""

    leash: Leash
    state: SharedState
    workers: int
    proxy_port: int
    ears: Sequence[int]  # the log writer's ends of the workers' sockets
    lost: list[Callable[[], None]] = field(default_factory=list)

    def on_lost(self, end: Callable[[], None]) -> None:
        """Calls this when the supervisor is gone."""
        self.lost.append(end)


class AttachedWorker:
    """One worker that has a link. `applied` is the version that it has in force, 0 for none."""

    link: Link

    def __init__(self, number: int) -> None:
        self.number = number
        self.pid = 0
        self.applied = 0
        self.sent: Snapshot | None = None
        self.report: Report | None = None
        self.changed = asyncio.Event()
        self.flushed = asyncio.Event()
        self.gone = False

    async def applies(self, version: int) -> None:
        """Returns when it has, or when it is gone."""
        while self.applied < version and not self.gone:
            self.changed.clear()
            await self.changed.wait()


class Fleet:
    """All workers. `setup` makes the data planes; `count` is told of every report, `hear` of every event.

    `show` is given the rows of the log while they are wanted, see `tail`. `checks` and `ejections` say what is known of
    targets, which a new worker is told; `eject` is told what a worker ejects, and says whether that is news.
    """

    def __init__(
        self,
        ends: FleetEnds,
        *,
        setup: WorkerSetup,
        count: Counted,
        hear: Callable[[Event], None],
        show: Callable[[Sequence[RawRow]], None],
        checks: Callable[[], Iterable[Checked]],
        ejections: Callable[[], Iterable[Ejection]],
        eject: Callable[[Ejection], bool],
    ) -> None:
        self._ends = ends
        self._setup = setup
        self._count = count
        self._hear = hear
        self._show = show
        self._is_tailed = False
        self._checks = checks
        self._ejections = ejections
        self._eject = eject
        self._workers: dict[int, AttachedWorker] = {}
        self._snapshot = Snapshot()
        self._version = 1
        self._attaching: set[asyncio.Task[None]] = set()
        self._arrived = asyncio.Event()
        self._rows_dropped = 0
        self.processes: Sequence[ProcessView] = ()
        self.is_draining = False

    # -- what a listener has -------------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        return self._ends.proxy_port

    @property
    def is_listening(self) -> bool:
        return any(worker.applied for worker in self._workers.values())

    @property
    def connections(self) -> int:
        return sum(report.connections for report in self._reports())

    @property
    def in_flight(self) -> int:
        return sum(report.in_flight for report in self._reports())

    @property
    def upstream_connections(self) -> int:
        return sum(report.upstream_connections for report in self._reports())

    @property
    def log(self) -> tuple[int, int]:
        """Rows of the log that workers have dropped, and those that wait in them."""
        dropped, waiting = self._rows_dropped, 0
        for report in self._reports():
            dropped, waiting = dropped + report.log[0], waiting + report.log[1]
        return dropped, waiting

    async def start(self, host: str, port: int) -> None:
        """Attaches the workers that there are; returns when all are listening. Raises `StartupError`.

        Where they listen is the supervisor's affair, who has opened the port.
        """
        asyncio.get_running_loop().add_reader(self._ends.leash.socket.fileno(), self._pulled)
        self._pulled()
        try:
            async with asyncio.timeout(LONGEST_START):
                while sum(bool(worker.applied) for worker in self._workers.values()) < self._ends.workers:
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            raise StartupError("the workers did not start") from None

    async def publish(self, snapshot: Snapshot, change: SnapshotChange | None = None) -> None:
        """Puts a configuration in force, and returns when it is, in every worker that there is.

        Who has the one before it is sent the change only, if there is one and it was taken from that.
        """
        before, self._snapshot = self._snapshot, snapshot
        self._version += 1
        version = self._version
        follows = change is not None and change.between == (before.version, snapshot.version)
        message = packed(Kind.CHANGE, version, change) if follows else b""
        workers = [worker for worker in self._workers.values() if worker.sent is not None]
        whole: bytes | None = None
        for worker in workers:
            if message and worker.sent is before:
                worker.sent = snapshot
                worker.link.send_packed(message)
            else:
                whole = whole or self._whole()
                self._send_all(worker, whole)
        late = await self._wait(workers, version)
        for worker in late:
            self._ends.leash.send({"stuck": worker.pid})
        if late:
            await self._wait(late, version)

    async def flush(self) -> None:
        """Has every worker hand on what has ended; returns when it has, or does not answer."""
        workers = list(self._workers.values())
        for worker in workers:
            worker.flushed.clear()
            worker.link.send(Kind.FLUSH)
        await _within(LONGEST_FLUSH, [worker.flushed.wait() for worker in workers])

    def renew_files(self) -> None:
        for worker in self._workers.values():
            worker.link.send(Kind.RENEW)

    async def drain(self, limit: float) -> None:
        """Nothing: the supervisor has the workers end before the control process, or keeps them when this one goes."""

    def checked(self, service_id: str, target: str, result: CheckResult, now: float) -> None:
        """A target was asked how it is: every worker is told."""
        message = packed(Kind.CHECKED, service_id, target, result, now)
        for worker in self._workers.values():
            worker.link.send_packed(message)

    def tail(self, wanted: bool) -> None:
        """Whether every worker is to send what has ended: only while somebody follows it, for it has its price."""
        self._is_tailed = wanted
        message = packed(Kind.TAIL, wanted)
        for worker in self._workers.values():
            worker.link.send_packed(message)

    # -- workers that come and go --------------------------------------------------------------------------------------

    def _pulled(self) -> None:
        if not self._ends.leash.receive(self._handed):
            asyncio.get_running_loop().remove_reader(self._ends.leash.socket.fileno())
            for end in self._ends.lost:
                end()

    def _handed(self, message: dict[str, Any], sockets: list[socket.socket]) -> None:
        if "attach" in message:
            task = start_task(self._attach(message["attach"], sockets[0]), "attaching a worker")
            self._attaching.add(task)
            task.add_done_callback(self._attaching.discard)
        if "draining" in message:
            self.is_draining = True
        if "processes" in message:
            self.processes = [ProcessView(**each) for each in message["processes"]]

    async def _attach(self, number: int, end: socket.socket) -> None:
        worker = AttachedWorker(number)
        worker.link = Link(lambda message: self._receive(worker, message), lambda: self._lost(worker))
        await worker.link.open(end)

    def _lost(self, worker: AttachedWorker) -> None:
        worker.gone = True
        worker.flushed.set()
        worker.changed.set()
        if worker.report is not None:
            self._rows_dropped += worker.report.log[0]
        if self._workers.get(worker.number) is worker:
            del self._workers[worker.number]
            self._ends.leash.send({"detached": worker.pid})  # should it live, it would not hear of a change any more

    def _receive(self, worker: AttachedWorker, message: Any) -> None:
        kind, *content = message
        if kind == Kind.REPORT:
            worker.link.send(Kind.TAKEN, content[0])  # first: what is counted twice is worse than what is lost
            worker.report = content[1]
            self._count(content[1])
        elif kind == Kind.FLUSHED:
            worker.flushed.set()
        elif kind == Kind.EVENT:
            self._hear(content[0])
        elif kind == Kind.EJECTED:
            self._pass_on(worker, content[0])
        elif kind == Kind.ROWS:
            self._show(content[0])
        elif kind == Kind.APPLIED:
            worker.applied = content[0]
            worker.changed.set()
            self._arrived.set()
        elif kind == Kind.HELLO:
            worker.pid = content[0]
            self._workers[worker.number] = worker
            worker.link.send(Kind.SETUP, self._setup)
            worker.link.send(Kind.TAIL, self._is_tailed)
            self._send_all(worker, self._whole())
        elif kind == Kind.BEHIND:
            self._send_all(worker, self._whole())

    def _pass_on(self, ejecting: AttachedWorker, ejection: Ejection) -> None:
        """To all the others, once; those that come later are told with everything else."""
        if self._eject(ejection):
            message = packed(Kind.EJECTED, ejection)
            for worker in self._workers.values():
                if worker is not ejecting:
                    worker.link.send_packed(message)

    def _whole(self) -> bytes:
        """The messages that tell the whole configuration."""
        snapshot = self._snapshot
        keys = [packed(Kind.KEYS, part) for part in snapshot.keys.in_parts(KEYS_AT_A_TIME)]
        return b"".join([*keys, packed(Kind.SNAPSHOT, self._version, snapshot.without_keys())])

    def _send_all(self, worker: AttachedWorker, whole: bytes) -> None:
        """To one that has no configuration, or one of which nobody knows what it has."""
        worker.sent = self._snapshot
        worker.link.send_packed(whole)
        for checked in self._checks():
            worker.link.send(Kind.CHECKED, *checked)
        for ejection in self._ejections():
            worker.link.send(Kind.EJECTED, ejection)

    async def _wait(self, workers: Sequence[AttachedWorker], version: int) -> list[AttachedWorker]:
        """Those that have not put this version in force in time."""
        await _within(LONGEST_APPLYING, [worker.applies(version) for worker in workers])
        return [worker for worker in workers if worker.applied < version and not worker.gone]

    def _reports(self) -> Iterator[Report]:
        return (worker.report for worker in self._workers.values() if worker.report is not None)


async def _within(seconds: float, waits: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Until all of them are over, or this long; then nobody waits on."""
    waiting = [asyncio.create_task(each) for each in waits]
    if not waiting:
        return
    try:
        await asyncio.wait(waiting, timeout=seconds)
    finally:
        for task in waiting:
            task.cancel()
