"""A request is judged as if none had come before: what is kept of others with the same fields changes nothing."""

import random
from collections.abc import Iterator
from typing import Any, Literal

import pytest

from microgateway.core.circuit import CircuitPolicy, Permit
from microgateway.core.field_sections import FieldSection, read_section, request_fields
from microgateway.core.fields import Field
from microgateway.core.requests import RequestHead, read_request
from microgateway.core.token_bucket import TOKEN
from microgateway.data_plane.head_reader import HeadReader
from microgateway.data_plane.options import Options
from microgateway.data_plane.pipeline import State, decide
from microgateway.entities import RateLimitRule
from microgateway.exchange import Decision
from microgateway.snapshot import Snapshot
from microgateway.state.limits import MemoryLimiter
from microgateway.state.memory import MemoryCircuits
from tests.kit.configuration import IssuedKey, key, limit_rule, route, service

STEPS = 60
ADDRESS = "192.0.2.1"
EPOCH = 1_700_000_000.0


class Side:
    """A gateway's judgement with buckets of its own, on requests that all have the same fields.

    `keeps` says what it has of the requests before: their heads, their header section, or nothing.
    """

    def __init__(self, fields: list[bytes], *, keeps: Literal["heads", "section", "nothing"]) -> None:
        self.state = State(MemoryLimiter(), MemoryCircuits())
        self.heads: dict[bytes, RequestHead] = {}
        self._fields = fields
        self._keeps = keeps
        self._table = request_fields()
        self.section = self._read()

    def _read(self) -> FieldSection:
        private: dict[bytes, Field] = {}
        return read_section(list(self._fields), self._table, private)

    def judge(self, line: bytes, snapshot: Snapshot, now: float) -> tuple[Any, ...]:
        head = self.heads.get(line)
        if head is None:
            section = self._read() if self._keeps == "nothing" else self.section
            head = read_request(line, section)
        if self._keeps == "heads":
            self.heads[line] = head
        return facts(decide(head, ADDRESS, snapshot, self.state, now, EPOCH + now))


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
    auth = dice.choice(("required", "required", "none"))
    others = [
        route("/a", id="by address", priority=3, allow_addresses=["192.0.2.0/30"], auth=auth),
        route("/a", id="by host", hosts=["b.example"], auth=auth),
        route("/a", id="by query", query=[{"name": "q", "value": "1"}], auth=auth),
        route("/a/{name}", id="by param", auth="none"),
        route("/a", id="by method", methods=["POST"], priority=5, auth=auth),
    ]
    routes = [route("/a", id="plain", auth=auth)] if dice.random() < 0.9 else []
    routes += dice.sample(others, dice.randrange(len(others)))
    services = [service("http://127.0.0.1:9000", enabled=dice.random() < 0.9)]
    table = Snapshot().with_table(services, routes, CircuitPolicy(), rules)
    return table.with_keys([issued.entity.model_copy(update=changes)])


def course(dice: random.Random, issued: IssuedKey) -> Iterator[tuple[Snapshot, float]]:
    """What is in force at each of `STEPS` moments, some of them at the same time."""
    snapshot, now = a_snapshot(dice, issued), 0.0
    for _ in range(STEPS):
        now += dice.choice((0.0, 0.0, 0.125, 1.0, 30.0))
        if dice.random() < 0.08:
            snapshot = a_snapshot(dice, issued)
        yield snapshot, now


LINES = [
    b"GET /a/b HTTP/1.1",
    b"GET /a/c?q=1 HTTP/1.1",
    b"GET /a?q=1 HTTP/1.1",
    b"GET /a?q=2 HTTP/1.1",
    b"POST /a/b HTTP/1.1",
    b"GET http://b.example/a/b HTTP/1.1",
    b"GET /elsewhere HTTP/1.1",
]


@pytest.mark.parametrize("seed", range(150))
def test_what_is_kept_of_requests_changes_no_judgement(seed: int) -> None:
    dice = random.Random(seed)
    issued = key("ada")
    fields = [b"Host: a.example", b"X-Tenant: t", b"X-API-Key: " + issued.secret.encode()]
    anew, *others = Side(fields, keeps="nothing"), Side(fields, keeps="section"), Side(fields, keeps="heads")
    lines = dice.sample(LINES, dice.randint(1, 4))
    for snapshot, now in course(dice, issued):
        line = dice.choice(lines)
        expected = anew.judge(line, snapshot, now)
        assert [side.judge(line, snapshot, now) for side in others] == [expected, expected]


class Connection:
    """A gateway's judgement on one connection's requests; `forgets`: as if each came on its own connection."""

    def __init__(self, *, forgets: bool) -> None:
        self.state = State(MemoryLimiter(), MemoryCircuits())
        self.sections: list[FieldSection] = []
        self._reader = HeadReader(Options(), request_fields())
        self._forgets = forgets

    def judge(self, line: bytes, fields: list[bytes], snapshot: Snapshot, now: float) -> tuple[Any, ...]:
        message = b"\r\n".join([line, *fields, b"", b""])
        if self._forgets:
            self._reader.forget()
        head = self._reader.read(message, len(message) - 4)
        self.sections.append(head.section)
        forwarding = head.section.forwarding
        client_ip = ADDRESS if forwarding is None else forwarding[0].value.decode()
        return facts(decide(head, client_ip, snapshot, self.state, now, EPOCH + now))


