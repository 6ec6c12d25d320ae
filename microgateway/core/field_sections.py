"""What the header fields of a request say, apart from its request line: the rules between lines.

`FieldTable` judges each line alone. A connection that sends the same fields again, as most clients do, need not have
them read again.
"""

import re
from ipaddress import AddressValueError, IPv6Address
from typing import Any

from microgateway.core.fields import (
    MOST_MEMBERS,
    WHITESPACE,
    Action,
    Field,
    FieldTable,
    HeadError,
    Memory,
    content_length,
    few_members,
    is_token,
    values_by_name,
)

NO_BODY = 0
CHUNKED = -1
LONGEST_AUTHORITY = 1_024  # bytes; a name has at most 255 octets (RFC 3986, 3.2.2), and each may be written as three
MOST_HOPS = 1_000_000_000  # that Max-Forwards may ask for; more is taken for as many (RFC 9110, 7.6.2)
REQUEST_ID = b"x-request-id"
TRACEPARENT = b"traceparent"

_AUTHORITY = re.compile(
    rb"(?P<host>\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)(?::(?P<port>[0-9]{0,5}))?\Z"
)
_SANE_REQUEST_ID = re.compile(rb"[A-Za-z0-9._~+/=:@-]{1,128}\Z")
_TRACEPARENT = re.compile(
    rb"(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[!-~]*)?\Z"
)  # W3C; only versions after 00 may hold more
# What Connection may say that names no field to take off: its own options, and fields that are not the client's to
# take off. Framing, Host, credentials and forwarding fields are not among the lines that are passed on as they are, so
# naming them changes nothing.
_NOT_NOMINATED = frozenset((b"close", b"keep-alive", b"upgrade", b"cookie", b"via"))
_NO_OPTIONS: frozenset[bytes] = frozenset()


