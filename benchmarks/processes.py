"""Processes of a benchmark: pinned to one core, waited for until they listen, ended with all their children."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from benchmarks.errors import BenchmarkError

POLL_SECONDS = 0.02
STOP_SECONDS = 10.0
LOG_TAIL = 2_000


@dataclass(frozen=True, slots=True)
class Process:
    """A running process: its id (the children hang below it) and the file that holds what it printed."""

    name: str
    handle: "subprocess.Popen[bytes]"
    log: Path

    @property
    def pid(self) -> int:
        return self.handle.pid

    def wait_for_port(self, port: int, *, timeout: float = 30.0) -> None:
        """Until something accepts on `port`. Raises `BenchmarkError`, with the process's output, when nothing does."""
        deadline = time.monotonic() + timeout
        while not accepts(port):
            self.check_alive()
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{self.name} does not listen on port {port} after {timeout:.0f} s\n{self.tail()}")
            time.sleep(POLL_SECONDS)

    def check_alive(self) -> None:
        code = self.handle.poll()
        if code is not None:
            raise BenchmarkError(f"{self.name} ended with exit code {code}\n{self.tail()}")

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-LOG_TAIL:]


@contextmanager
def running(
    name: str,
    command: Sequence[str],
    *,
    core: int | str,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[Process]:
    """`command` on `core`, or several as taskset writes them, while the block lasts.

    It has its own session: Ctrl-C reaches only us, who end it in order.
    """
    log = folder / f"{name}.out"
    with log.open("wb") as output:
        handle = subprocess.Popen(
            ["taskset", "-c", str(core), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=cwd or folder,
            start_new_session=True,
        )
    try:
        yield Process(name=name, handle=handle, log=log)
    finally:
        _stop(handle)


def _stop(handle: "subprocess.Popen[bytes]") -> None:
    family = tree(handle.pid)
    handle.terminate()
    try:
        handle.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        for pid in family:
            _kill(pid)
        handle.wait()


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it went by itself between the look and the signal: what was wanted


def tree(root: int) -> list[int]:
    """`root` and all processes below it, by the parent ids in /proc."""
    parents = {pid: parent for pid in _pids() if (parent := _parent(pid)) is not None}
    family = [root]
    for pid in family:  # grows while it is walked: children follow their parents
        family.extend(child for child, parent in parents.items() if parent == pid)
    return family


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _parent(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(stat.rpartition(")")[2].split()[1])  # after "pid (name)": state, parent


def accepts(port: int) -> bool:
    """Whether something accepts connections on this loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """A loopback port that nothing uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def end_on_signal() -> None:
    """Let SIGTERM and Ctrl-C unwind the stack without a traceback, so that every process started here is ended."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
