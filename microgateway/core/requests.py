"""A request's head: read strictly, into what judgement and forwarding ask of it.

Strict means: what RFC 9112 lets a server repair is refused too, because two servers in a row that repair differently are how requests
are smuggled. `FieldTable` judges each line alone; here are the rules between lines and those of the request line.
"""

import re

from microgateway.core.fields import Field, FieldTable, HeadError, Memory, content_length, is_token, members
from microgateway.core.paths import PathError, normalise

NO_BODY = 0
CHUNKED = -1

_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]\Z")
_AUTHORITY = re.compile(
    rb"(?P<host>\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)(?::(?P<port>[0-9]{0,5}))?\Z"
)
_SANE_REQUEST_ID = re.compile(rb"[A-Za-z0-9._~+/=:@-]{1,128}\Z")
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?\Z")  # W3C
_TARGET_MARKS = bytes(0 if octet <= 0x20 or octet >= 0x7F or octet in b'"#' else 1 for octet in range(256))
_USUAL_METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"))
# What Connection may say that names no field to take off: its own options, and fields that are not the client's to take off.
# Framing, Host, credentials and forwarding fields are not among the lines passed on as they are, so naming them changes nothing.
_NOT_NOMINATED = frozenset((b"close", b"keep-alive", b"upgrade", b"cookie", b"via"))


class RequestHead:
    """What a request says before its body.

    `path` is normalised; `query` has its question mark, or is empty. `host` is lower case, without port; `authority` is the Host as it
    came. `body` is the length in bytes, NO_BODY or CHUNKED. `fields` are the lines to pass on as they are. `forwarding` are the
    fields in which proxies speak of the client, to be believed or not. `api_key` and `authorization` are credentials.
    """

    __slots__ = (
        "api_key",
        "api_key_lines",
        "authority",
        "authorization",
        "body",
        "connection",
        "expects_continue",
        "fields",
        "forwarding",
        "host",
        "keep_alive",
        "length_field",
        "method",
        "minor_version",
        "path",
        "query",
        "request_id",
        "traceparent",
        "transfer_encoding",
        "upgrade",
    )

    def __init__(self, method: bytes) -> None:
        self.method = method
        self.path = b""
        self.query = b""
        self.minor_version = 1
        self.fields: list[bytes] = []
        self.host: bytes = b""
        self.authority: bytes | None = None
        self.body = NO_BODY
        self.keep_alive = True
        self.length_field: bytes | None = None
        self.transfer_encoding: bytes | None = None
        self.connection: frozenset[bytes] | None = None
        self.upgrade: bytes | None = None
        self.expects_continue = False
        self.api_key: bytes | None = None
        self.api_key_lines = 0
        self.authorization: list[Field] | None = None
        self.forwarding: list[Field] | None = None
        self.request_id: bytes | None = None
        self.traceparent: bytes | None = None


def read_request(lines: list[bytes], table: FieldTable, private: dict[bytes, Field]) -> RequestHead:
    """The head in these lines: request line first, no line ends. `private` is the connection's own memory of lines.

    Raises `HeadError` with the status to answer.
    """
    parts = lines[0].split(b" ")
    if len(parts) != 3:
        raise HeadError("The request line is not a method, a target and a version with one space between them.")
    method, target, version = parts
    if method not in _USUAL_METHODS:
        _check_method(method)
    head = RequestHead(method)
    if version != b"HTTP/1.1":
        _read_version(head, version)
    if b"\0" in target.translate(_TARGET_MARKS):
        raise HeadError("The request target holds a space, a quote, a fragment, a control or a non-ASCII character.")
    fields = head.fields
    remembered = table.remembered
    del lines[0]
    for line in lines:
        field = remembered.get(line) or private.get(line) or table.examine(line, private)
        action = field.action
        if action is None:
            fields.append(field.line)
        else:
            action(head, field)
    if head.transfer_encoding is not None or head.length_field is not None:
        _read_framing(head)
    if head.connection is not None:
        _obey_connection(head, head.connection)
    else:
        head.upgrade = None  # RFC 9110, 7.8: it counts only when Connection names it
    _read_target(head, target)
    return head