@pytest.mark.parametrize("seed", range(150))
def test_nor_does_what_is_kept_of_requests_with_other_fields(seed: int) -> None:
    dice = random.Random(seed)
    issued, other = key("ada"), b"X-API-Key: " + key("bob").secret.encode()
    own = b"X-API-Key: " + issued.secret.encode()
    usual = [b"Host: a.example", b"X-Tenant: t", own, b"X-Nothing: 1"]
    seldom = [
        [b"Host: b.example"],
        [b"X-Tenant: u", b"Origin: https://a.example"],
        [other, b"X-Nothing: 2"],
        [b"X-Nothing: 3", own, b"X-Forwarded-For: 192.0.2.2", b"X-Forwarded-For: 192.0.2.9"],
    ]
    forgetful, other_side = Connection(forgets=True), Connection(forgets=False)
    lines = dice.sample(LINES, dice.randint(1, 3))
    for snapshot, now in course(dice, issued):
        line, fields = dice.choice(lines), [*usual]
        if dice.random() < 0.5:
            place = dice.randrange(len(usual))
            fields[place] = dice.choice(seldom[place])
        expected = forgetful.judge(line, fields, snapshot, now)
        assert other_side.judge(line, fields, snapshot, now) == expected


def test_a_standing_passes_to_other_fields_of_the_same_client() -> None:
    issued = key("ada")
    connection, snapshot = Connection(forgets=False), one_route(issued)
    for number in (1, 2, 3):
        fields = [b"Host: a", b"X-API-Key: " + issued.secret.encode(), b"If-None-Match: %d" % number]
        connection.judge(b"GET /a HTTP/1.1", fields, snapshot, 0.0)
    first, second, third = connection.sections
    assert first.standing is None
    assert second.standing is third.standing is not None


def a_side(issued: IssuedKey, keeps: Literal["heads", "section"]) -> Side:
    return Side([b"Host: a", b"X-API-Key: " + issued.secret.encode()], keeps=keeps)


def one_route(issued: IssuedKey, *rules: RateLimitRule) -> Snapshot:
    services, routes = [service("http://127.0.0.1:9000")], [route("/a", auth="required")]
    return Snapshot().with_table(services, routes, CircuitPolicy(), rules).with_keys([issued.entity])


def test_a_head_that_came_three_times_has_its_standing() -> None:
    """Or the test above would compare the whole way with itself."""
    issued = key("ada")
    side, snapshot = a_side(issued, "heads"), one_route(issued)
    standings = []
    for _ in range(3):
        side.judge(b"GET /a HTTP/1.1", snapshot, 0.0)
        standings.append(side.heads[b"GET /a HTTP/1.1"].standing)
    assert standings[0] is None
    assert standings[1] is standings[2] is not None


def test_so_has_another_with_the_same_fields() -> None:
    issued = key("ada")
    side, snapshot = a_side(issued, "heads"), one_route(issued)
    for line in (b"GET /a/1 HTTP/1.1", b"GET /a/2 HTTP/1.1", b"GET /a/3 HTTP/1.1", b"HEAD /a/3 HTTP/1.1"):
        side.judge(line, snapshot, 0.0)
    standings = [head.standing for head in side.heads.values()]
    assert standings[0] is None
    assert standings[1] is standings[2] is not None
    assert standings[3] is not standings[2]


@pytest.mark.parametrize("by_path", [True, False])
def test_rules_that_ask_for_the_path_hold_for_one_path(by_path: bool) -> None:
    issued = key("ada")
    rule = limit_rule("of one path", per_minute=600, burst=9, **({"path": "/a/2"} if by_path else {}))
    side, snapshot = a_side(issued, "heads"), one_route(issued, rule)
    told = [side.judge(b"GET %b HTTP/1.1" % path, snapshot, 0.0)[3] for path in (b"/a/1", b"/a/1", b"/a/1?x", b"/a/2")]
    standings = [head.standing for head in side.heads.values()]
    assert standings[0] is standings[1] is not None
    assert (standings[2] is standings[1]) is not by_path
    limits = [limit.capacity for limit, _ in told]
    assert limits[-1] == 9 * TOKEN
    assert (limits[0] == 9 * TOKEN) is not by_path


def test_a_credential_that_ends_is_refused_though_its_head_comes_again() -> None:
    issued = key("ada", expires_at="2026-01-01T00:00:10Z")
    ends = issued.entity.expires_at
    assert ends is not None
    side, snapshot = a_side(issued, "heads"), one_route(issued)
    before = ends.timestamp() - EPOCH - 1
    assert [side.judge(b"GET /a HTTP/1.1", snapshot, before)[0] for _ in range(3)] == ["permit"] * 3
    assert side.judge(b"GET /a HTTP/1.1", snapshot, before + 1)[0].code == "api_key_expired"
    assert side.judge(b"GET /a/b HTTP/1.1", snapshot, before + 1)[0].code == "api_key_expired"


def test_a_key_that_is_switched_off_is_refused_though_its_fields_come_again() -> None:
    """Where it goes is the same as before."""
    issued = key("ada")
    side, snapshot = a_side(issued, "section"), one_route(issued)
    assert [side.judge(b"GET /a HTTP/1.1", snapshot, 0.0)[0] for _ in range(3)] == ["permit"] * 3
    changed = snapshot.with_keys([issued.entity.model_copy(update={"enabled": False})])
    assert side.judge(b"GET /a/b HTTP/1.1", changed, 0.0)[0].code == "api_key_disabled"
