"""h11 as a second opinion: whatever the gateway sends to an upstream, a strict reader that we did not write reads
alike.
"""

from dataclasses import dataclass

import h11

from tests.kit.upstream import Conversation


@dataclass(frozen=True, slots=True)
class ReadRequest:
    method: bytes
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes


def read_requests(received: bytes) -> list[ReadRequest]:
    """The whole requests in these bytes, as h11 reads them. Raises `h11.RemoteProtocolError` for what it refuses."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(received)
    requests: list[ReadRequest] = []
    while (request := _next_request(connection)) is not None:
        requests.append(request)
        connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
        connection.send(h11.EndOfMessage())
        if connection.our_state is not h11.DONE:
            break
        connection.start_next_cycle()
    return requests


def assert_read_alike(conversation: Conversation) -> None:
    """Our strict reader and h11 see the same requests in a connection's bytes. Not for tunnels: they carry no HTTP."""
    ours = [
        (
            request.method,
            request.target,
            tuple((name.lower(), value) for name, value in request.head.fields),
            request.body,
        )
        for request in conversation.requests
        if request.complete
    ]
    theirs = [
        (request.method, request.target, request.fields, request.body)
        for request in read_requests(conversation.received)
    ]
    assert ours == theirs[: len(ours)], f"h11 reads {theirs} where we read {ours}"


def _next_request(connection: h11.Connection) -> ReadRequest | None:
    request = connection.next_event()
    if not isinstance(request, h11.Request):
        return None
    body = bytearray()
    while isinstance(event := connection.next_event(), h11.Data):
        body += event.data
    if not isinstance(event, h11.EndOfMessage):
        return None
    return ReadRequest(request.method, request.target, tuple(request.headers), bytes(body))
