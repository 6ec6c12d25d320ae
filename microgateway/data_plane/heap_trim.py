"""Gives memory back to the system once a crowd of connections has gone.

What connections had is free then, but the C library keeps it for the process: it returns only the end of its heap by
itself, and something that stays is always there. HAProxy asks for the rest in the same way.
"""

import ctypes
from collections.abc import Callable

CROWD = 500  # connections at once: what fewer leave behind is not worth the milliseconds


def _nothing(_: int) -> int:
    return 0


def _malloc_trim() -> Callable[[int], int]:
    """glibc's `malloc_trim`; elsewhere nothing of the kind is needed or there."""
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return _nothing
    return trim


class HeapTrim:
    """Is told at short intervals how many connections there are. `trim` takes how many bytes to keep at the end."""

    def __init__(self, trim: Callable[[int], int] | None = None) -> None:
        self._trim = trim or _malloc_trim()
        self._most = 0
        self._last = 0

    def sweep(self, connections: int) -> None:
        """Trims when half of them or more have gone, of the most since the last time, and no more go."""
        has_settled, self._last = connections >= self._last, connections
        self._most = max(self._most, connections)
        if has_settled and self._most >= CROWD and connections <= self._most // 2:
            self._most = connections
            self._trim(0)
