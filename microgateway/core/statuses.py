"""Sets of status codes as an operator writes them: `429`, `"5xx"`, `"500-504"`."""

import re
from collections.abc import Iterable

from microgateway.errors import MicroGatewayError

_RANGE = re.compile(r"(?P<first>[1-9][0-9]{2})(?:-(?P<last>[1-9][0-9]{2}))?\Z")
_CLASS = re.compile(r"(?P<digit>[1-5])xx\Z")


class StatusesError(MicroGatewayError):
    """This names no status codes."""


def parse_statuses(entries: Iterable[int | str]) -> frozenset[int]:
    """All codes that these entries name. Raises `StatusesError`."""
    return frozenset(status for entry in entries for status in _range_of(str(entry)))


def _range_of(entry: str) -> range:
    of_class = _CLASS.match(entry)
    if of_class is not None:
        first = int(of_class["digit"]) * 100
        return range(first, first + 100)
    match = _RANGE.match(entry)
    if match is None:
        raise StatusesError(f"{entry!r} is not a status such as 503, '5xx' or '500-504'")
    first, last = int(match["first"]), int(match["last"] or match["first"])
    if first > last or last > 599:
        raise StatusesError(f"{entry!r} is not a range of status codes between 100 and 599")
    return range(first, last + 1)
