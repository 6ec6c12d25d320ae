"""A socket that is read by need: every byte is kept, and every wait is bounded, so that a hang fails with a message."""

import fcntl
import select
import socket
import struct
import termios
import time

from tests.kit.messages import CRLF, BadMessageError

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with no time to linger


class StreamEndedError(Exception):
    """The peer closed, or reset, before what was asked for had come."""


class TooSlowError(AssertionError):
    """Nothing came within the time that a test waits for it."""


class Stream:
    """One connected socket. `received` is all that ever came; `patience` is seconds for one call, None to wait for
    ever.
    """

    def __init__(self, sock: socket.socket, patience: float | None) -> None:
        self.sock = sock
        self.patience = patience
        self.received = bytearray()
        self.ended = False
        self.was_reset = False
        self.busy = False  # true from before bytes are taken from the socket until the next wait for some
        self._taken = 0
        self._readable = select.poll()
        self._readable.register(sock, select.POLLIN)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def pending(self) -> bytes:
        """What has come and nobody has asked for."""
        return bytes(self.received[self._taken :])

    def read_until(self, mark: bytes) -> bytes:
        """All bytes up to `mark`, with it. Raises `StreamEndedError` where the peer stops before."""
        deadline = self._deadline()
        start = self._taken
        while (found := self.received.find(mark, start)) < 0:
            start = max(self._taken, len(self.received) - len(mark))
            self._fill(deadline, f"{mark!r}")
        return self._take(found + len(mark) - self._taken)

    def read_exactly(self, count: int) -> bytes:
        deadline = self._deadline()
        while len(self.received) - self._taken < count:
            self._fill(deadline, f"{count} bytes")
        return self._take(count)

    def read_some(self) -> bytes:
        """At least one byte: what has come, or what comes next."""
        if not self.pending:
            self._fill(self._deadline(), "any byte")
        return self._take(len(self.received) - self._taken)

    def peek(self) -> None:
        """Until something has come that nobody has asked for. Raises as reading does."""
        if not self.pending:
            self._fill(self._deadline(), "any byte")

    def read_to_end(self) -> bytes:
        """Everything until the peer closes."""
        deadline = self._deadline()
        while not self.ended:
            try:
                self._fill(deadline, "the end of the stream")
            except StreamEndedError:
                break
        return self._take(len(self.received) - self._taken)

    def read_chunked(self) -> tuple[bytes, bytes]:
        """A chunked body and its trailer lines. Raises `BadMessageError` for a size or a line end that is not plain."""
        body = bytearray()
        while True:
            line = self.read_until(CRLF)[:-2]
            size, _, extension = line.partition(b";")
            if not size or size.strip(b"0123456789abcdefABCDEF") or b"\n" in extension or b"\r" in extension:
                raise BadMessageError(f"not a chunk's head: {line!r}")
            if int(size, 16) == 0:
                return bytes(body), self._read_trailers()
            body += self.read_exactly(int(size, 16))
            end = self.read_exactly(2)
            if end != CRLF:
                raise BadMessageError(f"a chunk ends in {end!r}")

    def send(self, data: bytes) -> None:
        """Raises `StreamEndedError` where the peer is gone, `TooSlowError` where it does not read."""
        self.busy = False
        self.sock.settimeout(self.patience)
        try:
            self.sock.sendall(data)
        except TimeoutError:
            raise TooSlowError(
                f"the peer does not read: {len(data)} bytes are not sent after {self.patience} s"
            ) from None
        except OSError as error:
            raise StreamEndedError(f"sending: {error}") from None

    def is_ended_by_peer(self) -> bool:
        """Whether the peer has closed a stream on which nothing is to come."""
        return bool(self._readable.poll(0))

    def is_at_rest(self) -> bool:
        """Whether all that the peer ever sent was read, and its reader waits for more."""
        try:
            waiting = struct.unpack("i", fcntl.ioctl(self.sock, termios.FIONREAD, b"\0" * 4))[0]
        except (OSError, ValueError):
            return not self.busy  # closed by its own thread: there is nothing more to come
        return (
            waiting == 0 or self.ended
        ) and not self.busy  # in this order: bytes are taken only after `busy` was set

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Closes with RST: what is not sent yet is lost, and the peer's next read fails."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.sock.close()

    def _deadline(self) -> float | None:
        return None if self.patience is None else time.monotonic() + self.patience

    def _take(self, count: int) -> bytes:
        taken = bytes(self.received[self._taken : self._taken + count])
        self._taken += count
        return taken

    def _read_trailers(self) -> bytes:
        trailers = bytearray()
        while (line := self.read_until(CRLF)) != CRLF:
            trailers += line
        return bytes(trailers)

    def _fill(self, deadline: float | None, wanted: str) -> None:
        if self.ended:
            raise StreamEndedError(f"closed before {wanted}; last came {self.pending[-200:]!r}")
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise TooSlowError(f"no {wanted} within {self.patience} s; so far {self.pending[-400:]!r}")
        self.busy = False
        if not self._readable.poll(None if left is None else left * 1000):
            raise TooSlowError(f"no {wanted} within {self.patience} s; so far {self.pending[-400:]!r}")
        self.busy = True
        try:
            data = self.sock.recv(1 << 18)
        except OSError:
            self.ended, self.was_reset, self.busy = True, True, False
            raise StreamEndedError(f"reset before {wanted}; last came {self.pending[-200:]!r}") from None
        self.received += data
        if not data:
            self.ended = True
            self.busy = False
            raise StreamEndedError(f"closed before {wanted}; last came {self.pending[-200:]!r}")
