"""`microgateway run --workers N`: one control process and N workers on one proxy port, and this process over them.

It opens the ports and the memory that the others share, starts them, and starts what ends unasked again, after a pause
that grows. It takes no part in traffic or configuration, so there is nothing in it that traffic could break.

SIGTERM and SIGINT: readiness turns 503, the workers drain, then the control process ends, then this one. A second one
ends at once. SIGHUP (`microgateway reload`): new workers are started on the same sockets, from the code and settings as
they are now; when they serve, the old ones drain, and the control process is exchanged too. The sockets never close, so
nobody is refused.

As the first process of a container it also reaps what others leave behind.
"""

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any, Literal

from microgateway.process.children import Child, Place, hand_over, start
from microgateway.process.listening import listen_control, listen_proxy
from microgateway.process.pid_file import held
from microgateway.process.shared_state import CONTROL, SharedState
from microgateway.process.terminal import Terminal
from microgateway.settings import Settings

LOOK_INTERVAL = 0.5  # seconds, at the longest, between two looks at what is due
CONTROL_PATIENCE = 20.0  # seconds for the control process to end: the log's writer may have to write
LONGEST_RELOAD = 60.0  # seconds for new workers to serve; then the old ones go on
NOTICE = 5.0  # seconds beyond the drain before a worker is made to end


@dataclass(slots=True)
class Ends:
    """One number's sockets: what the log is sent through, for a worker, and for the log's writer."""

    log: socket.socket
    ear: socket.socket


class Reload:
    """How far a reload is. `by` is when it has to be done, by the monotonic clock."""

    def __init__(self, by: float) -> None:
        self.by = by
        self.phase: Literal["wanted", "checking", "control", "workers"] = "wanted"
        self._check: subprocess.Popen[bytes] | None = None

    def start_check(self, given: Mapping[str, Any]) -> None:
        """Has a process of the new code read the new settings, and do nothing with them."""
        self.phase = "checking"
        self._check = start("control", {"settings": given})

    def check_code(self) -> int | None:
        """What came of it, None as long as it runs."""
        return None if self._check is None else self._check.returncode

    def reaped(self, pid: int, status: int) -> None:
        """A process has ended; perhaps it was the one that checks."""
        if self._check is not None and self._check.pid == pid:
            self._check.returncode = os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        if self._check is not None and self._check.returncode is None:
            self._check.kill()


