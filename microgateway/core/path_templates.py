"""What a request's path becomes on its way to the service: a template of literals and the route's own params.

A template can't make a path that is not in normal form, or that leaves the root: that is seen to when it is read, so a
request costs no second look. Values of params are whole segments of a normal path. Where text stands beside one in the
same segment, it must hold more than dots, and no semicolon and no percent sign, so that no piece of the outcome can
turn into `..` (`core.paths` tells why that matters).
"""

import re
from dataclasses import dataclass

from microgateway.core.paths import PathError, normalise
from microgateway.core.routing import PathPattern, PatternError

REST = "rest"
_PARAM = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_OTHER_BRACES = re.compile(r"[{}*]")


@dataclass(frozen=True, slots=True)
class PathTemplate:
    """`text` with a `%b` for each param, which is the request's segment of that number; then what a prefix left."""

    text: bytes
    segments: tuple[int, ...]
    rest_from: int | None

    @classmethod
    def parse(cls, text: str, pattern: PathPattern) -> "PathTemplate":
        """`/v2/{id}/{rest}` for requests of this pattern. Raises `PatternError`."""
        if not text.startswith("/"):
            raise PatternError("a path begins with a slash")
        if "?" in text or "#" in text:
            raise PatternError("a rewritten path carries no query: the request's own goes on")
        if REST in pattern.params:
            raise PatternError(f"the route's path has a param called {{{REST}}}, which here is what a prefix leaves")
        places = _places(pattern)
        parts = text[1:].split("/")
        takes_rest = parts[-1] == f"{{{REST}}}"
        if takes_rest:
            parts.pop()
            if pattern.match == "exact":
                raise PatternError(f"an exact path leaves nothing over, so there is no {{{REST}}}")
        compiled = [_segment(part, places) for part in parts]
        numbers = tuple(number for _, found in compiled for number in found)
        joined = b"".join(b"/" + part for part, _ in compiled)
        return cls(joined, numbers, len(pattern.segments) if takes_rest else None)

    def fill(self, path: bytes) -> bytes:
        """The path to ask the service for, in normal form as `path` is."""
        segments = path.split(b"/")[1:]
        filled = self.text % tuple([segments[number] for number in self.segments])
        if self.rest_from is not None and len(segments) > self.rest_from:
            return b"%b/%b" % (filled, b"/".join(segments[self.rest_from :]))
        return filled or b"/"


def stripped(path: bytes, segments: int) -> bytes:
    """The path without its first segments: always absolute, so `/a` without `/a` is `/`."""
    rest = path.split(b"/", segments + 1)
    return b"/" + rest[-1] if len(rest) > segments + 1 else b"/"


def _places(pattern: PathPattern) -> dict[str, int]:
    """The number of the segment that each param stands for."""
    numbers = [number for number, segment in enumerate(pattern.segments) if segment is None]
    return dict(zip(pattern.params, numbers, strict=True))


def _segment(part: str, places: dict[str, int]) -> tuple[bytes, list[int]]:
    names = _PARAM.findall(part)
    literals = _PARAM.split(part)[::2]
    for name in names:
        if name == REST:
            raise PatternError(f"{{{REST}}} is a whole segment, and the last one")
        if name not in places:
            raise PatternError(f"the route's path has no param called {{{name}}}")
    if any(_OTHER_BRACES.search(literal) for literal in literals):
        raise PatternError(f"{part!r} is not a segment: braces are for {{param}} names, and '*' has no meaning here")
    if names:
        _refuse_risky(part, literals)
    try:
        normal = [normalise(b"/" + literal.encode())[1:] for literal in literals]
    except PathError as error:
        raise PatternError(str(error)) from None
    if not names and literals[0] and not normal[0]:
        raise PatternError("a path has no dot segments")
    return b"%b".join(text.replace(b"%", b"%%") for text in normal), [places[name] for name in names]


def _refuse_risky(part: str, literals: list[str]) -> None:
    if "" in literals[1:-1]:
        raise PatternError(f"{part!r} has two params side by side: nobody could tell where one ends")
    for literal in literals:
        if literal and (";" in literal or "%" in literal or not literal.strip(".")):
            raise PatternError(f"{part!r}: beside a param, text holds more than dots, and no ';' and no '%'")