class FieldSection:
    """What the fields say, read once.

    `passed_on` are the end-to-end lines for the upstream, each with its line end. `host` is lower case, without port;
    `authority` is Host as it came. `body` is the length in bytes, NO_BODY or CHUNKED. `forwarding` are the fields in
    which proxies speak of the client, to be believed or not. `api_key` and `authorization` are credentials. `ids` are
    the fields of `request_id` and `traceparent`: requests of a client that differ in nothing else share the section.
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
        "ids",
        "length_field",
        "max_forwards",
        "passed_on",
        "recognised",
        "recognised_by",
        "request_id",
        "standing",
        "traceparent",
        "transfer_encoding",
        "upgrade",
        "values",
        "was_judged",
        "way",
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
        self.ids: tuple[Field, ...] = ()
        # Noted for the next request, since a connection keeps its section: who is behind the credential, and who says
        # so; what judgement has found out, and where it went
        self.recognised: Any = None
        self.recognised_by: object = None
        self.was_judged = False
        self.standing: Any = None
        self.way: Any = None

    def header(self, name: bytes) -> bytes | None:
        """The value of the end-to-end field with this lower-case name, or None.

        Several lines are one value, with commas (RFC 9110, 5.3). What the gateway reads itself, as framing, credentials
        and forwarding fields, is not found here; `WITHHELD_FIELDS` lists these names. Requests of one connection that
        send the same fields share the answer.
        """
        if self.values is None:
            self.values = values_by_name(self.fields)
        return self.values.get(name)


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


def parse_authority(authority: bytes) -> bytes:
    """The host of `host[:port]`, in lower case and without a dot at its end (RFC 9110, 7.2). Raises `HeadError`."""
    match = _AUTHORITY.match(authority) if len(authority) <= LONGEST_AUTHORITY else None
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
        raise _not_chunked(section.transfer_encoding)
    section.body = CHUNKED


def _not_chunked(value: bytes) -> HeadError:
    """A coding that is none of ours is 501 (RFC 9112, 6.1), where it is clear all the same where the body would end."""
    *others, last = (coding.partition(b";")[0].strip(WHITESPACE) for coding in few_members(value) or [b""])
    if others and last == b"chunked" and b"chunked" not in others and all(is_token(coding) for coding in others):
        detail = "Transfer codings beside 'chunked' are not implemented."
        return HeadError(detail, code="transfer_coding_unknown", status=501)
    return HeadError("The only transfer coding understood here is 'chunked'.", code="bad_transfer_encoding")


def _take_off_nominated(section: FieldSection) -> None:
    """Connection names fields that are for this hop only (RFC 9110, 7.6.1)."""
    nominated = section.connection - _NOT_NOMINATED
    section.fields[:] = [line for line in section.fields if line.partition(b":")[0].lower() not in nominated]
    if b"max-forwards" in nominated and section.max_forwards != 0:  # with 0 it has reached its end
        section.max_forwards = None


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
        field.parsed = frozenset(few_members(field.value))
    section.connection = section.connection | field.parsed if section.connection else field.parsed
    if len(section.connection) > MOST_MEMBERS:
        raise HeadError(f"Connection has more than {MOST_MEMBERS} options.")


def _upgrade(section: FieldSection, field: Field) -> None:
    section.upgrade = field.value.lower() if section.upgrade is None else section.upgrade + b"," + field.value.lower()


def _expect(section: FieldSection, field: Field) -> None:
    expectations = few_members(field.value)
    if any(expectation != b"100-continue" for expectation in expectations):
        raise HeadError("The only expectation met here is '100-continue'.", code="expectation_failed", status=417)
    section.expects_continue = section.expects_continue or bool(expectations)


def _max_forwards(section: FieldSection, field: Field) -> None:
    if not field.value.isdigit():
        return  # invalid, and not worth passing on
    digits = field.value.lstrip(b"0")
    hops = int(digits or b"0") if len(digits) < 10 else MOST_HOPS
    section.max_forwards = hops if section.max_forwards is None else min(hops, section.max_forwards)


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
    if section.request_id is None and is_sane_id(field.name, field.value):
        section.request_id = field.value
        section.ids = (*section.ids, field)


def _traceparent(section: FieldSection, field: Field) -> None:
    if section.traceparent is None and is_sane_id(field.name, field.value):
        section.traceparent = field.value
        section.ids = (*section.ids, field)


def is_sane_id(name: bytes, value: bytes) -> bool:
    """Whether this may be a request's id, or its traceparent, as `name` (lower case) says."""
    return (_TRACEPARENT if name == TRACEPARENT else _SANE_REQUEST_ID).match(value) is not None


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
_MISTAKEN = (b"proxy",)  # it means nothing, but CGI makes HTTP_PROXY of it, which clients obey (CVE-2016-5385)
_HOP_BY_HOP = (
    b"http2-settings",
    b"keep-alive",
    b"proxy-connection",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"te",
    b"trailer",
)
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
    memory.update(dict.fromkeys((TRACEPARENT, REQUEST_ID, b"if-none-match", b"date"), Memory.NONE))
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
        REQUEST_ID: _request_id,
        TRACEPARENT: _traceparent,
    }
    guarded = (*_FRAMING_FIELDS, *FORWARDING_FIELDS, *_OTHER_FORWARDING_FIELDS, api_key_field)
    look_alikes = {alike for name in guarded for alike in _look_alikes(name)}
    actions.update(dict.fromkeys(look_alikes, _dropped))
    actions.update(dict.fromkeys((*_HOP_BY_HOP, *_MISTAKEN), _dropped))
    actions.update(dict.fromkeys(_OTHER_FORWARDING_FIELDS, _dropped))
    actions.update(dict.fromkeys(FORWARDING_FIELDS, _about_the_client))
    return actions


RESERVED_FIELDS = frozenset(name for name, action in _actions(b"").items() if name) | {b"cookie", b"via"}
"""Names that mean something of their own, so that none of them can carry the API key."""
WITHHELD_FIELDS = frozenset(_actions(b"x-api-key"))  # what `FieldSection.header` does not find
