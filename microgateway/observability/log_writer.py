"""The process that writes down every request: `python -m microgateway.observability.log_writer`.

SQLite in a thread of the gateway's own would take processor time, and the interpreter's lock, from the requests. So a
process of its own is sent what has ended, and writes it four times a second. It is told what to do by JSON on standard
input, reads frames (`log_frames.py`) from the sockets that it inherits, and ends when all of them have come to their
end: a gateway that is killed leaves what it has sent, and that is written too. Signals are the gateway's affair; to
this process a stop is the end of its sockets, so that nothing which was on its way is lost.

While the database is away rows are kept, up to a bound; beyond it the newest are dropped and counted.
"""

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from selectors import EVENT_READ, DefaultSelector
from typing import Any

from microgateway.observability.access_log import AccessLog
from microgateway.observability.log_frames import CLEAR, COUNTS, DONE, REOPEN, ROWS, SETTLE, pack, unpack
from microgateway.observability.log_rows import Ended, ended
from microgateway.persistence.log_store import LogStore, LogStoreError, Retention, open_store
from microgateway.persistence.log_zones import Row

COMMIT_INTERVAL = 0.25  # seconds
MOST_PER_COMMIT = 5_000  # rows
MOST_PENDING = 50_000  # rows that wait for a database that is away
FRAMES_AT_A_TIME = 64
MOST_FRAMES_BETWEEN = 2_000  # read of others before one is told that all is written
RETRY_INTERVAL = 1.0  # seconds after a failure
RETENTION_INTERVAL = 60.0  # seconds between two looks at a log into which nothing is written
LONGEST_FRAME = 1 << 20
NICENESS = 5  # requests come first where a processor is short: a third of its time against theirs

