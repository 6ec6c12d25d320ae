"""A listening socket that other processes accept from too, so that each gets its share of the connections.

An event loop's own server takes all that waits as soon as it wakes, and whoever wakes first has them all: of 64
connections that are made at once, one of two workers got 60. Here a process takes one at a time, and one that has more
connections than another steps back for a moment. Who does not come meanwhile is busy, or about to end: then it is taken
after all. So nobody waits in vain, and what nobody has taken yet is lost with none of them.
"""

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Any

TURNS = 10  # for each connection too many: a turn of an idle loop takes some 5 µs, and waking up some 50
MOST_TURNS = 200
RETRY_AFTER = 1.0  # seconds, where the system has no more descriptors or memory to give
EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class SharedPort:
    """Listens until `close`, which closes the socket. `how` is for the loop's `connect_accepted_socket`.

    `excess` is told how many connections this process has, and says how many that is too many.
    """

    def __init__(
        self,
        listening: socket.socket,
        *,
        make: Callable[[], asyncio.Protocol],
        connections: Callable[[], int],
        excess: Callable[[int], int],
        **how: Any,
    ) -> None:
        self._listening = listening
        self._make = make
        self._connections = connections
        self._excess = excess
        self._how = how
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._connecting: set[asyncio.Task[Any]] = set()
        self._turns = 0
        self._serves = True
        listening.setblocking(False)
        self._watch()

    @property
    def sockets(self) -> tuple[socket.socket]:
        """As a server of the loop has it."""
        return (self._listening,)

    def is_serving(self) -> bool:
        return self._serves

    def close(self) -> None:
        if self._serves:
            self._serves = False
            self._rest()
            self._listening.close()

    def _watch(self) -> None:
        self._timer = None
        self._loop.add_reader(self._listening.fileno(), self._come)

    def _rest(self) -> None:
        self._loop.remove_reader(self._listening.fileno())
        if self._timer is not None:
            self._timer.cancel()

    def _come(self) -> None:
        excess = self._excess(self._connections() + len(self._connecting))
        if self._turns >= min(excess * TURNS, MOST_TURNS):
            self._turns = 0
            self._take()
        else:
            self._turns += 1

    def _take(self) -> None:
        try:
            accepted, _ = self._listening.accept()
        except (BlockingIOError, ConnectionAbortedError):  # another process was quicker, or the client has left
            return
        except OSError as error:
            if error.errno not in EXHAUSTED:
                raise
            self._loop.call_exception_handler({"message": "no connection can be accepted", "exception": error})
            self._rest()
            self._timer = self._loop.call_later(RETRY_AFTER, self._watch)
            return
        connecting = self._loop.create_task(self._loop.connect_accepted_socket(self._make, accepted, **self._how))
        self._connecting.add(connecting)
        connecting.add_done_callback(self._connected)

    def _connected(self, connecting: asyncio.Task[Any]) -> None:
        self._connecting.discard(connecting)
        if connecting.cancelled():
            return
        error = connecting.exception()
        if error is not None and not isinstance(error, OSError):  # those are a client's, as a failed handshake is
            self._loop.call_exception_handler({"message": "a connection was not made", "exception": error})
