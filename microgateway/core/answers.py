"""An upstream's response head: read strictly, since what it says is passed on in our name.

The same rules as for requests, for the same reason: a client that reads another framing than we do takes one answer's
end for the next one's beginning.
"""

import re

from microgateway.core.fields import (
    LONGEST_REMEMBERED,
    Action,
    Field,
    FieldTable,
    HeadError,
    Memory,
    content_length,
    members,
)

NO_BODY = 0
CHUNKED = -1
UNTIL_CLOSE = -2

_STATUS_LINE = re.compile(
    rb"HTTP/1\.(?P<minor>[01]) (?P<code>[1-9][0-9]{2})(?: (?P<reason>[\t\x20-\x7e\x80-\xff]*))?\Z"
)
_NOT_NOMINATED = frozenset((b"close", b"keep-alive", b"upgrade", b"via", b"date"))
_WITHOUT_BODY = frozenset((204, 304))  # RFC 9112, 6.3: these, every 1xx, and every answer to HEAD
_VIA = (b"Via: 1.0 microgateway\r\n", b"Via: 1.1 microgateway\r\n")  # RFC 9110, 7.6.3: the version it came in
MOST_STATUS_LINES = 256


class StatusLine:
    """`line` is what the client gets: our version, the upstream's code and reason."""

    __slots__ = ("code", "keep_alive", "line", "minor_version")

    def __init__(self, code: int, line: bytes, minor_version: int) -> None:
        self.code = code
        self.line = line
        self.minor_version = minor_version
        self.keep_alive = minor_version == 1


class AnswerHead:
    """What an answer says before its body. `body` is its length in bytes, NO_BODY, CHUNKED or UNTIL_CLOSE.

    `length_field` is what Content-Length says, which an answer to HEAD passes on though no body follows. `passed_on` is
    the status line and the end-to-end fields for the client, each with its line end. Once read it is not changed, so it
    may be remembered. `framing` is the line that tells the client where the body ends, None where that depends on what
    the client speaks. `is_dated`: it says when it was made.
    """

    __slots__ = (
        "body",
        "connection",
        "fields",
        "framing",
        "is_dated",
        "keep_alive",
        "length_field",
        "passed_on",
        "status",
        "transfer_encoding",
        "upgrade",
    )

    def __init__(self, status: StatusLine) -> None:
        self.passed_on = b""
        self.framing: bytes | None = None
        self.is_dated = False
        self.status = status.code
        self.keep_alive = status.keep_alive
        self.fields: list[bytes] = []
        self.body = UNTIL_CLOSE
        self.length_field: bytes | None = None
        self.transfer_encoding: bytes | None = None
        self.connection: frozenset[bytes] | None = None
        self.upgrade: bytes | None = None


class AnswerReader:
    """Reads the heads of one gateway's upstreams. Remembers lines, a bounded number of them."""

    __slots__ = ("_status_lines", "_table")

    def __init__(self) -> None:
        self._table = _answer_fields()
        self._status_lines: dict[bytes, StatusLine] = {}

    def read(self, lines: list[bytes], private: dict[bytes, Field], *, to_head: bool) -> AnswerHead:
        """The head in these lines: status line first, no line ends. Raises `HeadError`.

        `to_head`: it answers a HEAD request, so no body follows, whatever it says.
        """
        table = self._table
        status = self._status_lines.get(lines[0]) or self._examine_status(lines[0])
        head = AnswerHead(status)
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
        if head.connection is not None:
            _obey_connection(head, head.connection)
        _read_framing(head, status.minor_version)
        head.passed_on = b"\r\n".join([status.line, *fields, _VIA[status.minor_version]])
        if to_head or head.status in _WITHOUT_BODY or head.status < 200:
            if head.status == 204 and head.body not in (NO_BODY, UNTIL_CLOSE):
                head.keep_alive = False  # it may think that it sends a body
            head.body = NO_BODY
        elif head.body == UNTIL_CLOSE:
            head.keep_alive = False
        if head.body >= 0:
            length = head.length_field
            head.framing = b"" if length is None or head.status == 204 else b"Content-Length: %b\r\n" % length
        return head

    def _examine_status(self, line: bytes) -> StatusLine:
        match = _STATUS_LINE.match(line)
        if match is None:
            raise HeadError("The upstream's status line is not one.")
        status = StatusLine(
            int(match["code"]), b"HTTP/1.1 %b %b" % (match["code"], match["reason"] or b""), int(match["minor"])
        )
        if len(line) <= LONGEST_REMEMBERED:
            if len(self._status_lines) >= MOST_STATUS_LINES:
                self._status_lines.clear()
            self._status_lines[line] = status
        return status


