"""A client that sends exact bytes in exact pieces, and reads an exact answer. It blocks, and never longer than it
says.
"""

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from tests.kit.messages import CRLF, Head, framing_of, parse_head
from tests.kit.stream import Stream, StreamEndedError
from tests.kit.waiting import PATIENCE

FramedBy = Literal["nothing", "length", "chunks", "close"]


def nothing() -> None:
    """Pieces may be joined on their way."""


class NoAnswerError(AssertionError):
    """The connection ended, and not one byte of an answer had come."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`complete` is False where the connection ended before the body's own end. `interim` are the 1xx heads before."""

    head: Head
    status: int
    body: bytes
    complete: bool
    framed_by: FramedBy
    interim: tuple[Head, ...] = ()
    trailers: bytes = b""
    was_reset: bool = field(default=False)

    def one(self, name: bytes) -> bytes | None:
        return self.head.one(name)

    def all(self, name: bytes) -> list[bytes]:
        return self.head.all(name)

    def problem(self) -> dict[str, Any]:
        """The body as RFC 9457's object; asserts that it is one, and that it says what every problem of ours says."""
        assert self.one(b"content-type") == b"application/problem+json", self
        problem: dict[str, Any] = json.loads(self.body)
        assert {"type", "title", "status", "detail", "code", "stage", "request_id"} <= problem.keys(), problem
        assert problem["status"] == self.status, problem
        return problem


class Client:
    """One connection to the gateway. Use it as a context manager, so that it is closed whatever happens."""

    def __init__(
        self,
        port: int,
        *,
        patience: float = PATIENCE,
        receive_buffer: int | None = None,
        settle: Callable[[], None] = nothing,
    ) -> None:
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(patience)
        try:
            sock.connect(("127.0.0.1", port))
        except OSError:
            sock.close()
            raise
        self.stream = Stream(sock, patience)
        self._settle = settle  # returns when the gateway has read what was sent

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()

    def send(self, *pieces: bytes) -> None:
        """Each piece is a segment, and a read, of its own. A gateway that hangs up meanwhile may have answered: read
        that.
        """
        for piece in pieces:
            try:
                self.stream.send(piece)
            except StreamEndedError:
                return
            if len(pieces) > 1:
                self._settle()

    def read_answer(self, method: bytes = b"GET") -> Answer:
        """The next answer, which is to a request with this method. Raises `NoAnswerError`, `BadMessageError` or
        `TooSlowError`.
        """
        interim: list[Head] = []
        while True:
            head = self._read_head()
            status = _status(head)
            if status >= 200 or status == 101:
                break
            interim.append(head)
        body, trailers, complete, framed_by = self._read_body(head, status, method)
        return Answer(head, status, body, complete, framed_by, tuple(interim), trailers, self.stream.was_reset)

    def read_interim(self) -> Head:
        """The next head, which is to be an interim one (1xx)."""
        head = self._read_head()
        assert 100 <= _status(head) < 200, head
        return head

    def ask(self, request: bytes, method: bytes = b"GET") -> Answer:
        self.send(request)
        return self.read_answer(method)

    def assert_closed(self) -> None:
        """The gateway closes this connection, and says nothing more."""
        rest = self.stream.read_to_end()
        assert rest == b"", f"more came before the end: {rest[:400]!r}"

    def half_close(self) -> None:
        self.stream.half_close()

    def reset(self) -> None:
        self.stream.reset()

    def _read_head(self) -> Head:
        try:
            return parse_head(self.stream.read_until(CRLF + CRLF))
        except StreamEndedError as error:
            if self.stream.pending:
                raise AssertionError(f"the head of an answer is cut off: {error}") from None
            raise NoAnswerError(str(error)) from None

    def _read_body(self, head: Head, status: int, method: bytes) -> tuple[bytes, bytes, bool, FramedBy]:
        if method == b"HEAD" or status in (101, 204, 304):
            return b"", b"", True, "nothing"
        framing = framing_of(head)
        start = len(self.stream.received) - len(self.stream.pending)
        try:
            if framing.chunked:
                body, trailers = self.stream.read_chunked()
                return body, trailers, True, "chunks"
            if framing.length is not None:
                return self.stream.read_exactly(framing.length), b"", True, "length"
        except StreamEndedError:
            return bytes(self.stream.received[start:]), b"", False, "chunks" if framing.chunked else "length"
        body = self.stream.read_to_end()
        return body, b"", not self.stream.was_reset, "close"


def _status(head: Head) -> int:
    version, _, rest = head.start.partition(b" ")
    assert version in (b"HTTP/1.1", b"HTTP/1.0"), head.start
    code = rest[:3]
    assert code.isdigit(), head.start
    assert rest[3:4] in (b" ", b""), head.start
    return int(code)
