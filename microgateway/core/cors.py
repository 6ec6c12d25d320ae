"""Cross-origin requests of browsers (the Fetch standard's CORS protocol): what a page of another origin may do.

A browser asks before it sends anything unusual: OPTIONS, with `Origin` and `Access-Control-Request-Method` and never
with a credential. Then the answers themselves say who may read them. A route's settings decide alone: whatever the
service says of these matters is taken out, since two opinions make a browser refuse both.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from microgateway.core.conditions import Condition
from microgateway.core.fields import members
from microgateway.errors import MicroGatewayError

ORIGIN = b"origin"
REQUEST_METHOD = b"access-control-request-method"
_PREFIX = b"access-control-"
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\*\.)?([a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
_LABELS = re.compile(rb"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_USUAL_PORTS = {"http": 80, "https": 443}


class OriginError(MicroGatewayError):
    """This is no origin that a page can have."""


def check_origin(text: str) -> str:
    """An origin as browsers write it: lower case, without a usual port. `*`, and `*.` before a name, are wildcards."""
    lowered = text.lower()
    match = _ORIGIN.fullmatch(lowered)
    if lowered == "*":
        return lowered
    if match is None or int(match[4] or 0) > 65_535:
        raise OriginError(f"{text!r} is not an origin: '*', or a scheme and a host such as 'https://app.example'")
    scheme, wildcard, host, port = match.groups()
    end = "" if port is None or int(port) == _USUAL_PORTS.get(scheme) else f":{int(port)}"
    return f"{scheme}://{wildcard or ''}{host}{end}"


@dataclass(frozen=True, slots=True)
class Cors:
    """A route's answer to browsers, with what can be said beforehand compiled.

    `exact` are origins; `wildcards` what stands before and behind the star of one. `preflight` and `always` are
    complete lines, for the answer to a preflight and for every other one.
    """

    any_origin: bool
    exact: frozenset[bytes]
    wildcards: tuple[tuple[bytes, bytes], ...]
    credentials: bool
    preflight: bytes
    always: bytes

    @classmethod
    def of(
        cls,
        *,
        origins: Sequence[str],
        methods: Sequence[str],
        headers: Sequence[str],
        exposed: Sequence[str],
        credentials: bool,
        max_age: int,
    ) -> "Cors":
        """Of settings that have been checked. `max_age` is seconds."""
        credential_line = "Access-Control-Allow-Credentials: true\r\n" if credentials else ""
        expose_line = f"Access-Control-Expose-Headers: {', '.join(exposed)}\r\n" if exposed else ""
        headers_line = f"Access-Control-Allow-Headers: {', '.join(headers)}\r\n" if headers else ""
        methods_line = f"Access-Control-Allow-Methods: {', '.join(methods)}\r\n"
        age_line = f"Access-Control-Max-Age: {max_age}\r\n"
        starred = [origin.encode().partition(b"*") for origin in origins if "*" in origin and origin != "*"]
        return cls(
            any_origin="*" in origins,
            exact=frozenset(origin.encode() for origin in origins if "*" not in origin),
            wildcards=tuple((before, after) for before, _, after in starred),
            credentials=credentials,
            preflight=f"{credential_line}{methods_line}{headers_line}{age_line}".encode(),
            always=f"{credential_line}{expose_line}".encode(),
        )

    def fields(self, origin: bytes | None, *, of_preflight: bool = False) -> bytes:
        """The lines for the answer to a request of this origin, each with its line end.

        An origin that is not allowed gets none that allow anything. Where they depend on the origin, caches are told.
        """
        lines = self.preflight if of_preflight else self.always
        if self.any_origin:
            return b"Access-Control-Allow-Origin: *\r\n" + lines
        if origin is None or not self._allows(origin):
            return b"Vary: Origin\r\n"
        return b"Access-Control-Allow-Origin: %b\r\n%bVary: Origin\r\n" % (origin, lines)

    def _allows(self, origin: bytes) -> bool:
        return origin in self.exact or any(_is_between(origin, *ends) for ends in self.wildcards)


def is_cors_field(line: bytes) -> bool:
    """Whether this header line is part of the protocol, and so not the service's to say."""
    return line[: len(_PREFIX)].lower() == _PREFIX


def preflight_conditions(methods: Sequence[str]) -> tuple[Condition, Condition]:
    """What makes an OPTIONS request a preflight for one of these methods; none: for any."""
    asked = frozenset(method.encode() for method in methods)
    return Condition(ORIGIN), Condition(REQUEST_METHOD, values=asked)


def without_vary_origin(fields: bytes, lines: Sequence[bytes]) -> bytes:
    """`fields` without its Vary line where one of these lines says the same already."""
    if any(line[:5].lower() == b"vary:" and b"origin" in members(line[5:]) for line in lines):
        return fields.replace(b"Vary: Origin\r\n", b"")
    return fields


def _is_between(origin: bytes, before: bytes, after: bytes) -> bool:
    if not origin.startswith(before) or not origin.endswith(after):
        return False
    return _LABELS.fullmatch(origin[len(before) : len(origin) - len(after)]) is not None
