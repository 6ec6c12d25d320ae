"""One client's connection by itself: its phase, its deadline, and how it is written to, read from and ended.

A connection is in one of six phases, which say what arriving bytes are:

    HEAD     the beginning of the next request, or nothing yet
    BODY     the body of the request that is being forwarded
    ANSWER   the request is whole and its answer on the way: bytes are requests to come, kept up to a bound
    TUNNEL   the connection was upgraded: bytes are the upstream's
    LINGER   the last answer was written before the request's end, or before requests that won't be served: bytes are
             read and dropped, since a connection closed with bytes unread would be reset, and the answer lost
    CLOSED
"""

import asyncio
import os
import socket
import struct
from enum import Enum
from typing import TYPE_CHECKING

from microgateway.core.framing import Piece
from microgateway.data_plane.peer import Peer

if TYPE_CHECKING:
    from microgateway.data_plane.plane import Plane

MOST_PIPELINED = 65_536  # bytes of requests to come that are kept while one is answered
LINGER_TIME = 2.0  # seconds
DRAIN_GRACE = 0.5  # seconds for a request that is on its way when the gateway begins to stop
NEVER = float("inf")
_RESET = struct.pack("ii", 1, 0)  # linger: on, for no time


class Phase(Enum):
    """What arriving bytes are: see the module's head."""

    HEAD = 1
    BODY = 2
    ANSWER = 3
    TUNNEL = 4
    LINGER = 5
    CLOSED = 6


HEAD, BODY, ANSWER, TUNNEL, LINGER, CLOSED = Phase  # names of their own: an enum's members cost a look-up each


class ClientConnection(asyncio.Protocol):
    """What there is of a connection whatever is asked on it; `Downstream` has the requests.

    `deadline` is when the sweep ends the present phase, in monotonic seconds.
    """

    __slots__ = ("_eof_at", "_paused", "_pending", "_phase", "_plane", "deadline", "peer", "transport", "writable")

    transport: asyncio.Transport
    peer: Peer

    def __init__(self, plane: "Plane") -> None:
        self._plane = plane
        self._phase = Phase.HEAD
        self._pending = b""
        self._eof_at = NEVER
        self._paused = False  # whether this client is not read from for now
        self.deadline = NEVER
        self.writable = True

    def write(self, data: bytes) -> None:
        if self._phase is not CLOSED:
            self.transport.write(data)

    def writelines(self, pieces: list[Piece]) -> None:
        if self._phase is not CLOSED:
            self.transport.writelines(pieces)

    def pause_reading(self) -> None:
        if self._phase is not CLOSED:
            self._paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self._phase is not CLOSED and len(self._pending) <= MOST_PIPELINED:
            self._paused = False
            self.transport.resume_reading()

    def cut_off(self) -> None:
        """Ends the connection so that the client sees an unfinished answer for what it is.

        With a reset: to a client of HTTP/1.0, an orderly end would be the end of the answer (RFC 9112, 6.3).
        """
        if self._phase is not CLOSED:
            self._phase = CLOSED  # from here on, so that nobody lingers: that would begin with an orderly end
            _reset_on_close(self.transport)
            self.transport.abort()

    def drain(self) -> None:
        """From now on every answer says that it is the last.

        Where nothing is under way, a request may be all the same: one that has come and was not read yet would be lost
        with the connection, and its client could not know whether it was done. So the end waits for a moment.
        """
        if self._phase is HEAD and not self._pending:
            self.deadline = min(self.deadline, self._plane.now() + DRAIN_GRACE)

    def abort(self) -> None:
        self.transport.abort()

    def _linger(self, now: float) -> None:
        self._phase = LINGER
        self._pending = b""
        self.deadline = now + self._linger_time()
        self.transport.resume_reading()
        self.transport.write_eof()

    def _linger_time(self) -> float:
        """Longer while the answer is still on its way to a client that reads slowly."""
        return self._plane.options.client_body_timeout if self.transport.get_write_buffer_size() else LINGER_TIME

    def _close(self) -> None:
        self._phase = LINGER
        # The answer may still be on its way to a client that never reads it
        self.deadline = self._plane.now() + self._plane.options.client_body_timeout
        self.transport.close()


def _reset_on_close(transport: asyncio.Transport) -> None:
    """Has the kernel send RST instead of FIN. The descriptor is borrowed: uvloop's own socket takes no options."""
    sock = transport.get_extra_info("socket")
    if sock is None:  # below TLS the connection is lost already, of which we have not been told yet
        return
    borrowed = socket.socket(fileno=os.dup(sock.fileno()))
    borrowed.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    borrowed.close()
