"""One message as our readers see it, and as h11 sees it."""

from dataclasses import dataclass

import h11

from microgateway.core.answers import UNTIL_CLOSE, AnswerHead, AnswerReader
from microgateway.core.field_sections import CHUNKED, read_section
from microgateway.core.fields import Field, FieldTable
from microgateway.core.framing import BodyReader, ChunkedReader, FixedReader, UntilCloseReader
from microgateway.core.requests import RequestHead, read_request

LARGEST = 1 << 20  # bytes of a head; our own limits are the data plane's, so h11's must not be narrower

Fields = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Body:
    """`left` are the bytes behind the message. `complete` is False where its end has not come."""

    payload: bytes
    complete: bool
    left: int


@dataclass(frozen=True, slots=True)
class OurRequest:
    head: RequestHead
    body: Body


@dataclass(frozen=True, slots=True)
class TheirRequest:
    """`fields` have names in lower case, in order."""

    method: bytes
    target: bytes
    version: bytes
    fields: Fields
    body: Body


@dataclass(frozen=True, slots=True)
class OurAnswer:
    head: AnswerHead
    body: Body


@dataclass(frozen=True, slots=True)
class TheirAnswer:
    status: int
    reason: bytes
    version: bytes
    fields: Fields
    body: Body


def read_our_request(data: bytes, table: FieldTable, private: dict[bytes, Field]) -> OurRequest | None:
    """None where the head's end has not come. Raises `HeadError`."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    line, *lines = data[:end].split(b"\r\n")
    head = read_request(line, read_section(lines, table, private))
    length = head.section.body
    return OurRequest(head, read_body(ChunkedReader() if length == CHUNKED else FixedReader(length), data[end + 4 :]))


def read_our_answer(
    data: bytes, reader: AnswerReader, private: dict[bytes, Field], *, to_head: bool
) -> OurAnswer | None:
    """An answer on a connection that was closed behind `data`. None where the head's end has not come."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = reader.read(data[:end].split(b"\r\n"), private, to_head=to_head)
    body_reader: BodyReader
    if head.body == UNTIL_CLOSE:
        body_reader = UntilCloseReader()
    else:
        body_reader = ChunkedReader() if head.body == CHUNKED else FixedReader(head.body)
    body = read_body(body_reader, data[end + 4 :])
    return OurAnswer(head, Body(body.payload, True, 0) if head.body == UNTIL_CLOSE else body)


def read_body(reader: BodyReader, data: bytes) -> Body:
    pieces, consumed = reader.feed(data) if data and not reader.done else ([], 0)
    return Body(b"".join(pieces), reader.done, len(data) - consumed)


def read_their_request(data: bytes) -> TheirRequest | None:
    """None where the head's end has not come. Raises `h11.RemoteProtocolError`."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=LARGEST)
    connection.receive_data(data)
    request = connection.next_event()
    if not isinstance(request, h11.Request):
        return None
    body = _their_body(connection)
    return TheirRequest(
        bytes(request.method), bytes(request.target), bytes(request.http_version), _fields(request.headers), body
    )


def read_their_answer(data: bytes, *, to_head: bool, closed: bool = True) -> TheirAnswer | None:
    """The first head that comes, be it an interim one, and its body. `closed`: the connection ended behind `data`."""
    connection = _asked(data, to_head=to_head)
    answer = connection.next_event()
    if isinstance(answer, h11.InformationalResponse):
        return _their_answer(answer, Body(b"", True, len(connection.trailing_data[0])))
    return _their_answer(answer, _their_body(connection, closed=closed)) if isinstance(answer, h11.Response) else None


def read_their_final_answer(data: bytes, *, to_head: bool, closed: bool = True) -> TheirAnswer | None:
    """The first answer that is not an interim one."""
    connection = _asked(data, to_head=to_head)
    while isinstance(answer := connection.next_event(), h11.InformationalResponse):
        pass
    return _their_answer(answer, _their_body(connection, closed=closed)) if isinstance(answer, h11.Response) else None


def _asked(data: bytes, *, to_head: bool) -> h11.Connection:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=LARGEST)
    connection.send(h11.Request(method="HEAD" if to_head else "GET", target="/", headers=[("Host", "a.example")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    return connection


def _their_answer(answer: h11.Response | h11.InformationalResponse, body: Body) -> TheirAnswer:
    return TheirAnswer(
        answer.status_code, bytes(answer.reason), bytes(answer.http_version), _fields(answer.headers), body
    )


def _their_body(connection: h11.Connection, *, closed: bool = False) -> Body:
    """`closed`: nothing more will come, which ends a body that has no other end."""
    payload = bytearray()
    while isinstance(event := connection.next_event(), h11.Data):
        payload += event.data
    if isinstance(event, h11.EndOfMessage):
        return Body(bytes(payload), True, len(connection.trailing_data[0]))
    if closed and _ends_with_connection(connection):
        return Body(bytes(payload), True, 0)
    return Body(bytes(payload), False, 0)


def _ends_with_connection(connection: h11.Connection) -> bool:
    """Whether the end of the stream is the end of the body: h11 says so only when it is told of that end."""
    try:
        connection.receive_data(b"")
        return isinstance(connection.next_event(), h11.EndOfMessage)
    except h11.RemoteProtocolError:
        return False  # "peer closed connection without sending complete message body"


def _fields(headers: h11._headers.Headers) -> Fields:
    return tuple((bytes(name), bytes(value)) for name, value in headers)
