"""A request's head: read strictly, into what judgement and forwarding ask of it.

Strict means: what RFC 9112 lets a server repair is refused too, because two servers in a row that repair differently
are how requests are smuggled. Here are the rules of the request line; the fields' are in `field_sections`, read apart,
because a connection often sends the same fields again.
"""

import re
from typing import Any

from microgateway.core.field_sections import NO_BODY, FieldSection, parse_authority
from microgateway.core.fields import HeadError, is_token
from microgateway.core.paths import PathError, is_plain, normalise

WEBSOCKET = b"websocket"
NO_ERROR = ""  # the code of an answer that is not one of refusal

_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]\Z")
_VERSIONS = frozenset((b"HTTP/1.1", b"HTTP/1.0"))
_BAD = 0
_BAD_TARGET = "The request target holds a space, a quote, a fragment, a control or a non-ASCII character."
_TARGET_MARKS = bytes(0 if octet <= 0x20 or octet >= 0x7F or octet in b'"#' else 1 for octet in range(256))
METHODS_THAT_COUNT_HOPS = frozenset((b"OPTIONS", b"TRACE"))  # RFC 9110, 7.6.2
_USUAL_METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"))
_NOT_THREE_PARTS = "The request line is not a method, a target and a version with one space between them."


class RequestHead:
    """What a request says before its body. `path` is normalised; `query` has its question mark, or is empty.

    `host` and `authority` are the section's, unless the target is a whole URL, whose authority counts then (RFC 9112,
    3.2.2). `request_id` and `traceparent` are the request's own, also where it shares its section with others. A
    connection keeps the head of a request that comes again, so what was made of it is noted here: `way` is where it
    went, `lines` how it was written there, and `standing` what judgement has found out.
    """

    __slots__ = (
        "authority",
        "host",
        "keep_alive",
        "lines",
        "method",
        "minor_version",
        "path",
        "query",
        "request_id",
        "section",
        "standing",
        "traceparent",
        "way",
    )

    def __init__(self, method: bytes, section: FieldSection) -> None:
        self.method = method
        self.section = section
        self.path = b""
        self.query = b""
        self.minor_version = 1
        self.host = section.host
        self.authority = section.authority
        self.request_id = section.request_id
        self.traceparent = section.traceparent
        self.keep_alive = b"close" not in section.connection
        self.standing: Any = None
        self.way: Any = None
        self.lines = b""

    def asks_for_websocket(self) -> bool:
        """Whether this is a WebSocket handshake (RFC 6455, 4.2.1), as far as a proxy needs to know."""
        section = self.section
        is_get = self.method == b"GET" and self.minor_version == 1
        return section.upgrade == WEBSOCKET and is_get and section.body == NO_BODY

    def header(self, name: bytes) -> bytes | None:
        """The value of an end-to-end field, as `FieldSection.header` has it."""
        return self.section.header(name)


def read_request(line: bytes, section: FieldSection) -> RequestHead:
    """The head that this request line and these fields make. Raises `HeadError` with the status to answer."""
    parts = line.split(b" ")
    if len(parts) != 3:
        raise HeadError(_NOT_THREE_PARTS)
    method, target, version = parts
    if method not in _USUAL_METHODS:
        _check_method(method)
    head = RequestHead(method, section)
    if version != b"HTTP/1.1":
        _read_version(head, version)
    elif section.authority is None:
        raise HeadError("An HTTP/1.1 request has a Host field.", code="bad_host")
    if section.max_forwards == 0 and method in METHODS_THAT_COUNT_HOPS:
        raise _ends_here(method)
    mark = target.find(b"?")
    path = target if mark < 0 else target[:mark]
    if not is_plain(path):
        _read_target(head, target)
        return head
    head.path = path
    if mark >= 0:
        head.query = query = target[mark:]
        if _BAD in query.translate(_TARGET_MARKS):
            raise HeadError(_BAD_TARGET)
    return head


def check_request_line(line: bytes) -> None:
    """A request line whose fields are still to come. Raises `HeadError` where none of them could make a request of it.

    Without this, who does not speak HTTP/1.1 would be answered when the time for a head is over.
    """
    parts = line.split(b" ")
    if len(parts) != 3:
        raise HeadError(_NOT_THREE_PARTS)
    method, target, version = parts
    _check_method(method)
    if version not in _VERSIONS:
        raise _unknown_version(version)
    if _BAD in target.translate(_TARGET_MARKS):
        raise HeadError(_BAD_TARGET)


def _ends_here(method: bytes) -> HeadError:
    """We are the final recipient of a request that may not be passed on (RFC 9110, 7.6.2 and 9.3.7), and no echo."""
    if method == b"OPTIONS":
        return HeadError("These are the options of the gateway.", code=NO_ERROR, status=204)
    return HeadError("TRACE is not served here, and Max-Forwards is 0.", code="max_forwards", status=405)


def _check_method(method: bytes) -> None:
    if not is_token(method):
        raise HeadError("The method is not a token.")
    if method == b"CONNECT":
        raise HeadError("CONNECT is not served here.", code="connect_refused", status=405)


def _read_version(head: RequestHead, version: bytes) -> None:
    if version == b"HTTP/1.0":
        if head.section.transfer_encoding is not None:
            raise HeadError("HTTP/1.0 has no Transfer-Encoding.", code="bad_transfer_encoding")
        head.minor_version = 0
        head.keep_alive = head.keep_alive and b"keep-alive" in head.section.connection
    else:
        raise _unknown_version(version)


def _unknown_version(version: bytes) -> HeadError:
    if _VERSION.match(version):
        detail = "Only HTTP/1.0 and HTTP/1.1 are spoken here."
        return HeadError(detail, code="http_version_not_supported", status=505)
    return HeadError("The request line does not end in an HTTP version.")


def _read_target(head: RequestHead, target: bytes) -> None:
    """Origin-form with all that a target can have, absolute-form, or `*` (RFC 9112, 3.2)."""
    if _BAD in target.translate(_TARGET_MARKS):
        raise HeadError(_BAD_TARGET)
    if target[:1] != b"/":
        target = _origin_form(head, target)
    path, mark, query = target.partition(b"?")
    head.query = mark + query
    try:
        head.path = normalise(path) if path != b"*" else path
    except PathError as error:
        raise HeadError(str(error), code="bad_path") from None


def _origin_form(head: RequestHead, target: bytes) -> bytes:
    if target == b"*":
        if head.method != b"OPTIONS":
            raise HeadError("The target '*' is for OPTIONS.")
        return target
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        raise HeadError("The request target is neither a path nor an http or https URL.")
    end = (
        min(place for mark in (b"/", b"?") if (place := rest.find(mark)) >= 0)
        if b"/" in rest or b"?" in rest
        else len(rest)
    )
    head.authority, head.host = rest[:end], parse_authority(rest[:end])
    origin = rest[end:]
    if not origin.startswith(b"/"):
        return b"*" if not origin and head.method == b"OPTIONS" else b"/" + origin  # RFC 9112, 3.2.4
    return origin
