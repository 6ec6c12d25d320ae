"""A request's head: read strictly, into what judgement and forwarding ask of it.

Strict means: what RFC 9112 lets a server repair is refused too, because two servers in a row that repair differently
are how requests are smuggled. `FieldTable` judges each line alone; here are the rules between lines and those of the
request line. The two parts are read apart, because a connection that sends the same fields again, as most clients do,
need not have them read again.
"""

import re
from ipaddress import AddressValueError, IPv6Address
from typing import Any

from microgateway.core.fields import (
    Action,
    Field,
    FieldTable,
    HeadError,
    Memory,
    content_length,
    is_token,
    members,
    values_by_name,
)
from microgateway.core.paths import PathError, is_plain, normalise

WEBSOCKET = b"websocket"
NO_BODY = 0
CHUNKED = -1

_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]\Z")
_AUTHORITY = re.compile(
    rb"(?P<host>\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)(?::(?P<port>[0-9]{0,5}))?\Z"
)
_SANE_REQUEST_ID = re.compile(rb"[A-Za-z0-9._~+/=:@-]{1,128}\Z")
_TRACEPARENT = re.compile(
    rb"(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[!-~]*)?\Z"
)  # W3C; only versions after 00 may hold more
_BAD = 0
_TARGET_MARKS = bytes(0 if octet <= 0x20 or octet >= 0x7F or octet in b'"#' else 1 for octet in range(256))
METHODS_THAT_COUNT_HOPS = frozenset((b"OPTIONS", b"TRACE"))  # RFC 9110, 7.6.2
_USUAL_METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"))
# What Connection may say that names no field to take off: its own options, and fields that are not the client's to
# take off.
# Framing, Host, credentials and forwarding fields are not among the lines passed on as they are, so naming them
# changes nothing.
_NOT_NOMINATED = frozenset((b"close", b"keep-alive", b"upgrade", b"cookie", b"via"))
_NO_OPTIONS: frozenset[bytes] = frozenset()


class FieldSection:
    """What the header fields of a request say, apart from its request line.

    `passed_on` are the end-to-end lines for the upstream, each with its line end. `host` is lower case, without port;
    `authority` is Host as it came. `body` is the length in bytes, NO_BODY or CHUNKED. `forwarding` are the fields in
    which proxies speak of the client, to be believed or not. `api_key` and `authorization` are credentials.
    `has_extras`: there are lines that are passed on only sometimes, or changed. `values` are the values of `fields` by
    lower-case name, made when the first of them is asked for: `header` is the way to ask.
    """

    __slots__ = (
        "api_key",
        "api_key_line",
        "api_key_lines",
        "authority",
        "authorization",
        "body",
        "connection",
        "expects_continue",
        "fields",
        "forwarding",
        "has_extras",
        "host",
        "length_field",
        "max_forwards",
        "passed_on",
        "recognised",
        "recognised_by",
        "request_id",
        "traceparent",
        "transfer_encoding",
        "upgrade",
        "values",
    )

    def __init__(self) -> None:
        self.fields: list[bytes] = []
        self.values: dict[bytes, bytes] | None = None
        self.passed_on = b""
        self.has_extras = False
        self.max_forwards: int | None = None
        self.host = b""
        self.authority: bytes | None = None
        self.body = NO_BODY
        self.length_field: bytes | None = None
        self.transfer_encoding: bytes | None = None
        self.connection: frozenset[bytes] = _NO_OPTIONS
        self.upgrade: bytes | None = None
        self.expects_continue = False
        self.api_key: bytes | None = None
        self.api_key_line: bytes | None = None
        self.api_key_lines = 0
        self.authorization: list[Field] | None = None
        self.forwarding: list[Field] | None = None
        self.request_id: bytes | None = None
        self.traceparent: bytes | None = None
        # Who is behind the credential, and who says so: noted by authentication, since a connection keeps its section
        self.recognised: Any = None
        self.recognised_by: object = None

    def header(self, name: bytes) -> bytes | None:
        """The value of the end-to-end field with this lower-case name, or None.

        Several lines are one value, with commas (RFC 9110, 5.3). What the gateway reads itself, as framing, credentials
        and forwarding fields, is not found here; `WITHHELD_FIELDS` lists these names. Requests of one connection that
        send the same fields share the answer.
        """
        if self.values is None:
            self.values = values_by_name(self.fields)
        return self.values.get(name)


