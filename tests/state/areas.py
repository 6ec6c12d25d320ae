"""Shared memory of a size for tests, and processes that use it and may die in it."""

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from microgateway.state.shared_limits import SharedLimits
from microgateway.state.shared_memory import SharedMemory

Apart = Callable[[int], int]
SECRET = bytes(range(32))
PR_SET_PDEATHSIG = 1


@contextmanager
def shared_limits(*, stripes: int = 16, ways: int = 16, secret: bytes = SECRET) -> Iterator[SharedLimits]:
    memory = SharedMemory.create(SharedLimits.size(stripes, ways))
    limits = SharedLimits(memory, stripes=stripes, ways=ways)
    limits.create(secret)
    try:
        yield limits
    finally:
        limits.close()
        memory.close()


def forked(work: Callable[[], object]) -> int:
    """The id of a process that does this work, and nothing else of what pytest would do at its end."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        work()
        code = 0
    except BaseException:  # noqa: BLE001  whatever it is, the parent's code must not go on here
        traceback.print_exc()
    finally:
        os._exit(code)


def ended_well(process: int) -> bool:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


class DyingAt:
    """Kills its process before the instruction with this number, counted within the modules named `within`."""

    def __init__(self, instruction: int, within: str) -> None:
        self._left = instruction
        self._within = within

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        if self._within not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)
            self._left -= 1
        return self


def died_on_the_way(work: Callable[[], object], *, instruction: int, within: str = "microgateway/state") -> bool:
    """Has a process do this work and die before that instruction; False where it was done before that."""

    def traced() -> None:
        sys.settrace(DyingAt(instruction, within))
        try:
            work()
        finally:
            sys.settrace(None)

    code = os.waitstatus_to_exitcode(os.waitpid(forked(traced), 0)[1])
    assert code in (0, -signal.SIGKILL), code
    return code != 0
