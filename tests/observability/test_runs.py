"""Neighbours are one run where they are alike in all that is counted of them."""

from typing import Any

import pytest

from microgateway.exchange import Exchange
from microgateway.observability.runs import runs_of
from tests.observability.exchanges import destination, exchange

USERS = destination()
FIRST = exchange(to=USERS)


def like(**changes: Any) -> Exchange:
    return exchange(**{"to": USERS, "judgement": FIRST.judgement, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"judgement": exchange(to=USERS).judgement},
        {"method": b"POST"},
        {"status": 201},
        {"code": "upstream_timeout"},
        {"stage": "proxy"},
        {"attempts": 2},
    ],
    ids="".join,
)
def test_a_run_ends_where_one_is_unlike_the_one_before(changes: dict[str, Any]) -> None:
    batch = [FIRST, like(), like(**changes), like(**changes), like(), like(milliseconds=900.0, bytes_out=7)]
    assert runs_of(batch) == [batch[:2], batch[2:4], batch[4:]]


def test_of_nothing_there_is_no_run() -> None:
    assert runs_of([]) == []
    assert runs_of([FIRST]) == [[FIRST]]
