"""Locks between processes that outlive their holder.

These are the C library's robust mutexes (POSIX, pthread_mutexattr_setrobust), which live in shared memory: when a
process dies while it holds one, at whatever instruction, the kernel hands it to the next who asks, and says so. That
one repairs what the lock guards before anybody else sees it. A lock that is free costs two calls into the C library,
about 0.2 µs; nobody waits in the kernel before having asked a few times, since what is done under a lock takes a
microsecond.

The calls keep Python's interpreter lock: a process that waits here does nothing else meanwhile, so what is done under a
lock is short, and never waits for anything but another lock.
"""

import ctypes
import errno
import mmap
import os
from collections.abc import Callable
from typing import Any

from microgateway.errors import StartupError

LOCK_SIZE = 64  # bytes that each takes up; a mutex is 40 to 48, and what shares a cache line is slower
ASKED_BEFORE_WAITING = 30
_ATTRIBUTES_SIZE = 64
_SHARED, _ROBUST = 1, 1

Repair = Callable[[int], None]
"""Is given the number of a lock whose holder died, and holds that lock meanwhile."""


class RobustLocks:
    """A row of locks that begins at byte `offset` of shared memory. One process calls `create`, once, before the rest.

    Who needs several takes them in the order of their numbers.
    """

    def __init__(self, memory: mmap.mmap, offset: int, repair: Repair) -> None:
        # The object keeps the memory where it is; the address is what the C library is given
        self._anchor = ctypes.c_char.from_buffer(memory, offset)
        self._begin = ctypes.addressof(self._anchor)
        self._repair = repair
        library = ctypes.PyDLL(None)
        self._library = library
        self.try_at = _function(library, "pthread_mutex_trylock")  # for who has no time for `acquire`: give it an
        self.unlock_at = _function(library, "pthread_mutex_unlock")  # address, and what comes of it to `insist`
        self._wait = _function(library, "pthread_mutex_lock")
        self._make_consistent = _function(library, "pthread_mutex_consistent")

    def create(self, count: int) -> None:
        """Makes `count` locks, all free. Raises `StartupError` where the C library has no such locks."""
        attributes = ctypes.create_string_buffer(_ATTRIBUTES_SIZE)
        library = self._library
        _checked(library.pthread_mutexattr_init(attributes))
        _checked(library.pthread_mutexattr_setpshared(attributes, _SHARED))
        _checked(library.pthread_mutexattr_setrobust(attributes, _ROBUST))
        for number in range(count):
            _checked(library.pthread_mutex_init(ctypes.c_void_p(self._begin + number * LOCK_SIZE), attributes))

    def acquire(self, number: int) -> None:
        """Waits until the lock is this process's. It must not be already."""
        outcome = self.try_at(self._begin + number * LOCK_SIZE)
        if outcome:
            self.insist(number, outcome)

    def release(self, number: int) -> None:
        """For who has it."""
        self.unlock_at(self._begin + number * LOCK_SIZE)

    def address(self, number: int) -> int:
        """Where the lock is, for `try_at` and `unlock_at`."""
        return self._begin + number * LOCK_SIZE

    def insist(self, number: int, outcome: int) -> None:
        """Asking for this lock had an outcome other than to get it: gets it all the same."""
        address = self._begin + number * LOCK_SIZE
        asked = 0
        while outcome == errno.EBUSY and asked < ASKED_BEFORE_WAITING:
            outcome = self.try_at(address)
            asked += 1
        if outcome == errno.EBUSY:
            outcome = self._wait(address)
        if outcome == errno.EOWNERDEAD:
            try:
                self._repair(number)
            finally:
                self._make_consistent(address)
        elif outcome:
            raise OSError(outcome, os.strerror(outcome))

    def close(self) -> None:
        """Lets go of the memory, which could not be closed otherwise."""
        del self._anchor


def _function(library: ctypes.PyDLL, name: str) -> Callable[[int], int]:
    try:
        function: Any = getattr(library, name)
    except AttributeError:
        raise StartupError(f"several workers need robust locks, and this C library has no {name}") from None
    function.argtypes = [ctypes.c_void_p]
    function.restype = ctypes.c_int
    bound: Callable[[int], int] = function
    return bound


def _checked(outcome: int) -> None:
    if outcome:
        raise StartupError(f"several workers need robust locks: {os.strerror(outcome)}")
