"""A command that runs as a process of its own. What it prints is read as it comes, and it is gone when its test is."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.kit.waiting import PATIENCE

REPOSITORY = Path(__file__).resolve().parents[2]
OURS = re.compile(r"MICROGATEWAY_|DATABASE_URL|REDIS_URL|JWT_|DEFAULT_|CIRCUIT_|(?i:.*_proxy)")

RUN = ("-m", "microgateway", "run", "--workers", "1")
# As process 1 of a container: what its descendants leave behind becomes its own (PR_SET_CHILD_SUBREAPER)
AS_PROCESS_1 = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
WORKERS = ("-c", AS_PROCESS_1, "-m", "microgateway", "run", "--workers", "2")
UVICORN = ("-m", "uvicorn", "app:app", "--port", "0")


class Output:
    """One stream that a process writes to, read to its end by a thread."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._read = b""
        self._is_at_end = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read_to_end, daemon=True)
        self._thread.start()

    @property
    def text(self) -> str:
        """All that has come so far."""
        with self._changed:
            return self._read.decode()

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    def wait_for(self, pattern: str, patience: float = PATIENCE) -> re.Match[str]:
        """The first whole line that matches."""
        whole_line = re.compile(f"^{pattern}$(?=\n)", re.MULTILINE)
        with self._changed:
            self._changed.wait_for(lambda: self._is_at_end or whole_line.search(self._read.decode()), patience)
        match = whole_line.search(self.text)
        assert match, f"it never said {pattern!r}, but: {self.text}"
        return match

    def close(self) -> None:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "somebody holds the process's output open"
        self._pipe.close()

    def _read_to_end(self) -> None:
        while piece := os.read(self._pipe.fileno(), 65_536):
            with self._changed:
                self._read += piece
                self._changed.notify_all()
        with self._changed:
            self._is_at_end = True
            self._changed.notify_all()


class Command:
    """A Python process in the repository's folder, in a process group of its own as a shell would give it."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], *, umask: int = -1) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
            umask=umask,
        )
        assert self._process.stdout
        assert self._process.stderr
        self.stdout, self.stderr = Output(self._process.stdout), Output(self._process.stderr)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def said(self) -> str:
        """All that it has printed anywhere."""
        return self.stdout.text + self.stderr.text

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def interrupt(self) -> None:
        """What Ctrl-C in a terminal does: the signal goes to the whole group."""
        os.killpg(self.pid, signal.SIGINT)

    def wait(self, patience: float = PATIENCE) -> int:
        """The exit code, once it has ended and all that it said is read."""
        code = self._process.wait(patience)
        for output in (self.stdout, self.stderr):
            output.close()
        return code

    def end(self) -> None:
        """Ends it the hard way, if it is still there."""
        if self.is_running:
            self._process.kill()
        self.wait()


def environment(data_folder: Path, **variables: str) -> dict[str, str]:
    """This process's environment without what would configure a gateway, and with free ports and this data folder."""
    inherited = {name: value for name, value in os.environ.items() if not OURS.match(name)}
    own = {
        "MICROGATEWAY_DATA_DIR": str(data_folder),
        "MICROGATEWAY_PORT": "0",
        "MICROGATEWAY_PROXY_PORT": "0",
        "MICROGATEWAY_PROXY_HOST": "127.0.0.1",
        "MICROGATEWAY_HEALTH_CHECKS": "false",  # most tests count what reaches a service
    }
    return inherited | own | variables


@contextmanager
def running_command(arguments: Sequence[str], environment: Mapping[str, str], *, umask: int = -1) -> Iterator[Command]:
    """A Python command until the block ends. `umask` -1 is this process's own."""
    command = Command(arguments, environment, umask=umask)
    try:
        yield command
    except BaseException as error:
        command.end()
        error.add_note(f"The process {command.pid} said:\n{command.said}")
        raise
    finally:
        command.end()