class RequestHead:
    """What a request says before its body. `path` is normalised; `query` has its question mark, or is empty.

    `host` and `authority` are the section's, unless the target is a whole URL, whose authority counts then (RFC 9112,
    3.2.2). A connection keeps the head of a request that comes again, so what was made of it is noted here: `sent_as`
    is what went to the upstream that `sent_to` tells, up to the fields that differ in each request; `standing` is what
    judgement has found out.
    """

    __slots__ = (
        "authority",
        "has_come_before",
        "host",
        "keep_alive",
        "method",
        "minor_version",
        "path",
        "query",
        "section",
        "sent_as",
        "sent_to",
        "standing",
    )

    def asks_for_websocket(self) -> bool:
        """Whether this is a WebSocket handshake (RFC 6455, 4.2.1), as far as a proxy needs to know."""
        section = self.section
        is_get = self.method == b"GET" and self.minor_version == 1
        return section.upgrade == WEBSOCKET and is_get and section.body == NO_BODY

    def header(self, name: bytes) -> bytes | None:
        """The value of an end-to-end field, as `FieldSection.header` has it."""
        return self.section.header(name)

    def __init__(self, method: bytes, section: FieldSection) -> None:
        self.method = method
        self.section = section
        self.path = b""
        self.query = b""
        self.minor_version = 1
        self.host = section.host
        self.authority = section.authority
        self.keep_alive = b"close" not in section.connection
        self.sent_to: tuple[object, object] | None = None
        self.sent_as = b""
        self.has_come_before = False
        self.standing: Any = None


def read_section(lines: list[bytes], table: FieldTable, private: dict[bytes, Field]) -> FieldSection:
    """What these header lines say (no line ends). `private` is the connection's own memory of lines.

    Raises `HeadError` with the status to answer.
    """
    section = FieldSection()
    fields = section.fields
    remembered = table.remembered
    for line in lines:
        field = remembered.get(line) or private.get(line) or table.examine(line, private)
        action = field.action
        if action is None:
            fields.append(field.line)
        else:
            action(section, field)
    if section.transfer_encoding is not None or section.length_field is not None:
        _read_framing(section)
    if b"upgrade" not in section.connection:
        section.upgrade = None  # RFC 9110, 7.8: it counts only when Connection names it
    if not section.connection <= _NOT_NOMINATED:
        _take_off_nominated(section)
    section.has_extras = any(
        extra is not None for extra in (section.authorization, section.max_forwards, section.upgrade)
    )
    section.passed_on = b"\r\n".join([*fields, b""])
    return section


def read_request(line: bytes, section: FieldSection) -> RequestHead:
    """The head that this request line and these fields make. Raises `HeadError` with the status to answer."""
    parts = line.split(b" ")
    if len(parts) != 3:
        raise HeadError("The request line is not a method, a target and a version with one space between them.")
    method, target, version = parts
    if method not in _USUAL_METHODS:
        _check_method(method)
    head = RequestHead(method, section)
    if version != b"HTTP/1.1":
        _read_version(head, version)
    elif section.authority is None:
        raise HeadError("An HTTP/1.1 request has a Host field.", code="bad_host")
    if section.max_forwards == 0 and method in METHODS_THAT_COUNT_HOPS:
        raise HeadError("Max-Forwards is 0, so this request ends here.", code="max_forwards")
    if is_plain(target):  # a path, and no query
        head.path = target
    else:
        _read_target(head, target)
    return head


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
    elif _VERSION.match(version):
        raise HeadError("Only HTTP/1.0 and HTTP/1.1 are spoken here.", code="http_version_not_supported", status=505)
    else:
        raise HeadError("The request line does not end in an HTTP version.")


