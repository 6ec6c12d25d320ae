"""One path, one meaning: the normal form of a request path, which router, rules and upstream all see.

Normalising follows RFC 3986 (6.2.2): unreserved octets are decoded, percent triplets are upper-cased, dot segments are
removed. Two upstreams may still disagree on what is left: some decode `%2F` or `%5C` and then remove dot segments a
second time, and some cut a segment at `;` first. A path that would change meaning there is refused rather than guessed
at.
"""

from microgateway.errors import MicroGatewayError

_UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
_PLAIN = _UNRESERVED + b"!$&'()*+,;=:@/"  # RFC 3986, 3.3: pchar without the percent sign, and the slash
_HEX = {ord(digit) for digit in "0123456789abcdefABCDEF"}
_UNRESERVED_OCTETS = frozenset(_UNRESERVED)
_KEPT_OCTETS = frozenset(_PLAIN)
_MARKED = 0  # an integer: looking for an octet is several times as quick as looking for bytes
_MARKS = bytes(octet if octet in _KEPT_OCTETS and octet != ord(";") else 0 for octet in range(256))


class PathError(MicroGatewayError):
    """This path has no safe normal form."""


def is_plain(path: bytes) -> bool:
    """Whether a path is in normal form as it stands, which nearly every request's is. Quick; False may be wrong."""
    return _MARKED not in path.translate(_MARKS) and path.find(b"/.") < 0 and path[:1] == b"/"


def normalise(path: bytes) -> bytes:
    """The normal form of an absolute path (no query), or `PathError`. Normalising twice changes nothing."""
    if is_plain(path):
        return path
    if not path.startswith(b"/"):
        raise PathError("The path does not begin with a slash.")
    if b"\0" in path or b"%00" in path:
        raise PathError("The path holds a NUL.")
    segments = _decode_unreserved(path)[1:].split(b"/")
    for segment in segments:
        _refuse_hidden_dots(segment)
    return b"/" + b"/".join(_without_dot_segments(segments))


def _decode_unreserved(path: bytes) -> bytes:
    out = bytearray()
    position, end = 0, len(path)
    while position < end:
        octet = path[position]
        if octet != 0x25:
            out += b"%c" % octet if octet in _KEPT_OCTETS else b"%%%02X" % octet
            position += 1
            continue
        octet = _escaped_octet(path, position)
        out += b"%c" % octet if octet in _UNRESERVED_OCTETS else b"%%%02X" % octet
        position += 3
    return bytes(out)


def _escaped_octet(path: bytes, position: int) -> int:
    digits = path[position + 1 : position + 3]
    if len(digits) != 2 or digits[0] not in _HEX or digits[1] not in _HEX:
        raise PathError("The path holds a percent sign that two hexadecimal digits do not follow.")
    return int(digits, 16)


def _refuse_hidden_dots(segment: bytes) -> None:
    if b".." not in segment or segment == b"..":
        return
    for piece in segment.replace(b"%5C", b"%2F").split(b"%2F"):
        if piece.partition(b";")[0] == b"..":
            raise PathError("The path hides a '..' next to an encoded slash, a backslash or a semicolon.")


def _without_dot_segments(segments: list[bytes]) -> list[bytes]:
    """RFC 3986, 5.2.4, but leaving the root is an error instead of staying there."""
    kept: list[bytes] = []
    for segment in segments:
        if segment == b"..":
            if not kept:
                raise PathError("The path leaves the root.")
            kept.pop()
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")
    return kept
