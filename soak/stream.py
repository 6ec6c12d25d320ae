"""A TCP connection as both ends here use it: plain socket calls, so that what was sent is known, and how it ends."""

import asyncio
import socket
import struct

RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # linger: on, for no time
READ_SIZE = 65_536
LONGEST_LINE = 65_536


class GoneError(Exception):
    """The other side ended the connection, in order or with a reset."""


class Stream:
    """Bytes out and in. `received` counts those that came, `was_reset` says how the other side ended it."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self.received = 0
        self.was_reset = False
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @classmethod
    async def connect(cls, port: int) -> "Stream":
        """To a port of this machine. Raises `GoneError` when nobody takes the connection."""
        connecting = socket.socket()
        connecting.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(connecting, ("127.0.0.1", port))
        except OSError as error:
            connecting.close()
            raise GoneError(str(error)) from None
        except BaseException:
            connecting.close()
            raise
        return cls(connecting)

    @property
    def port(self) -> int:
        """This end's."""
        return int(self._socket.getsockname()[1])

    async def send(self, data: bytes) -> None:
        """Until the kernel has all of it. Raises `GoneError`."""
        try:
            await self._loop.sock_sendall(self._socket, data)
        except OSError as error:
            self.was_reset = True
            raise GoneError(str(error)) from None

    def has_ended(self) -> bool:
        """Whether the other side's end has come, as far as this machine's kernel knows at this moment."""
        try:
            return self._socket.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    async def read_some(self) -> bytes:
        """What has come, at least one byte. Raises `GoneError` at the end."""
        if self._buffer:
            data, self._buffer = self._buffer, b""
            return data
        try:
            data = await self._loop.sock_recv(self._socket, READ_SIZE)
        except OSError as error:
            self.was_reset = True
            raise GoneError(str(error)) from None
        if not data:
            raise GoneError("the end of the stream")
        self.received += len(data)
        return data

    async def read_until(self, mark: bytes) -> bytes:
        """Up to the mark and with it. Raises `GoneError` when it never comes."""
        data = await self.read_some()
        while (position := data.find(mark)) < 0:
            if len(data) > LONGEST_LINE:
                raise GoneError(f"no {mark!r} within {LONGEST_LINE} bytes")
            data += await self.read_some()
        end = position + len(mark)
        self.give_back(data[end:])
        return data[:end]

    async def read_exactly(self, count: int) -> bytes:
        """Raises `GoneError` when fewer come."""
        pieces: list[bytes] = []
        while count:
            data = await self.read_some()
            pieces.append(data[:count])
            self.give_back(data[count:])
            count -= len(pieces[-1])
        return b"".join(pieces)

    async def read_to_end(self) -> bytes:
        """All that comes. How it ended: `was_reset`."""
        pieces: list[bytes] = []
        try:
            while True:
                pieces.append(await self.read_some())
        except GoneError:
            return b"".join(pieces)

    def give_back(self, data: bytes) -> None:
        """Bytes that are somebody else's to read."""
        self._buffer = data + self._buffer

    def close(self, *, reset: bool = False) -> None:
        """With a FIN, or with a reset."""
        if reset and self._socket.fileno() >= 0:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self._socket.close()