def _read_target(head: RequestHead, target: bytes) -> None:
    """Origin-form with all that a target can have, absolute-form, or `*` (RFC 9112, 3.2)."""
    if _BAD in target.translate(_TARGET_MARKS):
        raise HeadError("The request target holds a space, a quote, a fragment, a control or a non-ASCII character.")
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


def parse_authority(authority: bytes) -> bytes:
    """The host of `host[:port]`, in lower case and without a dot at its end (RFC 9110, 7.2). Raises `HeadError`."""
    match = _AUTHORITY.match(authority)
    if match is None or int(match["port"] or 0) > 65_535:
        raise HeadError("The host is not a name or an address with an optional port.", code="bad_host")
    host: bytes = match["host"].lower()
    if host.startswith(b"["):
        _check_ipv6(host[1:-1])
    return host.rstrip(b".") or host


def _check_ipv6(text: bytes) -> None:
    try:
        IPv6Address(text.decode("ascii"))
    except AddressValueError:
        raise HeadError("The host's brackets hold no IPv6 address.", code="bad_host") from None


def _read_framing(section: FieldSection) -> None:
    """RFC 9112, 6.1 and 6.3, with every repair that they allow refused."""
    if section.transfer_encoding is None:
        section.body = content_length(section.length_field or b"")
        return
    if section.length_field is not None:
        raise HeadError("Content-Length and Transfer-Encoding exclude each other.", code="ambiguous_framing")
    if section.transfer_encoding.lower() != b"chunked":
        raise HeadError("The only transfer coding understood here is 'chunked'.", code="bad_transfer_encoding")
    section.body = CHUNKED


def _take_off_nominated(section: FieldSection) -> None:
    """Connection names fields that are for this hop only (RFC 9110, 7.6.1)."""
    nominated = section.connection - _NOT_NOMINATED
    section.fields[:] = [line for line in section.fields if line.partition(b":")[0].lower() not in nominated]


def _host(section: FieldSection, field: Field) -> None:
    if section.authority is not None:
        raise HeadError("There are two Host fields.", code="bad_host")
    if field.parsed is None:
        field.parsed = parse_authority(field.value)
    section.authority = field.value
    section.host = field.parsed


def _content_length(section: FieldSection, field: Field) -> None:
    if section.length_field is not None:
        raise HeadError("There are two Content-Length fields.", code="bad_content_length")
    section.length_field = field.value


def _transfer_encoding(section: FieldSection, field: Field) -> None:
    if section.transfer_encoding is not None:
        raise HeadError("There are two Transfer-Encoding fields.", code="bad_transfer_encoding")
    section.transfer_encoding = field.value


def _connection(section: FieldSection, field: Field) -> None:
    if field.parsed is None:
        field.parsed = frozenset(members(field.value))
    section.connection = section.connection | field.parsed if section.connection else field.parsed


def _upgrade(section: FieldSection, field: Field) -> None:
    section.upgrade = field.value.lower() if section.upgrade is None else section.upgrade + b"," + field.value.lower()


def _expect(section: FieldSection, field: Field) -> None:
    if field.value.lower() != b"100-continue":
        raise HeadError("The only expectation met here is '100-continue'.", code="expectation_failed", status=417)
    section.expects_continue = True


def _max_forwards(section: FieldSection, field: Field) -> None:
    if field.value.isdigit() and len(field.value) < 10:  # anything else is invalid, and not worth passing on
        section.max_forwards = int(field.value)


def _api_key(section: FieldSection, field: Field) -> None:
    section.api_key, section.api_key_line = field.value, field.line
    section.api_key_lines += 1


