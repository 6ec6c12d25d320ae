"""`?window=`: how far back the metrics are asked for."""

import re
from typing import Annotated

from fastapi import Query
from pydantic import BeforeValidator

from microgateway.core.rolling import LONGEST_WINDOW

SHORTEST_WINDOW = 5  # seconds
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_WINDOW = re.compile(r"^(\d{1,6})([smhd]?)$", re.ASCII)


def seconds_of(window: object) -> int:
    """`90`, `90s`, `5m`, `1h` and `1d` as seconds. Raises `ValueError`."""
    match = _WINDOW.match(str(window))
    if match is None:
        raise ValueError("a window is seconds, or a number with s, m, h or d, such as 30s, 5m or 24h")
    return int(match[1]) * _UNITS[match[2]]


Window = Annotated[
    int,
    BeforeValidator(seconds_of, json_schema_input_type=str),
    Query(
        ge=SHORTEST_WINDOW,
        le=LONGEST_WINDOW,
        description="How far back, from five seconds to a day: seconds, or `30s`, `5m`, `1h`, `24h`.",
    ),
]