class Supervisor:
    """`run` returns the exit code once everything has ended."""

    def __init__(self, settings: Settings, *, given: Mapping[str, Any], workers: int, demo: bool) -> None:
        """`given` are the settings that the command line sets, over those of the environment."""
        self._settings = settings
        self._given = given
        self._demo = demo
        self._control_socket = listen_control(settings.host, settings.port)
        self._proxy_sockets = listen_proxy(settings.proxy_host, settings.proxy_port)
        self._state = SharedState.create()
        # Twice as many as there are workers: those that drain after a reload have their numbers until they end
        self._ends = {number: Ends(*_packet_pair()) for number in range(1, 2 * workers + 1)}
        self._control = Place("control", 0)
        self._places = [Place("worker", index) for index in range(workers)]
        self._draining: list[Child] = []
        self._incoming: dict[int, Child] = {}  # new workers of a reload, by their places
        self._reload: Reload | None = None
        self._signals: list[int] = []
        self._terminal = Terminal()
        self._was_ready = self._is_ready = False
        self._stopping = False
        self._exit_code = 0

    def run(self) -> int:
        """Watches over the others until all have ended; the exit code."""
        woken, waker = socket.socketpair()
        for end in (woken, waker):
            end.setblocking(False)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self._note_signal)
        try:
            while not self._is_over():
                self._start_what_is_due()
                select.select([woken, *(child.leash.socket for child in self._children())], [], [], self._wait())
                with suppress(BlockingIOError):
                    woken.recv(4_096)
                self._hear_children()
                self._obey_signals()
                self._reap()
                self._look_at_the_clock()
        finally:
            for child in self._children():
                with suppress(ProcessLookupError):
                    child.kill()
        return self._exit_code

    # -- starting ------------------------------------------------------------------------------------------------------

    def _start_what_is_due(self) -> None:
        now = time.monotonic()
        if self._stopping:
            return
        if self._control.child is None and self._control.start_at <= now:
            self._start_control()
        for place in self._places:
            if place.child is None and place.start_at <= now:
                place.child = self._start_worker()
                self._introduce(place.child)
                self._tell_processes()

    def _start_control(self) -> None:
        ears = [ends.ear.fileno() for ends in self._ends.values()]
        given = {
            "control": self._control_socket.fileno(),
            "memory": self._state.memory.descriptor,
            "ears": ears,
            "workers": len(self._places),
            "proxy_port": self._proxy_sockets[0].getsockname()[1],
            "settings": self._given,
            "demo": self._demo,
        }
        handed = [self._control_socket.fileno(), self._state.memory.descriptor, *ears]
        self._control.child = Child("control", CONTROL, given, handed)
        for child in self._workers():
            self._introduce(child)
        self._tell_processes()

    def _start_worker(self) -> Child:
        taken = {child.number for child in self._workers()}
        number = next(number for number in self._ends if number not in taken)
        self._state.forget_process(number)
        listening = [each.fileno() for each in self._proxy_sockets]
        memory, log = self._state.memory.descriptor, self._ends[number].log.fileno()
        given = {"listening": listening, "memory": memory, "log": log}
        return Child("worker", number, given, [*listening, memory, log])

    def _introduce(self, worker: Child) -> None:
        """Gives the worker and the control process the two ends of a link."""
        control = self._control.child
        if control is None:
            return
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        hand_over(control.leash, {"attach": worker.number}, one)
        hand_over(worker.leash, {"attach": worker.number}, other)

    # -- what children say ---------------------------------------------------------------------------------------------

    def _hear_children(self) -> None:
        for child in list(self._children()):
            child.leash.receive(lambda message, _, child=child: self._hear(child, message))  # type: ignore[misc]

    def _hear(self, child: Child, message: dict[str, Any]) -> None:
        if "ready" in message:
            self._was_ready = self._is_ready = True
        if "ready" in message or "serving" in message:
            child.served_from = time.monotonic()
        for worker in list(self._workers()):
            if worker.pid == message.get("stuck"):
                worker.kill()
            elif worker.pid == message.get("detached"):  # most have ended by then, and are not reaped yet
                worker.end(self._settings.drain_timeout + NOTICE)

    # -- ends ----------------------------------------------------------------------------------------------------------

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            child = next((child for child in self._children() if child.pid == pid), None)
            if child is not None:
                self._ended(child, child.ended(status))
            elif self._reload is not None:  # otherwise somebody else's orphan
                self._reload.reaped(pid, status)

    def _ended(self, child: Child, code: int) -> None:
        now = time.monotonic()
        if child.role == "worker":
            self._state.forget_process(child.number)
        if child in self._draining:
            self._draining.remove(child)
        elif child in self._incoming.values():
            self._incoming = {index: each for index, each in self._incoming.items() if each is not child}
            self._give_up_reload("a new worker ended")
        elif child is self._control.child:
            self._control_ended(child, code, now)
        else:
            place = next(place for place in self._places if place.child is child)
            place.ended_unasked(child, now)
            if not self._stopping:
                _complain(f"worker {place.index} (process {child.pid}) ended with {code}; another is started")
        self._tell_processes()

    def _control_ended(self, child: Child, code: int, now: float) -> None:
        if not self._was_ready:  # it has said why
            self._exit_code = code or 1
            self._stop()
            self._control.child = None
        elif child.is_ending:
            self._control.child, self._control.start_at = None, now
        else:
            self._control.ended_unasked(child, now)
            _complain(f"the control process {child.pid} ended with {code}; another is started")

    def _obey_signals(self) -> None:
        signals, self._signals = self._signals, []
        for number in signals:
            if number == signal.SIGHUP and not self._terminal.is_gone():
                self._reload = self._reload or Reload(time.monotonic() + LONGEST_RELOAD)
            elif number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                if self._stopping:
                    for child in self._children():
                        child.kill()
                self._stop()

    def _stop(self) -> None:
        """The workers first. Who is stopped while it starts has nothing to drain."""
        self._stopping = True
        for listening in self._proxy_sockets:
            listening.close()
        self._give_up_reload("the gateway is being stopped")
        if self._control.child is not None:
            self._control.child.leash.send({"draining": True})
        for child in self._workers():
            child.end(self._settings.drain_timeout + NOTICE)

    def _look_at_the_clock(self) -> None:
        now = time.monotonic()
        for child in self._children():
            if child.end_by <= now:
                child.kill()
        self._step_of_reload()
        if self._stopping and self._control.child is not None and not list(self._workers()):
            self._control.child.end(CONTROL_PATIENCE)

    def _is_over(self) -> bool:
        return self._stopping and not list(self._children())

    # -- reload --------------------------------------------------------------------------------------------------------

    def _step_of_reload(self) -> None:
        """One thing after the other: is it possible; another control process; other workers; the old ones drain."""
        reload = self._reload
        if reload is None or self._stopping:
            return
        now = time.monotonic()
        if now >= reload.by:
            self._give_up_reload("it took too long")
        elif reload.phase == "wanted" and not self._draining and all(place.child for place in self._every_place()):
            reload.start_check(self._given)
        elif reload.phase == "checking" and (code := reload.check_code()) is not None:
            if code:
                self._give_up_reload("the gateway can't start as it is set up now")
            else:
                reload.phase = "control"
                self._is_ready = False
                if self._control.child is not None:
                    self._control.child.end(CONTROL_PATIENCE)
        elif reload.phase == "control" and self._is_ready:
            reload.phase = "workers"
            for place in self._places:
                self._incoming[place.index] = self._start_worker()
                self._introduce(self._incoming[place.index])
        elif reload.phase == "workers" and all(child.serves for child in self._incoming.values()):
            self._exchange_workers()

    def _exchange_workers(self) -> None:
        self._reload = None
        for place in self._places:
            if place.child is not None:
                self._draining.append(place.child)
                place.child.end(self._settings.drain_timeout + NOTICE)
            place.child = self._incoming.pop(place.index)
        self._tell_processes()
        _complain("reloaded")

    def _give_up_reload(self, why: str) -> None:
        if self._reload is None:
            return
        self._reload.close()
        self._reload = None
        for child in self._incoming.values():
            self._draining.append(child)
            child.kill()
        self._incoming.clear()
        _complain(f"not reloaded: {why}")

    # -- who is there --------------------------------------------------------------------------------------------------

    def _every_place(self) -> tuple[Place, ...]:
        return (self._control, *self._places)

    def _children(self) -> Iterator[Child]:
        if self._control.child is not None:
            yield self._control.child
        yield from self._workers()

    def _workers(self) -> Iterator[Child]:
        yield from (place.child for place in self._places if place.child is not None)
        yield from self._incoming.values()
        yield from self._draining

    def _tell_processes(self) -> None:
        """The control process shows them."""
        if self._control.child is None:
            return
        in_places = [(place, place.child) for place in (self._control, *self._places) if place.child is not None]
        self._control.child.leash.send({"processes": [_view(place, child) for place, child in in_places]})

    def _wait(self) -> float:
        """Until something is due."""
        now = time.monotonic()
        due = [place.start_at - now for place in (self._control, *self._places) if place.child is None]
        return max(0.0, min([LOOK_INTERVAL, *due]))

    def _note_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(number)


def run_supervised(settings: Settings, *, given: Mapping[str, Any], workers: int, demo: bool) -> int:
    """Runs until a signal comes; the exit code. Raises `StartupError`."""
    supervisor = Supervisor(settings, given=given, workers=workers, demo=demo)  # a taken port is told before all else
    with held(settings.data_dir, reloads=True):
        return supervisor.run()


def _view(place: Place, child: Child) -> dict[str, Any]:
    return {
        "kind": place.role,
        "place": place.index,
        "pid": child.pid,
        "state": child.state,
        "restarts": place.restarts,
        "started_at": child.started_at,
    }


def _packet_pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _complain(what: str) -> None:
    print(f"microgateway: {what}", file=sys.stderr, flush=True)
