"""Changes to the header fields of a route's requests and answers: taken off, set, added; all others stay as they are.

What the gateway has to say by itself can't be edited: framing, because two lengths are how requests are smuggled;
hop-by-hop fields, because they end here; forwarding fields, credentials and limits, because somebody believes them.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from microgateway.core.answers import WITHHELD_ANSWER_FIELDS
from microgateway.core.field_sections import WITHHELD_FIELDS
from microgateway.core.fields import is_token
from microgateway.errors import MicroGatewayError

LONGEST_NAME = 128
_VALUE = re.compile(r"[\t\x20-\x7e]*")
_OWN = {b"via": "the gateway says itself which way a message went"}
_REASONS = {
    **_OWN,
    b"host": "the service's preserve_host says which Host it gets",
    b"x-api-key": "forward_credentials says whether the service gets it",
    b"authorization": "forward_credentials says whether the service gets it",
}


class EditError(MicroGatewayError):
    """This change can't be made."""


@dataclass(frozen=True, slots=True)
class HeaderEdits:
    """`replaced` are lower-case names whose lines are left out; `added` are complete lines, each with its line end."""

    replaced: frozenset[bytes] = frozenset()
    added: bytes = b""

    @classmethod
    def of(cls, *, set: Mapping[str, str], add: Mapping[str, str], remove: Iterable[str]) -> "HeaderEdits":
        """Of names and values that `check_name` and `check_value` let pass."""
        replaced = frozenset(name.lower().encode() for name in (*set, *remove))
        lines = [f"{name}: {value}\r\n".encode() for name, value in (*set.items(), *add.items())]
        return cls(replaced, b"".join(lines))

    def apply(self, lines: Iterable[bytes]) -> bytes:
        """These lines (no line ends) with the changes made, each with its line end."""
        replaced = self.replaced
        kept = [line + b"\r\n" for line in lines if line.partition(b":")[0].lower() not in replaced]
        return b"".join([*kept, self.added])


NO_EDITS = HeaderEdits()


def check_name(name: str, *, of_answer: bool) -> None:
    """Raises `EditError` for what is no field's name, or is one that can't be edited."""
    lowered = name.lower().encode()
    if not is_token(lowered) or len(lowered) > LONGEST_NAME:
        raise EditError(f"{name!r} is not the name of a header field")
    withheld = WITHHELD_ANSWER_FIELDS if of_answer else WITHHELD_FIELDS
    if lowered in withheld or lowered in _OWN:
        fallback = "framing, forwarding, limits and what ends here are the gateway's own to say"
        reason = fallback if of_answer and lowered not in _OWN else _REASONS.get(lowered, fallback)
        raise EditError(f"{name!r} can't be edited: {reason}")


def check_value(value: str) -> None:
    """Raises `EditError` for what a header field can't hold."""
    if not _VALUE.fullmatch(value):
        raise EditError("a header field's value holds visible ASCII characters, spaces and tabs only")
