"""What the supervisor and each of its children say to each other: packets of JSON, some with a descriptor.

It is a leash, too: a child whose supervisor is gone reads its end, and ends itself.
"""

import json
import socket
from collections.abc import Callable
from typing import Any

LARGEST_PACKET = 65_536


class Leash:
    """One end. `socket` does not block; its descriptor is what a selector or a loop watches."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self.socket = end

    @classmethod
    def pair(cls) -> tuple["Leash", socket.socket]:
        """An end, and the other for a child to inherit."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), theirs

    @classmethod
    def inherited(cls, descriptor: int) -> "Leash":
        """The end that this process was started with."""
        return cls(socket.socket(fileno=descriptor))

    def send(self, message: dict[str, Any], *handed: socket.socket) -> bool:
        """Sends a message, with the descriptors of these sockets. False where the other does not take it."""
        try:
            socket.send_fds(self.socket, [json.dumps(message).encode()], [each.fileno() for each in handed])
        except OSError:  # it is gone, or has not read for long
            return False
        return True

    def receive(self, hear: Callable[[dict[str, Any], list[socket.socket]], None]) -> bool:
        """Hands on all that has come; False when the other end is gone."""
        while True:
            try:
                packet, descriptors, _, _ = socket.recv_fds(self.socket, LARGEST_PACKET, 4)
            except BlockingIOError:
                return True
            except ConnectionResetError:
                return False
            if not packet:
                return False
            hear(json.loads(packet), [socket.socket(fileno=descriptor) for descriptor in descriptors])

    def close(self) -> None:
        self.socket.close()
