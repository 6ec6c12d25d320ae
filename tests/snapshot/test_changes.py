"""After any series of changes, what is in force is what would be compiled of the whole configuration."""

import pickle
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from microgateway.control_plane.routing_table import RoutingTable
from microgateway.core.circuit import CircuitPolicy
from microgateway.core.routing import NotRouted, PathPattern
from microgateway.errors import MicroGatewayError
from microgateway.snapshot import (
    CompiledRoute,
    Rules,
    Snapshot,
    SnapshotChange,
    change_of_rate_limit,
    change_of_route,
    change_of_service,
)
from tests.kit.configuration import IssuedKey, key, limit_rule, route, service

DEFAULTS = CircuitPolicy()
SERVICES = ("red", "green")
SEGMENTS = ("a", "b", "")
METHODS = (b"GET", b"OPTIONS", b"PUT")
HOSTS = (b"a.example", b"x.b.example")
CORS = {"allow_origins": ["https://a.example"]}

numbers = st.integers(0, 5)
patterns = st.lists(st.sampled_from([*SEGMENTS, "{x}"]), min_size=0, max_size=3).filter(lambda it: it.count("{x}") < 2)
route_fields = st.fixed_dictionaries(
    {
        "path": patterns.map(lambda segments: "/" + "/".join(segments)),
        "match": st.sampled_from(["exact", "prefix"]),
        "service_id": st.sampled_from(SERVICES),
        "hosts": st.sampled_from([[], ["a.example"], ["*.b.example"]]),
        "methods": st.sampled_from([[], ["GET"], ["PUT", "GET"]]),
        "headers": st.sampled_from([[], [{"name": "x-a", "present": True}]]),
        "priority": st.integers(-1, 1),
        "cors": st.sampled_from([None, CORS]),
        "enabled": st.sampled_from([True, True, True, False]),
    }
)
service_fields = st.fixed_dictionaries(
    {"enabled": st.booleans(), "preserve_host": st.booleans(), "connect_timeout_seconds": st.integers(1, 3)}
)
rule_fields = st.fixed_dictionaries(
    {
        "path": st.sampled_from([None, "/a", "/b/{x}"]),
        "methods": st.sampled_from([[], ["PUT"]]),
        "count_by": st.sampled_from(["all", "address"]),
        "enabled": st.booleans(),
        "service_id": st.sampled_from([None, *SERVICES]),
    }
)
key_fields = st.fixed_dictionaries({"enabled": st.booleans(), "burst": st.integers(1, 3)})
steps = st.one_of(
    st.tuples(st.just("route"), numbers, st.one_of(route_fields, route_fields, route_fields, st.none())),
    st.tuples(st.just("service"), numbers, st.one_of(service_fields, service_fields, st.none())),
    st.tuples(st.just("rule"), numbers, st.one_of(rule_fields, st.none())),
    st.tuples(st.just("key"), numbers, key_fields),
)
SAME: dict[str, Any] = {"path": "/a", "service_id": SERVICES[0]}
ASKED = [
    (method, host, ("/" + "/".join(path)).encode())
    for method in METHODS
    for host in HOSTS
    for path in (
        ("",),
        ("a",),
        ("b",),
        ("a", "b"),
        ("b", "a"),
        ("a", ""),
        ("c",),
        ("a", "c", "b"),
        ("b", "b", "b", "b"),
    )
]


@dataclass
class Request:
    """As conditions ask it: a browser's question, with one field besides."""

    query: bytes = b""

    def header(self, name: bytes) -> bytes | None:
        return {b"x-a": b"1", b"origin": b"https://a.example", b"access-control-request-method": b"GET"}.get(name)


