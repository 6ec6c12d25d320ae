"""A recording upstream that knows no HTTP library: it keeps the exact bytes, and answers by script.

Every connection has a thread. When a request's head has come, the next script of the queue runs, or the usual one
where the queue is empty; so a script meets the next request, on whatever connection the gateway sends it. What the
gateway sends is read strictly: what two readers might read in two ways is kept in `violations`.
"""

import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.kit.messages import CRLF, BadMessageError, Framing, Head, framing_of, parse_head
from tests.kit.steps import PATIENCE, Echo, Step
from tests.kit.stream import Stream, StreamEndedError, TooSlowError
from tests.kit.waiting import PATIENCE as TEST_PATIENCE

Script = tuple[Step, ...]


@dataclass(slots=True)
class RecordedRequest:
    """One request as it came. `body` is decoded; `raw_body` is as it was framed; `complete` once all of it was read."""

    head: Head
    method: bytes
    target: bytes
    connection: int
    framing: Framing
    body: bytes = b""
    complete: bool = False

    def one(self, name: bytes) -> bytes | None:
        return self.head.one(name)

    def all(self, name: bytes) -> list[bytes]:
        return self.head.all(name)


@dataclass(slots=True)
class Conversation:
    """One connection, as a script sees it. `raw` is what steps read outside of requests."""

    upstream: "Upstream"
    stream: Stream
    number: int
    requests: list[RecordedRequest] = field(default_factory=list)
    raw: bytearray = field(default_factory=bytearray)
    closed: bool = False
    ended_by_peer: bool = False
    in_script: bool = False
    unfinished: bytes = b""

    @property
    def request(self) -> RecordedRequest:
        return self.requests[-1]

    @property
    def received(self) -> bytes:
        return bytes(self.stream.received)

    def read_head(self) -> None:
        self.stream.patience = None  # a pooled connection waits as long as the gateway keeps it
        head = parse_head(self.stream.read_until(CRLF + CRLF))
        self.stream.patience = PATIENCE
        parts = head.start.split(b" ")
        if len(parts) != 3 or parts[2] not in (b"HTTP/1.1", b"HTTP/1.0"):
            raise BadMessageError(f"not a request line: {head.start!r}")
        if len(head.all(b"host")) != 1:
            raise BadMessageError(f"not exactly one Host in {head.raw!r}")
        framing = framing_of(head)
        bodiless = not framing.chunked and not framing.length
        self.requests.append(RecordedRequest(head, parts[0], parts[1], self.number, framing, complete=bodiless))
        self.upstream.record(self.request)

    def read_body(self) -> None:
        request = self.request
        if request.complete:
            return
        if request.framing.chunked:
            request.body, _ = self.stream.read_chunked()
        elif request.framing.length is not None:
            request.body = self.stream.read_exactly(request.framing.length)
        request.complete = True
        self.upstream.changed()

    def note_raw(self, data: bytes) -> None:
        self.raw += data
        self.upstream.changed()

    def wait_for(self, event: threading.Event, patience: float) -> None:
        deadline = time.monotonic() + patience
        self.stream.busy = False
        while not event.wait(0.05):
            if self.upstream.is_stopped:
                raise StreamEndedError("the upstream was stopped")
            if time.monotonic() > deadline:
                raise TooSlowError(f"a script waited {patience} s for the test")

    def close(self) -> None:
        self.closed = True
        self.stream.close()

    def reset(self) -> None:
        self.closed = True
        self.stream.reset()


