"""One path, one meaning: the normal form of a request path, which router, rules and upstream all see.

Normalising follows RFC 3986 (6.2.2): unreserved octets are decoded, percent triplets are upper-cased, dot segments are
removed. Two upstreams may still disagree on what is left: some decode `%2F` or `%5C` and then remove dot segments a
second time, and some cut a segment at `;` first. A path that would change meaning there is refused rather than guessed
at.
"""

import re
from itertools import product

from microgateway.errors import MicroGatewayError

_UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
_PLAIN = _UNRESERVED + b"!$&'()*+,;=:@/"  # RFC 3986, 3.3: pchar without the percent sign, and the slash
_ESCAPED = _PLAIN + b"%"  # what stands in a path once the rest of all octets is escaped
_HEX = "0123456789abcdefABCDEF"
_UNRESERVED_OCTETS = frozenset(_UNRESERVED)
_KEPT_OCTETS = frozenset(_PLAIN)
_MARKED = 0  # an integer: looking for an octet is several times as quick as looking for bytes
_MARKS = bytes(octet if octet in _KEPT_OCTETS and octet != ord(";") else 0 for octet in range(256))


def _normal_triplet(digits: str) -> bytes:
    octet = int(digits, 16)
    return b"%c" % octet if octet in _UNRESERVED_OCTETS else b"%%%02X" % octet


_TRIPLETS = {digits.encode(): _normal_triplet(digits) for digits in map("".join, product(_HEX, _HEX))}
# A ".." that stands alone between separators, of which one is no plain slash, or that a semicolon follows
_HIDDEN_DOTS = re.compile(rb"(?:%2F|%5C)\.\.(?=[/;]|%2F|%5C|\Z)|/\.\.(?=;|%2F|%5C)")


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
    path = _decode_unreserved(path)
    if path.find(b"/.") < 0 and path.find(b"..") < 0:
        return path
    if _HIDDEN_DOTS.search(path):
        raise PathError("The path hides a '..' next to an encoded slash, a backslash or a semicolon.")
    return b"/" + b"/".join(_without_dot_segments(path[1:].split(b"/")))


def _decode_unreserved(path: bytes) -> bytes:
    """Escaped is what needs to be, and nothing else. A stranger may ask for this with thousands of triplets."""
    for octet in set(path.translate(None, _ESCAPED)):
        path = path.replace(b"%c" % octet, b"%%%02X" % octet)
    beginning, *others = path.split(b"%")
    try:
        return beginning + b"".join([_TRIPLETS[piece[:2]] + piece[2:] for piece in others])
    except KeyError:
        raise PathError("The path holds a percent sign that two hexadecimal digits do not follow.") from None


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
