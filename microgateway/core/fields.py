"""Header fields: what a line says, whether it may be said, and what each name means to a proxy.

A client that stays, and a server behind us, repeat the same lines in every message. So a line is examined once and
remembered, whole, with its verdict: the ten lines of the next request cost ten dictionary look-ups (HPACK's dynamic
table rests on the same fact). What is remembered is bounded. A line that carries a credential is remembered by its own
connection only, and goes with it; one that differs every time is not remembered at all.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

from microgateway.errors import MicroGatewayError

TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"  # RFC 9110, 5.6.2
_TOKEN_MARKS = bytes(1 if octet in TOKEN else 0 for octet in range(256))
# RFC 9110, 5.5: visible characters, space, tab and obs-text; all other control characters are invalid and dangerous
_VALUE_MARKS = bytes(0 if (octet < 0x20 and octet != 0x09) or octet == 0x7F else 1 for octet in range(256))
_BAD = 0  # an integer: looking for an octet is several times as quick as looking for bytes
WHITESPACE = b" \t"

MOST_MEMBERS = 100  # of a list that is taken apart for each request, empty ones too (RFC 9110, 5.6.1.2)
MOST_REMEMBERED = 4_096
MOST_PRIVATE = 8
LONGEST_REMEMBERED = 256
LARGEST_BODY = 2**63 - 1  # bytes; beyond, a signed 64-bit counter, such as the next reader may have, overflows

T = TypeVar("T")
Action = Callable[[Any, "Field"], None]


class Memory(Enum):
    """Who may remember a line: every connection, its own one, or nobody."""

    SHARED = 1
    PRIVATE = 2
    NONE = 3


class HeadError(MicroGatewayError):
    """A message head that can't be understood, with the status and the code that say so."""

    def __init__(self, detail: str, *, code: str = "bad_request", status: int = 400) -> None:
        super().__init__(detail)
        self.code = code
        self.status = status


class Field:
    """One examined line. `line` is its normal form, `Name: value` without the line end; `name` is lower case.

    `action` is what the field's name means to the message that holds it; None where it is only passed on. `parsed` is
    for the action: what it made of the value, kept for the next message with this line.
    """

    __slots__ = ("action", "line", "name", "parsed", "value")

    def __init__(self, name: bytes, value: bytes, line: bytes, action: Action | None) -> None:
        self.name = name
        self.value = value
        self.line = line
        self.action = action
        self.parsed: Any = None


@dataclass(frozen=True, slots=True)
class _Name:
    """A field name as it came, examined once."""

    lowered: bytes
    action: Action | None
    memory: Memory


class FieldTable:
    """Lines and their verdicts. `actions` gives the meaning of the names that have one, `memory` who remembers; names
    in lower case.

    A reader asks `remembered`, then its connection's private lines, and then calls `examine`.
    """

    __slots__ = ("_actions", "_memory", "_names", "remembered")

    def __init__(self, actions: Mapping[bytes, Action], memory: Mapping[bytes, Memory]) -> None:
        self.remembered: dict[bytes, Field] = {}
        self._names: dict[bytes, _Name] = {}
        self._actions = actions
        self._memory = memory

    def examine(self, line: bytes, private: dict[bytes, Field]) -> Field:
        """The verdict on a line that is not remembered. Raises `HeadError` for one that must not pass."""
        text, colon, rest = line.partition(b":")
        name = (self._names.get(text) if colon else None) or self._examine_name(text, line)
        if _BAD in rest.translate(_VALUE_MARKS):
            raise HeadError("A header field's value holds a control character.")
        value = rest.strip(WHITESPACE)
        normal = line
        if len(rest) != len(value) + 1 or rest[:1] != b" ":
            normal = b"%b: %b" % (text, value)
        field = Field(name.lowered, value, normal, name.action)
        if len(line) <= LONGEST_REMEMBERED and name.memory is not Memory.NONE:
            shared = name.memory is Memory.SHARED
            _remember(self.remembered if shared else private, line, field, MOST_REMEMBERED if shared else MOST_PRIVATE)
        return field

    def _examine_name(self, text: bytes, line: bytes) -> _Name:
        if not is_token(text) or b":" not in line:
            raise HeadError(_complaint(line, text))
        lowered = text.lower()
        name = _Name(lowered, self._actions.get(lowered), self._memory.get(lowered, Memory.SHARED))
        if len(text) <= LONGEST_REMEMBERED:
            _remember(self._names, text, name, MOST_REMEMBERED)
        return name


def _remember(table: dict[bytes, T], key: bytes, value: T, most: int) -> None:
    """A full table begins anew: simpler than choosing what to forget, and what matters is back after one message."""
    if len(table) >= most:
        table.clear()
    table[key] = value


def is_token(text: bytes) -> bool:
    """Whether this is a token: a method, a field name, and the like (RFC 9110, 5.6.2)."""
    return text != b"" and _BAD not in text.translate(_TOKEN_MARKS)


def members(value: bytes) -> list[bytes]:
    """The members of a comma-separated list, in lower case; empty ones are left out (RFC 9110, 5.6.1)."""
    return [member for part in value.split(b",") if (member := part.strip(WHITESPACE).lower())]


def few_members(value: bytes) -> list[bytes]:
    """The same of a list from a stranger, who could have us count for milliseconds. Raises `HeadError`."""
    if value.count(b",") >= MOST_MEMBERS:
        raise HeadError(f"A header field lists more than {MOST_MEMBERS} members.")
    return members(value)


def values_by_name(lines: Iterable[bytes]) -> dict[bytes, bytes]:
    """What these lines say, by lower-case name. Several lines of one name are one value (RFC 9110, 5.3)."""
    values: dict[bytes, bytes] = {}
    for line in lines:
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip(WHITESPACE)
        values[name] = b"%b, %b" % (values[name], value) if name in values else value
    return values


def content_length(value: bytes, longest: int = 19) -> int:
    """A Content-Length's value (RFC 9112, 6.3), up to `LARGEST_BODY`.

    Lists, signs, spaces and other digits are refused.
    """
    if not value.isdigit() or len(value) > longest or (length := int(value)) > LARGEST_BODY:
        raise HeadError("Content-Length is not one plain number.", code="bad_content_length")
    return length


def _complaint(line: bytes, name: bytes) -> str:
    if line[:1] in (b" ", b"\t"):
        return "A header field is folded over two lines."
    if name != name.rstrip(WHITESPACE):
        return "There is white space before the colon of a header field."
    return "A header field's name is not a token followed by a colon."