@dataclass
class House:
    """A configuration that is changed, as the control process sees it, and as a worker does."""

    table: RoutingTable = field(default_factory=RoutingTable)
    keys: dict[str, IssuedKey] = field(default_factory=dict)
    spent: list[str] = field(default_factory=list)
    control: Snapshot = field(default_factory=Snapshot)
    worker: Snapshot = field(default_factory=Snapshot)

    def take(self, kind: str, number: int, fields: dict[str, Any] | None) -> None:
        """One change, if it is a possible one."""
        try:
            change = getattr(self, f"_{kind}")(number, fields)
        except MicroGatewayError:
            return
        self.control = self.control.with_change(change)
        self.worker = self.worker.with_change(pickle.loads(pickle.dumps(change)))

    def _route(self, number: int, fields: dict[str, Any] | None) -> SnapshotChange:
        before = self.table.routes.get(f"route {number}")
        if fields is None:
            self.table = self.table.without_route(f"route {number}")
            return change_of_route(before, None, 0)
        after = route(id=f"route {number}", **fields)
        self.table = self.table.with_route(after)
        return change_of_route(before, after, self.table.ages[after.id])

    def _service(self, number: int, fields: dict[str, Any] | None) -> SnapshotChange:
        name = SERVICES[number % len(SERVICES)]
        if fields is None:
            self.table = self.table.without_service(name)
            return SnapshotChange(upstreams={name: None})
        changed = service("http://127.0.0.1:9", name, **fields)
        self.table = self.table.with_service(changed)
        return change_of_service(changed, DEFAULTS)

    def _rule(self, number: int, fields: dict[str, Any] | None) -> SnapshotChange:
        if fields is None:
            self.table = self.table.without_rate_limit(f"rule {number}")
            return SnapshotChange(limits={f"rule {number}": None})
        of_route = {"route_id": "route 0", "service_id": None} if number == 0 else {}
        changed = limit_rule(f"rule {number}", **{**fields, **of_route})
        self.table = self.table.with_rate_limit(changed)
        return change_of_rate_limit(changed)

    def _key(self, number: int, fields: dict[str, Any]) -> SnapshotChange:
        """Every time with another text, so that the one before is good no more."""
        if (before := self.keys.get(f"key {number}")) is not None:
            self.spent.append(before.secret)
        issued = self.keys[f"key {number}"] = key(f"key {number}", **fields)
        return self.control.change_of_key(issued.entity)

    def afresh(self) -> Snapshot:
        keys = [issued.entity for issued in self.keys.values()]
        return self.table.compiled(Snapshot().with_keys(keys), DEFAULTS)

    def told(self, snapshot: Snapshot) -> dict[str, Any]:
        """All that the data plane and the dashboard could ask of it."""
        return {
            "upstreams": list(snapshot.upstreams.items()),
            "limits": [(rule_id, placed.rule is None) for rule_id, placed in snapshot.limits.items()],
            "unrouted": _names(snapshot.unrouted_rules),
            "cors": snapshot.cors_routes,
            "keys": [self._found(snapshot, issued) for issued in self.keys.values()],
            "spent": {snapshot.keys.find(secret.encode()) for secret in self.spent},
            "matches": [_match(snapshot, *asked) for asked in ASKED],
            "candidates": [[rule.target.id for rule in snapshot.routes.rules_on(path)] for _, _, path in ASKED],
            "overlaps": [
                [rule.target.id for rule in snapshot.routes.overlapping(PathPattern.parse(path))]
                for path in ("/", "/a", "/{x}/b", "/b/*")
            ],
        }

    def _found(self, snapshot: Snapshot, issued: IssuedKey) -> tuple[object, ...]:
        principal = snapshot.keys.find(issued.secret.encode())
        assert principal is snapshot.keys.of_id(issued.entity.id)
        return () if principal is None else (principal.id, principal.enabled, principal.limit)


def _match(snapshot: Snapshot, method: bytes, host: bytes, path: bytes) -> object:
    found = snapshot.match(method, host, path, Request())
    if isinstance(found, NotRouted):
        return found
    own = {each.name: getattr(found, each.name) for each in fields(CompiledRoute)}
    own["cors"] = None if found.cors is None else found.cors.fields(b"https://a.example")
    own["gate"] = (found.is_preflight, found.gate is None)
    own["answer_alteration"] = found.answer_alteration is None
    return own | {"upstream": asdict(found.upstream), "rules": _names(found.rules)}


def _names(rules: Rules | None) -> object:
    return None if rules is None else [[(rule.id, rule.count_by) for rule in some] for some in rules]


@settings(max_examples=120, deadline=None)
@given(st.lists(steps, min_size=1, max_size=25))
@example([("route", 1, SAME), ("route", 0, SAME), ("route", 1, {**SAME, "priority": 1}), ("route", 1, SAME)])
@example([("route", 0, SAME), ("route", 1, SAME), ("route", 0, {**SAME, "enabled": False}), ("route", 0, SAME)])
@example([("route", 0, SAME), ("route", 0, None), ("route", 1, SAME), ("route", 0, SAME)])
@example([("key", 1, {}), ("key", 1, {}), ("key", 1, {})])
def test_any_series_of_changes_ends_in_what_would_be_compiled_of_it_all(
    series: list[tuple[str, int, dict[str, Any] | None]],
) -> None:
    house = House()
    for name in SERVICES:
        house.take("service", SERVICES.index(name), {})
    middle, told_then, keys_then = house.control, house.told(house.control), (dict(house.keys), list(house.spent))
    for number, step in enumerate(series):
        house.take(*step)
        if number == len(series) // 2:
            middle, told_then, keys_then = (
                house.control,
                house.told(house.control),
                (dict(house.keys), list(house.spent)),
            )
    expected = house.told(house.afresh())
    assert house.told(house.control) == expected
    assert house.told(house.worker) == expected
    house.keys, house.spent = keys_then
    assert house.told(middle) == told_then, "who still holds an earlier one sees nothing of what came later"
