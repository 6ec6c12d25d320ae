"""A timer of the event loop's that is as fine as the kernel's.

An event loop's own timers are whole milliseconds: uvloop's come up to one too early, asyncio's up to one too late. Two
hundred requests a second are five milliseconds apart, and whether a circuit has opened before the next one comes is a
matter of less than that. Linux has a timer that is a file (timerfd_create(2)); elsewhere the loop's has to do.
"""

import asyncio
import ctypes
import os
import struct
import time
from collections.abc import Callable

CLOCK_MONOTONIC = 1
ABSOLUTE = 1
MOMENT = struct.Struct("qqqq")  # struct itimerspec: repeated every so many seconds and nanoseconds (never), first at
NANOSECONDS = 1_000_000_000
EARLIEST = 1  # nanoseconds; zero would switch it off


class FineTimer:
    """Has `fire` called once, at the moment that it was set to last. `has_files`: whether to try for a fine one."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fire: Callable[[], object], *, has_files: bool = True) -> None:
        self._loop = loop
        self._fire = fire
        self._coarse: asyncio.TimerHandle | None = None
        self._library = ctypes.CDLL(None, use_errno=True)
        self._file = -1
        if has_files and hasattr(self._library, "timerfd_create"):
            self._file = self._library.timerfd_create(CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._file >= 0:
            loop.add_reader(self._file, self._come)

    def set(self, moment: float) -> None:
        """To a moment of `time.monotonic()`; one that is over is now."""
        if self._file < 0:
            self.unset()
            self._coarse = self._loop.call_later(max(0.0, moment - time.monotonic()), self._fire)
            return
        seconds, nanoseconds = divmod(max(EARLIEST, int(moment * NANOSECONDS)), NANOSECONDS)
        first = MOMENT.pack(0, 0, seconds, nanoseconds)
        if self._library.timerfd_settime(self._file, ABSOLUTE, first, None):
            raise OSError(ctypes.get_errno(), "a timer could not be set")

    def unset(self) -> None:
        if self._coarse is not None:
            self._coarse.cancel()

    def close(self) -> None:
        self.unset()
        if self._file >= 0:
            self._loop.remove_reader(self._file)
            os.close(self._file)
            self._file = -1

    def _come(self) -> None:
        try:
            os.read(self._file, 8)
        except BlockingIOError:
            return  # it was set anew after it had come
        self._fire()
