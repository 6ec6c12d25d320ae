"""HTTP/1.1 as both ends here write and read it: few lines, strict, and nothing of the gateway's own code."""

import re
from dataclasses import dataclass, field

from soak.stream import GoneError, Stream

_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-9][0-9]{2}) [^\r\n]*")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\x00]*)")
_SIZE = re.compile(rb"([0-9a-fA-F]{1,16})\r\n")


class BrokenError(Exception):
    """Bytes that no reader should have to understand. From the gateway, they are a finding."""


@dataclass(frozen=True, slots=True)
class Head:
    """A start line and fields; names in lower case."""

    start: bytes
    fields: tuple[tuple[bytes, bytes], ...]

    def get(self, name: bytes) -> bytes:
        """The field's value, empty where there is none. A second one is an error here."""
        values = [value for given, value in self.fields if given == name]
        if len(values) > 1:
            raise BrokenError(f"{name!r} comes {len(values)} times")
        return values[0] if values else b""


@dataclass(slots=True)
class Answer:
    """What a client got: `status` 0 when not even a head came whole, `complete` when nothing is missing."""

    status: int = 0
    fields: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    complete: bool = False
    closes: bool = True
    interims: list[int] = field(default_factory=list)

    def get(self, name: bytes) -> bytes:
        return Head(b"", self.fields).get(name)


def request(path: str, *fields: str, method: str = "GET") -> bytes:
    """A head with these field lines, its empty line included."""
    lines = (f"{method} {path} HTTP/1.1", "Host: gateway.example", *fields)
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


async def read_head(stream: Stream) -> Head:
    """Raises `GoneError` when it does not come whole, `BrokenError` when it is no head."""
    start, *lines = (await stream.read_until(b"\r\n\r\n"))[:-4].split(b"\r\n")
    fields: list[tuple[bytes, bytes]] = []
    for line in lines:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise BrokenError(f"a field line {line!r}")
        fields.append((match[1].lower(), match[2].rstrip(b" \t")))
    return Head(start, tuple(fields))


async def read_body(stream: Stream, head: Head, into: list[bytes]) -> bool:
    """A body by the length or the chunks that the head tells. False when it tells neither, and nothing was read.

    `into` gets the pieces as they come, so that they are there when `GoneError` is raised.
    """
    length = head.get(b"content-length")
    if head.get(b"transfer-encoding"):
        if length:
            raise BrokenError("both framings at once")
        await _read_chunks(stream, into)
        return True
    if not length:
        return False
    left = int(length)
    while left:
        data = await stream.read_some()
        into.append(data[:left])
        stream.give_back(data[left:])
        left -= len(into[-1])
    return True


async def _read_chunks(stream: Stream, into: list[bytes]) -> None:
    while True:
        match = _SIZE.fullmatch(await stream.read_until(b"\r\n"))
        if match is None:
            raise BrokenError("a chunk's size")
        size = int(match[1], 16)
        if size:
            into.append(await stream.read_exactly(size))
        if await stream.read_exactly(2) != b"\r\n":
            raise BrokenError("a chunk's end")
        if not size:
            return


async def read_answer(stream: Stream, *, to_head: bool = False) -> Answer:
    """The next answer, as far as it comes. Raises `BrokenError` for what is not HTTP."""
    answer, pieces = Answer(), list[bytes]()
    try:
        head = await _read_final_head(stream, answer)
        answer.fields = head.fields
        answer.closes = head.get(b"connection").lower() == b"close"
        if to_head or answer.status in (204, 304) or await read_body(stream, head, pieces):
            answer.complete = True
        else:
            pieces.append(await stream.read_to_end())
            answer.complete, answer.closes = not stream.was_reset, True
    except GoneError:
        answer.closes = True
    answer.body = b"".join(pieces)
    return answer


async def _read_final_head(stream: Stream, answer: Answer) -> Head:
    while True:
        head = await read_head(stream)
        match = _STATUS_LINE.fullmatch(head.start)
        if match is None:
            raise BrokenError(f"a status line {head.start!r}")
        if int(match[1]) >= 200:
            answer.status = int(match[1])
            return head
        answer.interims.append(int(match[1]))
