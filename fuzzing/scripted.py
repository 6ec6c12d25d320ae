"""An upstream at the other end of a wire: h11 reads what comes, and every request is answered as a script says."""

from collections.abc import Callable
from dataclasses import dataclass, field

import h11

from fuzzing.reading import LARGEST
from fuzzing.wires import Wire


@dataclass(slots=True)
class Received:
    """One request as h11 read it."""

    method: bytes
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytearray = field(default_factory=bytearray)
    complete: bool = False


Answer = Callable[[Received], list[bytes]]


def echo(request: Received) -> list[bytes]:
    """Tells requests apart: the answer's body is their method, target and body's length."""
    body = b"%b %b %d" % (request.method, request.target, len(request.body))
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    return [head if request.method == b"HEAD" else head + body]


class ScriptedUpstream:
    """All connections to one upstream. `refused` is what h11 did not take for HTTP; it stays empty, or we have a bug.

    Answers are sent piece by piece, each in a turn of its own. Set `on_write` of a workbench to `heard`.
    """

    def __init__(self, answer: Answer = echo) -> None:
        self.answer = answer
        self.requests: list[Received] = []
        self.refused: list[str] = []
        self._connections: dict[Wire, h11.Connection] = {}
        self._tunnels: set[Wire] = set()

    def forget(self) -> None:
        """For the next message: its connections are others."""
        self.requests.clear()
        self.refused.clear()
        self._connections.clear()
        self._tunnels.clear()

    def heard(self, wire: Wire, data: bytes) -> None:
        if wire in self._tunnels:
            return
        connection = self._connections.get(wire)
        if connection is None:
            connection = self._connections[wire] = h11.Connection(h11.SERVER, max_incomplete_event_size=LARGEST)
        connection.receive_data(data)
        try:
            while self._take(wire, connection, connection.next_event()):
                pass
        except h11.RemoteProtocolError as error:
            self.refused.append(f"{error}: {bytes(wire.written)!r}")

    def _take(self, wire: Wire, connection: h11.Connection, event: object) -> bool:
        if isinstance(event, h11.Request):
            fields = tuple((bytes(name), bytes(value)) for name, value in event.headers)
            self.requests.append(Received(bytes(event.method), bytes(event.target), fields))
        elif isinstance(event, h11.Data):
            self.requests[-1].body += event.data
        elif isinstance(event, h11.EndOfMessage):
            self.requests[-1].complete = True
            connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
            connection.send(h11.EndOfMessage())
            connection.start_next_cycle()
            pieces = self.answer(self.requests[-1])
            if b"HTTP/1.1 101" in b"".join(pieces):
                self._tunnels.add(wire)  # what comes from now on need not be HTTP
            for piece in pieces:
                wire.send(piece)
        else:
            return False
        return True