def _check_method(method: bytes) -> None:
    if not is_token(method):
        raise HeadError("The method is not a token.")
    if method == b"CONNECT":
        raise HeadError("CONNECT is not served here.", code="connect_refused", status=405)


def _read_version(head: RequestHead, version: bytes) -> None:
    if version == b"HTTP/1.0":
        head.minor_version = 0
        head.keep_alive = False
    elif _VERSION.match(version):
        raise HeadError("Only HTTP/1.0 and HTTP/1.1 are spoken here.", code="http_version_not_supported", status=505)
    else:
        raise HeadError("The request line does not end in an HTTP version.")


def _read_target(head: RequestHead, target: bytes) -> None:
    """Origin-form is usual; absolute-form takes its authority over Host; `*` is for OPTIONS (RFC 9112, 3.2)."""
    if head.authority is None and head.minor_version == 1:
        raise HeadError("An HTTP/1.1 request has a Host field.", code="bad_host")
    if not target.startswith(b"/"):
        target = _origin_form(head, target)
    path, mark, query = target.partition(b"?")
    head.query = mark + query
    if path == b"*":
        head.path = path
        return
    try:
        head.path = normalise(path)
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
    end = min(place for mark in (b"/", b"?") if (place := rest.find(mark)) >= 0) if b"/" in rest or b"?" in rest else len(rest)
    head.authority, head.host = rest[:end], parse_authority(rest[:end])
    origin = rest[end:]
    if not origin.startswith(b"/"):
        return b"*" if not origin and head.method == b"OPTIONS" else b"/" + origin  # RFC 9112, 3.2.4
    return origin


def parse_authority(authority: bytes) -> bytes:
    """The host of `host[:port]`, in lower case and without a dot at its end (RFC 9110, 7.2). Raises `HeadError`."""
    match = _AUTHORITY.match(authority)
    if match is None or int(match["port"] or 0) > 65_535:
        raise HeadError("The host is not a name or an address with an optional port.", code="bad_host")
    host: bytes = match["host"].lower()
    return host.rstrip(b".") or host


def _read_framing(head: RequestHead) -> None:
    """RFC 9112, 6.1 and 6.3, with every repair that they allow refused."""
    if head.transfer_encoding is None:
        head.body = content_length(head.length_field or b"")
        return
    if head.length_field is not None:
        raise HeadError("Content-Length and Transfer-Encoding exclude each other.", code="ambiguous_framing")
    if head.transfer_encoding.lower() != b"chunked":
        raise HeadError("The only transfer coding understood here is 'chunked'.", code="bad_transfer_encoding")
    if head.minor_version == 0:
        raise HeadError("HTTP/1.0 has no Transfer-Encoding.", code="bad_transfer_encoding")
    head.body = CHUNKED


def _obey_connection(head: RequestHead, options: frozenset[bytes]) -> None:
    """Takes off the fields that Connection names (RFC 9110, 7.6.1), and reads `close` and `keep-alive`."""
    if b"close" in options:
        head.keep_alive = False
    elif head.minor_version == 0 and b"keep-alive" in options:
        head.keep_alive = True
    if b"upgrade" not in options:
        head.upgrade = None
    if not options <= _NOT_NOMINATED:
        nominated = options - _NOT_NOMINATED
        head.fields[:] = [line for line in head.fields if line.partition(b":")[0].lower() not in nominated]


def _host(head: RequestHead, field: Field) -> None:
    if head.authority is not None:
        raise HeadError("There are two Host fields.", code="bad_host")
    if field.parsed is None:
        field.parsed = parse_authority(field.value)
    head.authority = field.value
    head.host = field.parsed


