"""What a route asks of a request besides method, host and path: conditions on header fields and on the query.

A pattern is a glob: `*` takes any run of characters, everything else itself. A glob is matched in a time that grows
with the value only, whatever it says, and a program can tell of two globs what both take; a regular expression has
neither (docs/decisions/0022-route-conditions.md).
"""

from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote_to_bytes


class Asked(Protocol):
    """A request, as far as conditions ask it. `query` has its question mark, or is empty."""

    @property
    def query(self) -> bytes: ...

    def header(self, name: bytes) -> bytes | None:
        """The value of the field with this lower-case name, several lines as one."""


@dataclass(frozen=True, slots=True)
class Glob:
    """`pieces` are the literal parts around the stars: `a*b` has two, and no star has one."""

    pieces: tuple[bytes, ...]

    @classmethod
    def parse(cls, text: str) -> "Glob":
        """Of an operator's text; any text is one."""
        return cls(tuple(piece.encode() for piece in text.split("*")))

    def takes(self, value: bytes) -> bool:
        """Whether the whole value is of this form. Each inner piece is taken where it comes first: no way back."""
        first, *inner = self.pieces
        if not inner:
            return value == first
        last = inner.pop()
        if len(value) < len(first) + len(last) or not value.startswith(first) or not value.endswith(last):
            return False
        place, end = len(first), len(value) - len(last)
        for piece in inner:
            found = value.find(piece, place, end)
            if found < 0:
                return False
            place = found + len(piece)
        return True

    def filled(self, filling: bytes) -> bytes:
        """A value of this form, with `filling` for every star."""
        return filling.join(self.pieces)


@dataclass(frozen=True, slots=True)
class Condition:
    """On one header field, or on one parameter of the query.

    It is to have one of `values`, or a value that `pattern` takes, or to be there at all; or, without `present`, not
    to be there.
    """

    name: bytes
    values: frozenset[bytes] = frozenset()
    pattern: Glob | None = None
    present: bool = True

    def takes(self, value: bytes | None) -> bool:
        """Whether it holds for this value, None where there is none."""
        if value is None or not self.present:
            return (value is not None) is self.present
        if self.pattern is not None:
            return self.pattern.takes(value)
        return not self.values or value in self.values


@dataclass(frozen=True, slots=True)
class Conditions:
    """All of one route. Every one has to hold; there is at most one for each name."""

    headers: tuple[Condition, ...] = ()
    query: tuple[Condition, ...] = ()

    def __len__(self) -> int:
        return len(self.headers) + len(self.query)

    def hold(self, asked: Asked) -> bool:
        """Whether all of them do, for this request."""
        for condition in self.headers:
            if not condition.takes(asked.header(condition.name)):
                return False
        return not self.query or self._query_holds(asked.query)

    def _query_holds(self, query: bytes) -> bool:
        given = parameters(query)
        for condition in self.query:
            values = given.get(condition.name)
            if not (condition.takes(None) if values is None else any(map(condition.takes, values))):
                return False
        return True


NO_CONDITIONS = Conditions()


@dataclass(frozen=True, slots=True)
class Nothing:
    """Who asks for a route without telling of a request's fields and query: it has none."""

    query: bytes = b""

    def header(self, name: bytes) -> bytes | None:
        return None


NOTHING = Nothing()


def parameters(query: bytes) -> dict[bytes, list[bytes]]:
    """The query's parameters, decoded, each with all its values in order. `?a` and `?a=` are both a empty."""
    found: dict[bytes, list[bytes]] = {}
    for part in query[1:].split(b"&"):
        if part:
            name, _, value = part.partition(b"=")
            found.setdefault(_decoded(name), []).append(_decoded(value))
    return found


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))
