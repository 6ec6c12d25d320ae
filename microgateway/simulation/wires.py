"""Connections without a kernel: between them is the data plane's own code, and at their other ends are we.

A wire is what an event loop would give a protocol. What the gateway writes is heard at once; what is sent to it arrives
in its turn, and waits while it does not read.
"""

import asyncio
import socket
from collections.abc import Callable, Iterable
from typing import Any

from microgateway.simulation.worlds import World

Address = tuple[str, int]
Heard = Callable[[bytes], object]


class Wire(asyncio.Transport):
    """One connection. `heard` is called with all that the gateway writes; `ended` once, when it is closed."""

    def __init__(
        self,
        world: World,
        *,
        peer: Address,
        here: Address,
        heard: Heard,
        secure: bool = False,
        ended: Callable[[], object] | None = None,
    ) -> None:
        super().__init__({"peername": peer, "sockname": here, "sslcontext": True if secure else None})
        self._world = world
        self._heard = heard
        self._ended = ended
        self._inbox: list[bytes] = []
        self._reads = True
        self._closing = False
        self._socket: socket.socket | None = None
        self.protocol: asyncio.Protocol

    # -- the gateway's side --------------------------------------------------------------------------------------------

    def write(self, data: Any) -> None:
        if not self._closing:
            self._heard(bytes(data))

    def writelines(self, pieces: Iterable[Any]) -> None:
        self.write(b"".join(pieces))

    def pause_reading(self) -> None:
        self._reads = False

    def resume_reading(self) -> None:
        if not self._reads:
            self._reads = True
            if self._inbox:
                self._world.later(0.0, self._read)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self.end(None)

    def abort(self) -> None:
        self.end(None)

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """There is nobody who would wait for it."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name != "socket":
            return super().get_extra_info(name, default)
        if self._socket is None:
            self._socket = socket.socket()  # options are set on it, so it must be a real one
        return self._socket

    # -- our side ------------------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Arrives after all that is due already."""
        self._inbox.append(data)
        self._world.later(0.0, self._read)

    def send_now(self, data: bytes) -> None:
        """Arrives at once, for who has a turn of its own already."""
        self._inbox.append(data)
        self._read()

    def end(self, error: Exception | None) -> None:
        """The connection is lost, of which its protocol is told in its turn."""
        if not self._closing:
            self._closing = True
            self._world.later(0.0, lambda: self._tell(error))

    def _read(self) -> None:
        while self._inbox and self._reads and not self._closing:
            self.protocol.data_received(self._inbox.pop(0))

    def _tell(self, error: Exception | None) -> None:
        self.protocol.connection_lost(error)
        if self._socket is not None:
            self._socket.close()
        if self._ended is not None:
            self._ended()
