"""A head that comes again is judged as one that never came before: what is kept of it changes nothing."""

import random
from typing import Any

import pytest

from microgateway.core.circuit import CircuitPolicy, Permit
from microgateway.core.field_sections import read_section, request_fields
from microgateway.core.fields import Field
from microgateway.core.requests import RequestHead, read_request
from microgateway.data_plane.pipeline import State, decide
from microgateway.exchange import Decision
from microgateway.snapshot import Snapshot
from microgateway.state.limits import MemoryLimiter
from microgateway.state.memory import MemoryCircuits
from tests.kit.configuration import IssuedKey, key, limit_rule, route, service

STEPS = 60
ADDRESS = "192.0.2.1"
EPOCH = 1_700_000_000.0


class Side:
    """A gateway's judgement with buckets of its own. `head` is the one that is asked again and again, or None."""

    def __init__(self, text: tuple[bytes, list[bytes]], *, remembers: bool) -> None:
        self.state = State(MemoryLimiter(), MemoryCircuits())
        self._text = text
        self._table = request_fields()
        self.head = self._read() if remembers else None

    def _read(self) -> RequestHead:
        line, fields = self._text
        private: dict[bytes, Field] = {}
        return read_request(line, read_section(list(fields), self._table, private))

    def judge(self, snapshot: Snapshot, now: float) -> tuple[Any, ...]:
        return facts(decide(self.head or self._read(), ADDRESS, snapshot, self.state, now, EPOCH + now))


def facts(decision: Decision) -> tuple[Any, ...]:
    """All that others can see of a judgement."""
    judgement, level = decision
    outcome, limited_by = judgement.outcome, judgement.limited_by
    return (
        "permit" if isinstance(outcome, Permit) else outcome,
        judgement.principal and judgement.principal.id,
        judgement.destination and judgement.destination.id,
        limited_by and (limited_by.limit, level),
        limited_by and limited_by.space + limited_by.id,
        [rule.id for rule in judgement.shadowed],
    )


def a_snapshot(dice: random.Random, issued: IssuedKey) -> Snapshot:
    """With any of what a judgement depends on: other limits, other rules, a key that ends, a route that is gone."""
    limits: list[dict[str, Any]] = [
        {"count_by": "all", "path": "/a"},
        {"count_by": "address", "before_auth": True},
        {"count_by": "key", "mode": "shadow"},
        {"count_by": "header", "header": "x-tenant", "methods": ["GET"]},
    ]
    chosen = dice.sample(limits, dice.randrange(4))
    rules = [
        limit_rule(
            f"rule{limits.index(fields)}", per_minute=dice.choice((7, 60, 600)), burst=dice.randint(1, 4), **fields
        )
        for fields in chosen
    ]
    changes: dict[str, Any] = {"requests_per_minute": dice.choice((60, 90, 600)), "burst_size": dice.randint(1, 5)}
    if dice.random() < 0.2:
        changes["enabled"] = False
    if dice.random() < 0.3:
        changes["services"] = dice.choice((["upstream"], ["another"]))
    routes = [route("/a", auth=dice.choice(("required", "required", "none")))] if dice.random() < 0.9 else []
    services = [service("http://127.0.0.1:9000", enabled=dice.random() < 0.9)]
    table = Snapshot().with_table(services, routes, CircuitPolicy(), rules)
    return table.with_keys([issued.entity.model_copy(update=changes)])


@pytest.mark.parametrize("seed", range(150))
def test_the_same_head_and_a_new_one_are_judged_alike(seed: int) -> None:
    dice = random.Random(seed)
    issued = key("ada")
    text = (b"GET /a/b HTTP/1.1", [b"Host: a.example", b"X-Tenant: t", b"X-API-Key: " + issued.secret.encode()])
    again, anew = Side(text, remembers=True), Side(text, remembers=False)
    snapshot, now = a_snapshot(dice, issued), 0.0
    for _ in range(STEPS):
        now += dice.choice((0.0, 0.0, 0.125, 1.0, 30.0))
        if dice.random() < 0.08:
            snapshot = a_snapshot(dice, issued)
        assert again.judge(snapshot, now) == anew.judge(snapshot, now)


def test_a_head_that_came_twice_has_its_standing() -> None:
    """Or the test above would compare the whole way with itself."""
    issued = key("ada")
    side = Side((b"GET /a HTTP/1.1", [b"Host: a", b"X-API-Key: " + issued.secret.encode()]), remembers=True)
    table = Snapshot().with_table([service("http://127.0.0.1:9000")], [route("/a", auth="required")], CircuitPolicy())
    snapshot = table.with_keys([issued.entity])
    assert side.head is not None
    side.judge(snapshot, 0.0)
    assert side.head.standing is None
    side.judge(snapshot, 0.0)
    assert side.head.standing is not None


def test_a_credential_that_ends_is_refused_though_its_head_comes_again() -> None:
    issued = key("ada", expires_at="2026-01-01T00:00:10Z")
    ends = issued.entity.expires_at
    assert ends is not None
    side = Side((b"GET /a HTTP/1.1", [b"Host: a", b"X-API-Key: " + issued.secret.encode()]), remembers=True)
    table = Snapshot().with_table([service("http://127.0.0.1:9000")], [route("/a", auth="required")], CircuitPolicy())
    snapshot = table.with_keys([issued.entity])
    before = ends.timestamp() - EPOCH - 1
    assert [side.judge(snapshot, before)[0] for _ in range(3)] == ["permit"] * 3
    assert side.judge(snapshot, before + 1)[0].code == "api_key_expired"