def _authorization(section: FieldSection, field: Field) -> None:
    if section.authorization is None:
        section.authorization = [field]
    else:
        section.authorization.append(field)


def _about_the_client(section: FieldSection, field: Field) -> None:
    if section.forwarding is None:
        section.forwarding = [field]
    else:
        section.forwarding.append(field)


def _request_id(section: FieldSection, field: Field) -> None:
    if section.request_id is None and _SANE_REQUEST_ID.match(field.value):
        section.request_id = field.value


def _traceparent(section: FieldSection, field: Field) -> None:
    if section.traceparent is None and _TRACEPARENT.match(field.value):
        section.traceparent = field.value


def _dropped(section: FieldSection, field: Field) -> None:
    """Hop-by-hop fields (RFC 9110, 7.6.1), and look-alikes that some servers take for the fields above."""


FORWARDING_FIELDS = (
    b"forwarded",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-forwarded-proto",
    b"x-real-ip",
)
_OTHER_FORWARDING_FIELDS = (
    b"x-forwarded",
    b"x-forwarded-by",
    b"x-forwarded-prefix",
    b"x-forwarded-server",
    b"x-client-ip",
)
_HOP_BY_HOP = (b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailer")
_FRAMING_FIELDS = (b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"expect", b"x-api-key")


def _look_alikes(name: bytes) -> list[bytes]:
    """The same name with underscores for some or all of its hyphens: to CGI, WSGI and their kin it is the same."""
    spellings = [name.split(b"-")[0]]
    for part in name.split(b"-")[1:]:
        spellings = [spelling + mark + part for spelling in spellings for mark in (b"-", b"_")]
    return [spelling for spelling in spellings if spelling != name]


def request_fields(api_key_field: bytes = b"x-api-key") -> FieldTable:
    """A fresh table for requests, where `api_key_field` (lower case) carries the API key."""
    actions = _actions(api_key_field)
    look_alikes = {name for name, action in actions.items() if b"_" in name and action is _dropped}
    memory = dict.fromkeys((api_key_field, b"authorization", b"cookie", b"proxy-authorization"), Memory.PRIVATE)
    memory.update(dict.fromkeys(look_alikes, Memory.NONE))  # one of them looks like a credential, too
    memory.update(dict.fromkeys((b"traceparent", b"x-request-id", b"if-none-match", b"date"), Memory.NONE))
    return FieldTable(actions, memory)


def _actions(api_key_field: bytes) -> dict[bytes, Action]:
    """The meaning of the names that have one."""
    actions: dict[bytes, Action] = {
        b"host": _host,
        b"content-length": _content_length,
        b"transfer-encoding": _transfer_encoding,
        b"connection": _connection,
        b"upgrade": _upgrade,
        b"expect": _expect,
        api_key_field: _api_key,
        b"authorization": _authorization,
        b"max-forwards": _max_forwards,
        b"x-request-id": _request_id,
        b"traceparent": _traceparent,
    }
    guarded = (*_FRAMING_FIELDS, *FORWARDING_FIELDS, *_OTHER_FORWARDING_FIELDS, api_key_field)
    look_alikes = {alike for name in guarded for alike in _look_alikes(name)}
    actions.update(dict.fromkeys(look_alikes, _dropped))
    actions.update(dict.fromkeys(_HOP_BY_HOP, _dropped))
    actions.update(dict.fromkeys(_OTHER_FORWARDING_FIELDS, _dropped))
    actions.update(dict.fromkeys(FORWARDING_FIELDS, _about_the_client))
    return actions


RESERVED_FIELDS = frozenset(name for name, action in _actions(b"").items() if name) | {b"cookie", b"via"}
"""Names that mean something of their own, so that none of them can carry the API key."""
WITHHELD_FIELDS = frozenset(_actions(b"x-api-key"))  # what `FieldSection.header` does not find
