"""Facts from the test suites of other gateways, one a row, and who plays a row against ours.

A player maps a row's configuration to ours as well as that can be done, and answers with what the row expects beside
what was observed, both in the row's own words. What can't be said in our configuration is observed as `REFUSED`.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROWS = Path(__file__).parents[2] / "data" / "peer_cases.json"
REFUSED = "our configuration has no words for this"

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """`config`, `request` and `expected` are in the peer's words."""

    id: str
    area: str
    config: Values
    request: Values
    expected: Values

    def __str__(self) -> str:
        return self.id


@dataclass(frozen=True, slots=True)
class Verdict:
    expected: object
    observed: object

    @property
    def agrees(self) -> bool:
        return self.expected == self.observed


Player = Callable[[Row], Verdict]
Players = dict[str, Player]


def load() -> list[Row]:
    rows = json.loads(ROWS.read_text(encoding="utf-8"))
    return [Row(row["id"], row["area"], row["config"], row["request"], row["expected"]) for row in rows]


def compare(row: Row, observed: Values, *ignored: str) -> Verdict:
    """The keys that the row expects, but for those ignored, beside what was observed of each."""
    expected = {name: value for name, value in row.expected.items() if name not in ignored}
    return Verdict(expected, {name: observed.get(name) for name in expected})
