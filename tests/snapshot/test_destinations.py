"""What a route is together with its service and its rules is made once, when a request first needs it."""

import pytest

from microgateway.core.circuit import CircuitPolicy
from microgateway.core.routing import NotRouted
from microgateway.snapshot import (
    Destination,
    Snapshot,
    change_of_rate_limit,
    change_of_route,
    change_of_service,
    destinations,
)
from tests.kit.configuration import limit_rule, route, service

NOWHERE = service("http://127.0.0.1:9")


def town(*paths: str) -> Snapshot:
    return Snapshot().with_table([NOWHERE], [route(path) for path in paths], CircuitPolicy())


def at(snapshot: Snapshot, path: str) -> Destination:
    found = snapshot.match(b"GET", b"a.example", path.encode())
    assert not isinstance(found, NotRouted)
    return found


def test_it_stays_the_same_while_service_and_rules_do() -> None:
    before = town("/a", "/b")
    first = at(before, "/a")
    after = before.with_change(change_of_route(route("/b"), None, 0))
    assert at(before, "/a") is at(after, "/a") is first


def test_a_change_of_the_service_or_a_rule_makes_another_one_and_leaves_the_old_one_as_it_was() -> None:
    before = town("/a")
    first = at(before, "/a")
    off = before.with_change(change_of_service(NOWHERE.model_copy(update={"enabled": False}), CircuitPolicy()))
    limited = off.with_change(change_of_rate_limit(limit_rule()))
    assert [at(snapshot, "/a").upstream.enabled for snapshot in (before, off, limited)] == [True, False, False]
    assert [at(snapshot, "/a").rules is None for snapshot in (before, off, limited)] == [True, True, False]
    assert at(before, "/a") is first


def test_that_of_a_route_which_is_gone_is_forgotten() -> None:
    snapshot = town("/")
    for number in range(20):
        snapshot = snapshot.with_change(change_of_route(route("/a") if number else None, route("/a"), 1))
        at(snapshot, "/a")
    assert len(snapshot.destinations) == 1


def test_there_are_never_more_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(destinations, "MOST_DESTINATIONS", 3)
    paths = [f"/{number}" for number in range(10)]
    snapshot = town(*paths)
    assert [at(snapshot, path).path for path in paths + paths] == paths + paths
    assert len(snapshot.destinations) <= 3