class Upstream:
    """A listening socket on a port of its own, and all that came to it."""

    def __init__(self, *, receive_buffer: int | None = None) -> None:
        self._listener = socket.socket()
        if receive_buffer is not None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(128)
        self.port: int = self._listener.getsockname()[1]
        self.is_stopped = False
        self.connections: list[Conversation] = []
        self._requests: list[RecordedRequest] = []
        self.violations: list[str] = []
        self.settle: Callable[[], None] = lambda: None  # a gateway's: returns when it has read what was sent
        self.pass_time: Callable[[float], None] = lambda seconds: None  # a gateway's whose clock is a test's
        self._condition = threading.Condition()
        self._scripts: deque[Script] = deque()
        self._greetings: deque[Script] = deque()
        self._usual: Script = (Echo(),)
        self._threads: list[threading.Thread] = []
        self._last: object = None  # the address of a connection that only asks whether it is accepted
        self._last_accepted = threading.Event()
        self._start(self._accept)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[RecordedRequest]:
        """All requests whose head has come, in that order."""
        with self._condition:
            return list(self._requests)

    def requests_since(self, known: int) -> list[RecordedRequest]:
        return self.requests[known:]

    def record(self, request: RecordedRequest) -> None:
        with self._condition:
            self._requests.append(request)
            self._condition.notify_all()

    def script(self, *steps: Step) -> None:
        """What to do with the next request that no earlier script is for. Called again: with the one after it."""
        self._scripts.append(steps)

    def script_connection(self, *steps: Step) -> None:
        """What to do with the next connection as soon as it is made."""
        self._greetings.append(steps)

    def usually(self, *steps: Step) -> None:
        """What to do with requests that have no script of their own."""
        self._usual = steps

    def forget(self) -> None:
        """For a test that shares this upstream: scripts nobody met are dropped. What was recorded stays."""
        self._scripts.clear()
        self._greetings.clear()
        self._usual = (Echo(),)

    def wait_until(self, condition: Callable[[], bool], what: str, patience: float = TEST_PATIENCE) -> None:
        with self._condition:
            assert self._condition.wait_for(condition, patience), f"not within {patience} s: {what}"

    def wait_for_requests(self, count: int) -> list[RecordedRequest]:
        self.wait_until(lambda: len(self.requests) >= count, f"{count} requests; there are {len(self.requests)}")
        return self.requests

    def rest(self, patience: float = TEST_PATIENCE) -> None:
        """Until every byte that the gateway has sent so far is recorded, on connections made just now too."""
        deadline = time.monotonic() + patience
        self._accept_all(patience)
        while not all(connection.stream.is_at_rest() for connection in list(self.connections)):
            assert time.monotonic() < deadline, "the upstream does not come to rest"
            with self._condition:
                self._condition.wait(0.0005)  # lets its threads run

    def wait_for_scripts(self, patience: float = TEST_PATIENCE) -> None:
        """Until every script that was begun has come to its end."""
        self.wait_until(lambda: not any(talk.in_script for talk in self.connections), "scripts end", patience)

    def open_connections(self) -> int:
        return sum(not (connection.closed or connection.ended_by_peer) for connection in list(self.connections))

    def changed(self) -> None:
        with self._condition:
            self._condition.notify_all()

    def stop_listening(self) -> None:
        """From now on connections to this port are refused; those that are open stay."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()

    def stop(self) -> None:
        self.is_stopped = True
        self.stop_listening()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.stream.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "an upstream's thread does not end"
        for connection in self.connections:
            connection.stream.close()

    def _accept_all(self, patience: float) -> None:
        """Connections are accepted in the order in which they were made: when this one's turn has come, the others'
        has too.
        """
        with socket.socket() as last:
            last.bind(("127.0.0.1", 0))
            self._last_accepted.clear()
            self._last = last.getsockname()
            if last.connect_ex(("127.0.0.1", self.port)) == 0:  # otherwise it does not listen any more
                assert self._last_accepted.wait(patience), "the upstream does not accept"

    def _next(self) -> socket.socket | None:
        """Whom to converse with; None when there will be nobody any more."""
        while True:
            try:
                sock, peer = self._listener.accept()
            except OSError:
                return None  # the listener was closed
            if peer != self._last:
                return sock
            sock.close()
            self._last_accepted.set()

    def _start(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=f"upstream {self.port}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while (sock := self._next()) is not None:
            conversation = Conversation(self, Stream(sock, PATIENCE), len(self.connections))
            self.connections.append(conversation)
            self.changed()
            self._start(lambda conversation=conversation: self._converse(conversation))  # type: ignore[misc]

    def _converse(self, talk: Conversation) -> None:
        try:
            if self._greetings:
                self._run(talk, self._greetings.popleft())
            while not talk.closed:
                talk.read_head()
                self._run(talk, self._scripts.popleft() if self._scripts else self._usual)
        except StreamEndedError:
            talk.unfinished = talk.stream.pending
        except BadMessageError as error:
            self.violations.append(str(error))
        except TooSlowError as error:
            self.violations.append(f"slow: {error}")
        finally:
            talk.ended_by_peer = not talk.closed
            talk.stream.close()
            talk.stream.busy = False
            self.changed()

    def _run(self, talk: Conversation, script: Script) -> None:
        talk.in_script = True
        try:
            for step in script:
                if not talk.closed:
                    step.run(talk)
        finally:
            talk.in_script = False
            self.changed()


@contextlib.contextmanager
def running_upstream(*, receive_buffer: int | None = None) -> Iterator[Upstream]:
    upstream = Upstream(receive_buffer=receive_buffer)
    try:
        yield upstream
    finally:
        upstream.stop()
