"""What a scripted upstream does with one request, as a list of steps. A test reads as the transcript of a
conversation.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tests.kit.upstream import Conversation

PATIENCE = 45.0  # seconds: longer than a test waits for anything, so that it is the test that says what is missing


class Step(Protocol):
    def run(self, talk: "Conversation") -> None: ...


@dataclass(frozen=True, slots=True)
class ReadBody:
    """The body of the request whose head was read, by its own framing."""

    def run(self, talk: "Conversation") -> None:
        talk.read_body()


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """Another request on the same connection: head and body."""

    def run(self, talk: "Conversation") -> None:
        talk.read_head()
        talk.read_body()


@dataclass(frozen=True, slots=True)
class ReadExactly:
    """This many bytes, whatever they are."""

    count: int

    def run(self, talk: "Conversation") -> None:
        talk.note_raw(talk.stream.read_exactly(self.count))


@dataclass(frozen=True, slots=True)
class ReadUntil:
    """All bytes up to this mark."""

    mark: bytes

    def run(self, talk: "Conversation") -> None:
        talk.note_raw(talk.stream.read_until(self.mark))


@dataclass(frozen=True, slots=True)
class ReadToEnd:
    """Until the gateway closes its side."""

    def run(self, talk: "Conversation") -> None:
        talk.note_raw(talk.stream.read_to_end())


@dataclass(frozen=True, slots=True)
class Send:
    """These bytes, each piece a segment and a read of its own."""

    pieces: tuple[bytes, ...]

    def __init__(self, *pieces: bytes) -> None:
        object.__setattr__(self, "pieces", pieces)

    def run(self, talk: "Conversation") -> None:
        for piece in self.pieces:
            talk.stream.send(piece)
            if len(self.pieces) > 1:
                talk.upstream.settle()


@dataclass(frozen=True, slots=True)
class SendForever:
    """The same bytes again and again, until the gateway hangs up or `most` bytes are sent."""

    piece: bytes
    most: int = 1 << 26

    def run(self, talk: "Conversation") -> None:
        sent = 0
        while sent < self.most:
            talk.stream.send(self.piece)
            sent += len(self.piece)


@dataclass(frozen=True, slots=True)
class WaitFor:
    """Nothing happens until the test says so."""

    event: threading.Event

    def run(self, talk: "Conversation") -> None:
        talk.wait_for(self.event, PATIENCE)


@dataclass(frozen=True, slots=True)
class Call:
    """The test is told that the conversation has come this far."""

    what: Callable[[], object]

    def run(self, talk: "Conversation") -> None:
        self.what()


@dataclass(frozen=True, slots=True)
class Close:
    def run(self, talk: "Conversation") -> None:
        talk.close()


@dataclass(frozen=True, slots=True)
class HalfClose:
    """No more is sent, but the gateway is still listened to."""

    def run(self, talk: "Conversation") -> None:
        talk.stream.half_close()


@dataclass(frozen=True, slots=True)
class Reset:
    def run(self, talk: "Conversation") -> None:
        talk.reset()


@dataclass(frozen=True, slots=True)
class Echo:
    """Tells the request apart from others: 200, and a body of its method and target."""

    def run(self, talk: "Conversation") -> None:
        talk.read_body()
        request = talk.request
        body = request.method + b" " + request.target
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(body)
        talk.stream.send(head if request.method == b"HEAD" else head + body)
