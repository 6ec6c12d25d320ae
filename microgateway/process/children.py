"""One place for a process: who is in it, who was before, and when the next may be started."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from microgateway.child_environment import child_environment
from microgateway.process.leash import Leash

Role = Literal["control", "worker"]

FIRST_PAUSE = 0.05  # seconds before the next one is started; twice as long each time
LONGEST_PAUSE = 30.0
WELL_AFTER = 2.0  # seconds of serving after which an end is an accident, and not one more in a row


class Child:
    """A process of ours, from its start to its end. `number` is its own among those that share the memory."""

    def __init__(self, role: Role, number: int, given: Mapping[str, Any], handed: Sequence[int]) -> None:
        """Starts it. `given` is what it is told; `handed` are the descriptors that it inherits besides its leash."""
        self.role = role
        self.number = number
        self.started_at = time.time()
        self.is_ending = False
        self.served_from: float | None = None  # by the monotonic clock
        self.end_by = float("inf")
        self.leash, theirs = Leash.pair()
        self._process = start(role, {**given, "number": number, "leash": theirs.fileno()}, theirs.fileno(), *handed)
        theirs.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def serves(self) -> bool:
        return self.served_from is not None

    @property
    def state(self) -> str:
        return "draining" if self.is_ending else "running"

    def end(self, patience: float) -> None:
        """Asks it to end; after so many seconds it is made to."""
        if not self.is_ending:
            self.is_ending = True
            self.end_by = time.monotonic() + patience
            self.kill(signal.SIGTERM)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Sends it a signal: SIGKILL, or that of this number."""
        os.kill(self.pid, number)

    def ended(self, status: int) -> int:
        """It was reaped, with this status; its exit code."""
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self.leash.close()
        return self._process.returncode


class Place:
    """Where one process after the other does the same work. `restarts` counts those that ended unasked."""

    def __init__(self, role: Role, index: int) -> None:
        self.role = role
        self.index = index
        self.child: Child | None = None
        self.restarts = 0
        self.start_at = 0.0
        self._pause = FIRST_PAUSE

    def ended_unasked(self, child: Child, now: float) -> None:
        """The next one is due soon, or later where they end one after the other."""
        self.restarts += 1
        lived_well = child.served_from is not None and now - child.served_from > WELL_AFTER
        self._pause = FIRST_PAUSE if lived_well else min(self._pause * 2, LONGEST_PAUSE)
        self.start_at = now + (FIRST_PAUSE if lived_well or self._pause == 2 * FIRST_PAUSE else self._pause)
        self.child = None


def start(role: Role, given: Mapping[str, Any], *handed: int) -> "subprocess.Popen[bytes]":
    """A process in this role, which is told this, and inherits these descriptors."""
    return subprocess.Popen(
        [sys.executable, "-m", f"microgateway.process.{role}", json.dumps(given)],
        stdin=subprocess.DEVNULL,
        env=child_environment(),
        pass_fds=handed,
    )


def hand_over(sender: Leash, message: dict[str, Any], end: socket.socket) -> bool:
    """Sends one end of a pair, which is the receiver's from now on."""
    sent = sender.send(message, end)
    end.close()
    return sent