Observer = Callable[[Sequence[Ended], Sequence[Row]], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What the gateway wants written. `store` is for `open_store`, None: no request log.

    `access_log` is for `AccessLog`, and `tracing` an OTLP endpoint.
    """

    sockets: tuple[int, ...]
    store: str | None = None
    retention_seconds: float = 0.0
    retention_rows: int = 0
    access_log: str | None = None
    tracing: str | None = None
    service_name: str = "microgateway"


@dataclass(slots=True)
class Counts:
    """Rows since the start. `dropped`: lost here, since the database was away for too long."""

    written: int = 0
    dropped: int = 0
    failures: int = 0
    complaint: str = ""

    def as_mapping(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("written", "dropped", "failures", "complaint")}


@dataclass(slots=True)
class LogWriter:
    """Pending rows, and the log that they go to. `now` is monotonic, `wall` since the epoch, in seconds."""

    store: Callable[[], LogStore]
    keep: Retention
    now: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    counts: Counts = field(default_factory=Counts)
    _opened: LogStore | None = None
    _pending: list[Row] = field(default_factory=list)
    _due: float = float("inf")
    _retain_at: float = 0.0

    def add(self, rows: Iterable[Row]) -> None:
        """Takes these up; what is beyond the bound is dropped."""
        if not self._pending:
            self._due = min(self._due, self.now() + COMMIT_INTERVAL)
        before = len(self._pending)
        self._pending.extend(rows)
        excess = len(self._pending) - MOST_PENDING
        if excess > 0:
            del self._pending[max(before, MOST_PENDING) :]
            self.counts.dropped += excess

    def wait(self) -> float:
        """Seconds until `work` has something to do."""
        return max(0.0, min(self._due, self._retain_at) - self.now())

    def work(self) -> None:
        """Writes and tidies what is due."""
        now = self.now()
        if now >= self._due:
            self.write()
        if now >= self._retain_at:
            self._retain(now)

    def write(self) -> None:
        """Writes all that is pending, or as much as the database takes."""
        self._due = float("inf")
        while self._pending:
            some = self._pending[:MOST_PER_COMMIT]
            if not self._try(lambda store, rows=some: store.append(rows)):  # type: ignore[misc]
                self._due = self.now() + RETRY_INTERVAL
                return
            del self._pending[: len(some)]
            self.counts.written += len(some)
            self._retain_at = min(self._retain_at, self.now())

    def clear(self, before: float | None) -> str:
        """Writes what is pending and deletes what is of before this moment. The complaint, empty when it is done."""
        self.write()
        return "" if self._try(lambda store: store.clear(before)) else self.counts.complaint

    def settle(self) -> str:
        """Writes what is pending. The complaint where some of it could not be written, otherwise empty."""
        self.write()
        return self.counts.complaint if self._pending else ""

    def close(self) -> None:
        """Writes what is left: the last chance of these rows."""
        self.write()
        self.counts.dropped += len(self._pending)
        if self._opened is not None:
            self._opened.close()

    def _retain(self, now: float) -> None:
        more = []
        done = self._try(lambda store: more.append(store.retain(self.keep, self.wall())))
        self._retain_at = now + (COMMIT_INTERVAL / 10 if done and more[0] else RETENTION_INTERVAL)

    def _try(self, ask: Callable[[LogStore], None]) -> bool:
        try:
            if self._opened is None:
                self._opened = self.store()
            ask(self._opened)
        except LogStoreError as error:
            self.counts.failures += 1
            self.counts.complaint = str(error)
            return False
        self.counts.complaint = ""
        return True


class Ears:
    """The sockets: reads their frames, and answers them."""

    def __init__(
        self,
        *,
        sockets: Iterable[socket.socket],
        log: LogWriter | None,
        observers: Sequence[Observer] = (),
        reopen: Callable[[], None] = lambda: None,
    ) -> None:
        self._selector = DefaultSelector()
        self._sockets = list(sockets)
        self._first = self._sockets[0]
        self._is_over = False
        self._log = log
        self._observers = observers
        self._buffer = memoryview(bytearray(LONGEST_FRAME))
        self._reopen = reopen
        for ear in self._sockets:
            ear.setblocking(False)
            self._selector.register(ear, EVENT_READ)

    def listen(self) -> None:
        """Until every socket has come to its end, or the first: others are kept open for the next writer, so what they
        hold by then is read, and no more.
        """
        told = None
        while self._sockets and not self._is_over:
            for key, _ in self._selector.select(None if self._log is None else self._log.wait()):
                if key.fileobj in self._sockets:  # it may have been read to its end meanwhile
                    self._read(key.fileobj)
            if self._log is not None:
                self._log.work()
                if (counts := self._log.counts.as_mapping()) != told:
                    told = counts
                    self._tell_all(pack(COUNTS, counts))
        for ear in self._sockets.copy():
            self._read(ear, most=MOST_FRAMES_BETWEEN)

    def _read(self, ear: socket.socket, *, most: int = FRAMES_AT_A_TIME) -> None:
        for _ in range(most):
            try:
                size = ear.recv_into(self._buffer)
            except BlockingIOError:
                return
            except ConnectionResetError:  # killed, with something unread
                size = 0
            if not size:
                self._selector.unregister(ear)
                self._sockets.remove(ear)
                self._is_over = self._is_over or ear is self._first
                ear.close()
                return
            self._obey(ear, unpack(self._buffer[:size]))

    def _read_others(self, ear: socket.socket) -> None:
        """What other processes sent before they were asked to may still be in their sockets."""
        for other in self._sockets.copy():
            if other is not ear:
                self._read(other, most=MOST_FRAMES_BETWEEN)

    def _obey(self, ear: socket.socket, frame: Any) -> None:
        kind = frame[0]
        if kind == ROWS:
            rows = ended(frame[1])
            kept = [row.row() for row in rows]
            if self._log is not None:
                self._log.add(kept)
            for observe in self._observers:
                observe(rows, kept)
        elif kind == SETTLE:
            self._read_others(ear)
            self._tell(ear, pack(DONE, frame[1], self._log.settle() if self._log else ""))
        elif kind == CLEAR:
            self._read_others(ear)
            self._tell(ear, pack(DONE, frame[1], self._log.clear(frame[2]) if self._log else "the log is off"))
        elif kind == REOPEN:
            self._reopen()

    def _tell_all(self, frame: bytes) -> None:
        for ear in self._sockets:
            self._tell(ear, frame)

    def _tell(self, ear: socket.socket, frame: bytes) -> None:
        """What the gateway does not read in time it does not need."""
        with suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            ear.send(frame)


def main() -> None:
    """Reads what it is to do, writes until its sockets end, and returns when all is written."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICENESS)
    given = json.load(sys.stdin)
    options = Options(**given | {"sockets": tuple(given["sockets"])})
    sockets = [socket.socket(fileno=number) for number in options.sockets]
    with ExitStack() as closing:
        log, observers, reopen = None, list[Observer](), _nothing
        if (store := options.store) is not None:
            keep = Retention(options.retention_seconds, options.retention_rows)
            log = LogWriter(lambda: open_store(store), keep)
            closing.callback(log.close)
        if options.access_log is not None:
            access = AccessLog(options.access_log, complain=_tell_operator)
            observers.append(lambda _, rows: access(rows))
            reopen = access.reopen
        if options.tracing is not None:
            observers.append(_tracing(options.tracing, options.service_name, closing))
        Ears(sockets=sockets, log=log, observers=observers, reopen=reopen).listen()


def _tracing(endpoint: str, service_name: str, closing: ExitStack) -> Observer:
    from microgateway.observability.spans import SpanExport  # takes a while, and needs the extra

    spans = SpanExport(endpoint, service_name)
    closing.callback(spans.close)
    return lambda ended, _: spans(ended)


def _nothing() -> None: ...


def _tell_operator(complaint: str) -> None:
    sys.stderr.write(f"microgateway: {complaint}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
