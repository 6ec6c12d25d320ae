"""251 facts from the test suites of Kong, APISIX, Traefik, Envoy, Tyk and others, played against ours.

A row holds, or it is listed with the reason why we decide otherwise, or with the feature that it waits for. Lists
rot: so a deviation must deviate, and a feature must not be there.
"""

import pytest

from tests.kit.peers import policies, routing, traffic
from tests.kit.peers.rows import Player, Row, load
from tests.kit.peers.tables import ARRIVED, DEVIATIONS, NOT_YET

ROWS = load()
PLAYERS = routing.PLAYERS | policies.PLAYERS | traffic.PLAYERS
HOLDING = [row for row in ROWS if row.id not in DEVIATIONS and row.id not in NOT_YET]
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


@pytest.mark.parametrize("feature", sorted(set(NOT_YET.values())))
def test_a_feature_that_rows_wait_for_is_not_there(feature: str) -> None:
    assert not ARRIVED[feature](), f"{feature} is there: play its rows"


def test_no_row_is_left_out() -> None:
    ids = {row.id for row in ROWS}
    assert len(ids) == len(ROWS) == 251
    assert DEVIATIONS.keys() | NOT_YET.keys() <= ids
    assert not DEVIATIONS.keys() & NOT_YET.keys()
    assert set(NOT_YET.values()) == ARRIVED.keys()
    assert all(len(reason) > 20 for reason in DEVIATIONS.values())
