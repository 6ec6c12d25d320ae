"""What the control process and a worker say to each other: messages over a socket that only the two of them hold.

A message is four bytes of length and a pickle of a tuple, whose first element says what it is. The socket is half of a
pair that the supervisor has made and handed to one process each: nobody else can write to it, so what is unpickled is
what the gateway itself has pickled. To a worker go

    (SETUP, WorkerSetup)              once, before everything else
    (KEYS, KeyChange)                 a part of a whole key ring, collected until SNAPSHOT
    (SNAPSHOT, version, Snapshot)     this configuration, with those keys, is in force from now on
    (CHANGE, version, SnapshotChange) the configuration of the version before it, changed like this, is
    (TAKEN, number)                   the report with this number is counted
    (RENEW,)                          read the files of certificates anew
    (FLUSH,)                          hand on what has ended, to the log and to be counted
    (CHECKED, service, target, CheckResult, now)   a health check's result
    (EJECTED, Ejection)               another worker's traffic has ejected a target
    (TAIL, wanted)                    somebody follows the log as it comes, or nobody any more

and from it come

    (HELLO, pid)                      first
    (APPLIED, version)                that configuration is in force
    (BEHIND,)                         a change was of another configuration than the one that is: the whole is wanted
    (REPORT, number, Report)          what has been counted since the last report; the next one waits until it is TAKEN
    (FLUSHED,)                        that is done
    (EVENT, Event)                    a circuit or a target has changed
    (EJECTED, Ejection)               its traffic has ejected a target, or did so while there was no link
    (ROWS, [row, …])                  what has ended, in the shape of `raw_row`, while somebody follows the log

A message goes at once or waits in the transport's buffer. That is bounded by who sends: a worker has one report under
way, events have a bound of their own, and rows are left out while much waits; a worker that does not read is ended
before much can wait for it.
"""

import asyncio
import pickle
import socket
from collections.abc import Callable
from enum import IntEnum
from struct import Struct
from typing import Any, cast

_LENGTH = Struct("!I")


class Kind(IntEnum):
    """The first element of a message. In a reload processes of two versions talk, so a number stays what it is."""

    SETUP = 0
    KEYS = 1
    SNAPSHOT = 2
    TAKEN = 3
    RENEW = 4
    CHECKED = 5
    HELLO = 6
    APPLIED = 7
    REPORT = 8
    EVENT = 9
    FLUSH = 10
    FLUSHED = 11
    TAIL = 12
    ROWS = 13
    CHANGE = 14
    BEHIND = 15
    EJECTED = 16


Receive = Callable[[Any], None]


def packed(*message: Any) -> bytes:
    """A message as it is sent, for who sends it to several."""
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(data)) + data


class Link(asyncio.Protocol):
    """One end. `receive` is given each message; `lost` is called when the other end is gone, or this one closed."""

    _transport: asyncio.Transport

    def __init__(self, receive: Receive, lost: Callable[[], None]) -> None:
        self._receive = receive
        self._lost = lost
        self._read = bytearray()

    async def open(self, end: socket.socket) -> None:
        """Over this end of a socket pair, which is the link's from now on. Messages may come before this returns."""
        end.setblocking(False)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: self, end)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without saying so

    def data_received(self, data: bytes) -> None:
        read = self._read
        read += data
        begin = 0
        while len(read) - begin >= _LENGTH.size:
            end = begin + _LENGTH.size + _LENGTH.unpack_from(read, begin)[0]
            if end > len(read):
                break
            message = pickle.loads(memoryview(read)[begin + _LENGTH.size : end])  # noqa: S301  see the module's head
            begin = end
            self._receive(message)
        del read[:begin]

    def connection_lost(self, error: Exception | None) -> None:
        self._lost()

    @property
    def waiting(self) -> int:
        """Bytes that the other end has not read yet, and the kernel has no room for."""
        return self._transport.get_write_buffer_size()

    def send(self, *message: Any) -> None:
        self._transport.write(packed(*message))

    def send_packed(self, data: bytes) -> None:
        self._transport.write(data)

    def close(self) -> None:
        """What is written is sent first."""
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()
