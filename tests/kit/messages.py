"""Message heads as bytes: written for a request, and read strictly, by rules of our own and not the gateway's."""

from dataclasses import dataclass

TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")  # RFC 9110, 5.6.2
CRLF = b"\r\n"


class BadMessageError(Exception):
    """These bytes are no message that every reader reads alike."""


@dataclass(frozen=True, slots=True)
class Head:
    """A start line and its fields, in order, as they came. Names compare without case."""

    raw: bytes
    start: bytes
    fields: tuple[tuple[bytes, bytes], ...]

    def all(self, name: bytes) -> list[bytes]:
        """The values of every line with this name, in order."""
        return [value for given, value in self.fields if given.lower() == name.lower()]

    def one(self, name: bytes) -> bytes | None:
        """The value of the only line with this name, None where there is none. Two are an error of the message."""
        values = self.all(name)
        if len(values) > 1:
            raise BadMessageError(f"{name!r} stands {len(values)} times in {self.raw!r}")
        return values[0] if values else None

    def names(self) -> frozenset[bytes]:
        return frozenset(name.lower() for name, _ in self.fields)


@dataclass(frozen=True, slots=True)
class Framing:
    """How a body ends: after `length` bytes, with its last chunk, or (neither) with the connection."""

    chunked: bool = False
    length: int | None = None


def lines(*parts: str | bytes) -> bytes:
    """A head of these lines, with line ends and the empty line. Text is Latin-1, so that any byte can be written."""
    return b"".join(as_bytes(part) + CRLF for part in (*parts, b""))


def as_bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


def parse_head(raw: bytes) -> Head:
    """A head, its empty line included. Raises `BadMessageError` for whatever two readers might read in two ways."""
    if not raw.endswith(CRLF + CRLF):
        raise BadMessageError(f"no empty line at the end of {raw!r}")
    start, *rest = raw[:-4].split(CRLF)
    for line in (start, *rest):
        bad = [octet for octet in line if (octet < 0x20 and octet != 0x09) or octet == 0x7F]
        if bad:
            raise BadMessageError(f"control characters {bytes(bad)!r} in {line!r}")
    return Head(raw, start, tuple(_field(line) for line in rest))


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(b":")
    if not colon or not name or not TOKEN.issuperset(name):
        raise BadMessageError(f"not a field: {line!r}")
    return name, value.strip(b" \t")


def framing_of(head: Head) -> Framing:
    """RFC 9112, 6.3, where every doubt is an error."""
    coding, length = head.one(b"transfer-encoding"), head.one(b"content-length")
    if coding is not None and length is not None:
        raise BadMessageError(f"both Transfer-Encoding and Content-Length in {head.raw!r}")
    if coding is not None:
        if coding.lower() != b"chunked":
            raise BadMessageError(f"Transfer-Encoding is {coding!r}")
        return Framing(chunked=True)
    if length is not None and not (length.isdigit() and len(length) < 20):
        raise BadMessageError(f"Content-Length is {length!r}")
    return Framing(length=None if length is None else int(length))


def chunked(*chunks: bytes, trailers: bytes = b"") -> bytes:
    """A chunked body of these chunks, with its last chunk. `trailers` are complete lines."""
    written = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return written + b"0\r\n" + trailers + CRLF


def answer(status: int | str = 200, *fields: str | bytes, body: bytes = b"", length: bool = True) -> bytes:
    """A whole answer, framed by Content-Length. `length` False leaves the framing to `fields`."""
    line = f"HTTP/1.1 {status}" if isinstance(status, str) else f"HTTP/1.1 {status} Scripted"
    own = (f"Content-Length: {len(body)}",) if length else ()
    return lines(line, *fields, *own) + body