def _content_length(head: RequestHead, field: Field) -> None:
    if head.length_field is not None:
        raise HeadError("There are two Content-Length fields.", code="bad_content_length")
    head.length_field = field.value


def _transfer_encoding(head: RequestHead, field: Field) -> None:
    if head.transfer_encoding is not None:
        raise HeadError("There are two Transfer-Encoding fields.", code="bad_transfer_encoding")
    head.transfer_encoding = field.value


def _connection(head: RequestHead, field: Field) -> None:
    if field.parsed is None:
        field.parsed = frozenset(members(field.value))
    head.connection = field.parsed if head.connection is None else head.connection | field.parsed


def _upgrade(head: RequestHead, field: Field) -> None:
    head.upgrade = field.value.lower() if head.upgrade is None else head.upgrade + b"," + field.value.lower()


def _expect(head: RequestHead, field: Field) -> None:
    if field.value.lower() != b"100-continue":
        raise HeadError("The only expectation met here is '100-continue'.", code="expectation_failed", status=417)
    head.expects_continue = head.minor_version == 1  # RFC 9110, 10.1.1: ignored in HTTP/1.0


def _api_key(head: RequestHead, field: Field) -> None:
    head.api_key = field.value
    head.api_key_lines += 1


def _authorization(head: RequestHead, field: Field) -> None:
    if head.authorization is None:
        head.authorization = [field]
    else:
        head.authorization.append(field)


def _about_the_client(head: RequestHead, field: Field) -> None:
    if head.forwarding is None:
        head.forwarding = [field]
    else:
        head.forwarding.append(field)


def _request_id(head: RequestHead, field: Field) -> None:
    if head.request_id is None and _SANE_REQUEST_ID.match(field.value):
        head.request_id = field.value


def _traceparent(head: RequestHead, field: Field) -> None:
    if head.traceparent is None and _TRACEPARENT.match(field.value):
        head.traceparent = field.value


def _dropped(head: RequestHead, field: Field) -> None:
    """Hop-by-hop fields (RFC 9110, 7.6.1), and look-alikes that some servers take for the fields above."""


FORWARDING_FIELDS = (
    b"forwarded",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-forwarded-proto",
    b"x-real-ip",
)
_OTHER_FORWARDING_FIELDS = (b"x-forwarded", b"x-forwarded-by", b"x-forwarded-prefix", b"x-forwarded-server", b"x-client-ip")
_HOP_BY_HOP = (b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailer")
_FRAMING_FIELDS = (b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"expect", b"x-api-key")


def request_fields(api_key_field: bytes = b"x-api-key") -> FieldTable:
    """A fresh table for requests, where `api_key_field` (lower case) carries the API key."""
    actions = {
        b"host": _host,
        b"content-length": _content_length,
        b"transfer-encoding": _transfer_encoding,
        b"connection": _connection,
        b"upgrade": _upgrade,
        b"expect": _expect,
        api_key_field: _api_key,
        b"authorization": _authorization,
        b"x-request-id": _request_id,
        b"traceparent": _traceparent,
    }
    guarded = (*_FRAMING_FIELDS, *FORWARDING_FIELDS, *_OTHER_FORWARDING_FIELDS, api_key_field)
    look_alikes = {name.replace(b"-", b"_") for name in guarded if b"-" in name}
    actions.update(dict.fromkeys(look_alikes, _dropped))
    actions.update(dict.fromkeys(_HOP_BY_HOP, _dropped))
    actions.update(dict.fromkeys(_OTHER_FORWARDING_FIELDS, _dropped))
    actions.update(dict.fromkeys(FORWARDING_FIELDS, _about_the_client))
    memory = dict.fromkeys((api_key_field, b"authorization", b"cookie"), Memory.PRIVATE)
    memory.update(dict.fromkeys((b"traceparent", b"x-request-id", b"if-none-match", b"date"), Memory.NONE))
    return FieldTable(actions, memory)
