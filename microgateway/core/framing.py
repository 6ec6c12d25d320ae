"""Where a body ends: by its length, by chunks, or with its connection (RFC 9112, 6 and 7.1).

A reader is fed what the connection brought and answers with the pieces of payload in it, as views that copy nothing,
and with the number of bytes that belong to the body: what stands behind them is the next message.
"""

from typing import Protocol

from microgateway.core.field_sections import FORWARDING_FIELDS
from microgateway.core.fields import HeadError, is_token

LONGEST_SIZE_LINE = 256  # a chunk's size and its extensions; 16 hexadecimal digits are more than any body has
LARGEST_CHUNK = 2**63 - 1  # bytes: what fits a signed integer of 64 bits, which others read it into
LONGEST_TRAILER = 8_192
MOST_EXTENSIONS = 8_192  # bytes of a whole body's extensions, without those that are no longer than their chunk's data
_SMALL_SIZES = {b"%x" % size: size for size in range(256)}
_HEX_DIGITS = frozenset(b"0123456789abcdefABCDEF")
_FORBIDDEN_TRAILERS = frozenset(
    (
        b"authorization",
        b"connection",
        b"content-length",
        b"host",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"x-api-key",
        *FORWARDING_FIELDS,
    )
)

Piece = bytes | memoryview


class BodyReader(Protocol):
    """What all three framings have in common. `done` once the last byte was fed."""

    done: bool

    def feed(self, data: Piece) -> tuple[list[Piece], int]:
        """The payload in `data`, and how many of its bytes belong to the body.

        Raises `HeadError` for broken framing.
        """
        ...


class FixedReader:
    """A body of known length. `remaining` is bytes."""

    __slots__ = ("done", "remaining")

    def __init__(self, length: int) -> None:
        self.remaining = length
        self.done = length == 0

    def feed(self, data: Piece) -> tuple[list[Piece], int]:
        size = len(data)
        if size < self.remaining:
            self.remaining -= size
            return [data], size
        last, self.remaining, self.done = self.remaining, 0, True
        return [data if last == size else memoryview(data)[:last]], last


class UntilCloseReader:
    """A body that ends with its connection: `done` is set by whoever sees that end."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False

    def feed(self, data: Piece) -> tuple[list[Piece], int]:
        return [data], len(data)


class ChunkedReader:
    """A chunked body.

    Size lines, extensions altogether, and trailers are bounded; every line ends in CR LF; trailers are checked and
    dropped.
    """

    __slots__ = ("_extension_bytes", "_line", "_remaining", "_state", "_trailer_bytes", "done")

    _SIZE, _DATA, _DATA_END, _TRAILER = range(4)

    def __init__(self) -> None:
        self.done = False
        self._state = self._SIZE
        self._remaining = 0
        self._line = b""  # the beginning of a line whose end has not come
        self._extension_bytes = 0
        self._trailer_bytes = 0

    def feed(self, data: Piece) -> tuple[list[Piece], int]:
        if type(data) is not bytes:
            data = bytes(data)  # what came with a head, once: in bytes a line's end is found many times as quickly
        view, position, end = memoryview(data), 0, len(data)
        pieces: list[Piece] = []
        while position < end and not self.done:
            if self._state == self._DATA:
                taken = min(self._remaining, end - position)
                pieces.append(view[position : position + taken])
                position += taken
                self._remaining -= taken
                if self._remaining == 0:
                    self._state = self._DATA_END
            elif self._state == self._DATA_END and not self._line and data[position : position + 2] == b"\r\n":
                position += 2
                self._state = self._SIZE
            else:
                position = self._feed_line(data, position)
        return pieces, position

    def _feed_line(self, data: bytes, position: int) -> int:
        """One line, or the part of it that has come. Answers the position behind it.

        A stranger may send thousands of lines in one read, each for a chunk of one byte.
        """
        longest = LONGEST_TRAILER if self._state == self._TRAILER else LONGEST_SIZE_LINE
        line_end = data.find(b"\n", position, position + longest + 2)
        if line_end < 0:
            part = data[position : position + longest + 2]
            self._line += part
            if len(self._line) > longest + 1 or (self._state == self._DATA_END and not b"\r\n".startswith(self._line)):
                raise _broken()
            return position + len(part)
        line = data[position : line_end + 1]
        if self._line:
            line, self._line = self._line + line, b""
        if len(line) > longest + 2 or line[-2:] != b"\r\n":
            raise _broken()
        self._take_line(line[:-2])
        return line_end + 1

    def _take_line(self, line: bytes) -> None:
        if self._state == self._SIZE:
            size = _SMALL_SIZES.get(line)
            if size is None:
                size = self._read_size(line)
            self._remaining = size
            self._state = self._DATA if size else self._TRAILER
        elif self._state == self._DATA_END:
            if line:
                raise _broken()
            self._state = self._SIZE
        elif not line:
            self.done = True
        else:
            self._trailer_bytes += len(line)
            if self._trailer_bytes > LONGEST_TRAILER:
                raise HeadError("The trailer section is too long.", code="bad_chunk")
            _check_trailer(line)

    def _read_size(self, line: bytes) -> int:
        size = _chunk_size(line)
        if b";" in line and len(line) > size:
            self._extension_bytes += len(line) - size
            if self._extension_bytes > MOST_EXTENSIONS:  # RFC 9112, 7.1.1
                raise HeadError("The chunk extensions are too long.", code="bad_chunk")
        return size


def _chunk_size(line: bytes) -> int:
    """`size [; extensions]`: plain hexadecimal digits, nothing between them and the semicolon (RFC 9112, 7.1)."""
    digits, semicolon, extension = line.partition(b";")
    if semicolon:
        digits = digits.rstrip(b" \t")  # BWS, which a recipient must accept (RFC 9112, 7.1.1)
        if any((octet < 0x20 and octet != 0x09) or octet == 0x7F for octet in extension):
            raise _broken()
    if not 0 < len(digits) <= 16 or not _HEX_DIGITS.issuperset(digits):
        raise _broken()
    size = int(digits, 16)
    if size > LARGEST_CHUNK:
        raise _broken()
    return size


def _check_trailer(line: bytes) -> None:
    name, colon, value = line.partition(b":")
    if not colon or not is_token(name) or any((octet < 0x20 and octet != 0x09) or octet == 0x7F for octet in value):
        raise HeadError("A trailer field is malformed.", code="bad_chunk")
    if name.lower() in _FORBIDDEN_TRAILERS:
        raise HeadError("A trailer holds a field of framing, routing or authentication.", code="bad_chunk")


def _broken() -> HeadError:
    return HeadError("The chunked body is malformed.", code="bad_chunk")


def encode_chunk(pieces: list[Piece]) -> list[Piece]:
    """These pieces as one chunk; none of them, or only empty ones, as nothing at all (an empty chunk would end the
    body).
    """
    size = sum(map(len, pieces))
    return [b"%x\r\n" % size, *pieces, b"\r\n"] if size else []


LAST_CHUNK = b"0\r\n\r\n"
