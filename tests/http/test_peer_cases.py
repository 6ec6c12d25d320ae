"""251 facts from the test suites of Kong, APISIX, Traefik, Envoy, Tyk and others, played against ours.

A row holds, or it is listed with the reason why we decide otherwise. Lists rot: so a deviation must deviate.
"""

import pytest

from tests.kit.peers import policies, routing, traffic
from tests.kit.peers.rows import Player, Row, load
from tests.kit.peers.tables import DEVIATIONS

ROWS = load()
PLAYERS = routing.PLAYERS | policies.PLAYERS | traffic.PLAYERS
HOLDING = [row for row in ROWS if row.id not in DEVIATIONS]
DEVIATING = [row for row in ROWS if row.id in DEVIATIONS]


def player_of(row: Row) -> Player:
    """The one whose name for the row is the longest."""
    prefix = max((prefix for prefix in PLAYERS if row.id.startswith(prefix)), key=len, default="")
    assert prefix, f"nobody plays {row.id}"
    return PLAYERS[prefix]


@pytest.mark.parametrize("row", HOLDING, ids=str)
def test_a_peers_fact_holds_here(row: Row) -> None:
    verdict = player_of(row)(row)
    assert verdict.observed == verdict.expected, f"{row}"


@pytest.mark.parametrize("row", DEVIATING, ids=str)
def test_a_deviation_deviates(row: Row) -> None:
    verdict = player_of(row)(row)
    assert not verdict.agrees, f"{row} holds, so it is no deviation any more: {DEVIATIONS[row.id]}"


def test_no_row_is_left_out() -> None:
    ids = {row.id for row in ROWS}
    assert len(ids) == len(ROWS) == 251
    assert DEVIATIONS.keys() <= ids
    assert all(len(reason) > 20 for reason in DEVIATIONS.values())