def _read_framing(head: AnswerHead, minor_version: int) -> None:
    """RFC 9112, 6.3. Neither field: the body goes on until the connection closes."""
    if head.length_field is not None:
        length = content_length(head.length_field)
        if head.transfer_encoding is not None:
            raise HeadError("The upstream sent both Content-Length and Transfer-Encoding.")
        head.body = length
    elif head.transfer_encoding is not None:
        if head.transfer_encoding.lower() != b"chunked" or minor_version == 0:
            raise HeadError("The upstream sent a transfer coding that is not 'chunked'.")
        head.body = CHUNKED


def _obey_connection(head: AnswerHead, options: frozenset[bytes]) -> None:
    if b"close" in options:
        head.keep_alive = False
    elif b"keep-alive" in options:
        head.keep_alive = True
    if not options <= _NOT_NOMINATED:
        nominated = options - _NOT_NOMINATED
        head.fields[:] = [line for line in head.fields if line.partition(b":")[0].lower() not in nominated]


def _content_length(head: AnswerHead, field: Field) -> None:
    if head.length_field is not None:
        raise HeadError("The upstream sent two Content-Length fields.")
    head.length_field = field.value


def _transfer_encoding(head: AnswerHead, field: Field) -> None:
    if head.transfer_encoding is not None:
        raise HeadError("The upstream sent two Transfer-Encoding fields.")
    head.transfer_encoding = field.value


def _connection(head: AnswerHead, field: Field) -> None:
    if field.parsed is None:
        field.parsed = frozenset(members(field.value))
    head.connection = field.parsed if head.connection is None else head.connection | field.parsed


def _upgrade(head: AnswerHead, field: Field) -> None:
    head.upgrade = field.value.lower()


def _date(head: AnswerHead, field: Field) -> None:
    head.is_dated = True
    head.fields.append(field.line)


def _dropped(head: AnswerHead, field: Field) -> None:
    """Hop-by-hop fields (RFC 9110, 7.6.1), and those that only the gateway says: request id and limits."""


_DROPPED = (
    b"keep-alive",
    b"proxy-connection",
    b"proxy-authenticate",
    b"te",
    b"trailer",
    b"transfer_encoding",
    b"content_length",
    b"x-request-id",
    b"ratelimit",
    b"ratelimit-policy",
    b"x-ratelimit-limit",
    b"x-ratelimit-remaining",
    b"x-ratelimit-reset",
)


def _answer_fields() -> FieldTable:
    return FieldTable(_actions(), dict.fromkeys((b"set-cookie", b"etag", b"x-request-id", b"traceparent"), Memory.NONE))


def _actions() -> dict[bytes, Action]:
    """The meaning of the names that have one."""
    actions: dict[bytes, Action] = {
        b"content-length": _content_length,
        b"transfer-encoding": _transfer_encoding,
        b"connection": _connection,
        b"upgrade": _upgrade,
        b"date": _date,
    }
    actions.update(dict.fromkeys(_DROPPED, _dropped))
    return actions


# Fields that are the gateway's own to say, or end here
WITHHELD_ANSWER_FIELDS = frozenset(name for name, action in _actions().items() if action is not _date)
