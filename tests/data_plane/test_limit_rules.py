"""Rate limit rules, asked by real requests: who is counted where, what is refused first, and what is left untouched."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fuzzing.scripted import ScriptedUpstream, echo
from fuzzing.wires import Wire, Workbench
from microgateway.core.circuit import CircuitPolicy
from microgateway.data_plane.options import Options
from microgateway.entities import RateLimitRule, Route
from microgateway.exchange import Exchange
from microgateway.snapshot import Snapshot
from tests.kit.configuration import IssuedKey, key, limit_rule, route, service

HALF_A_SECOND = 0.5


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    fields: dict[str, str]
    problem: dict[str, Any]

    @classmethod
    def of(cls, written: bytes) -> "Answer":
        head, _, body = written.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines[1:])
        is_problem = fields.get("content-type") == "application/problem+json"
        return cls(int(lines[0].split(" ")[1]), fields, json.loads(body) if is_problem else {})


class Town:
    """A gateway with one public and one private route, and clients who each have a connection of their own."""

    def __init__(self, *rules: RateLimitRule, keys: Iterable[IssuedKey] = (), routes: Iterable[Route] = ()) -> None:
        self.keys = [issued.entity for issued in keys]
        self.routes = list(routes) or [route("/open"), route("/closed", auth="required")]
        upstream = ScriptedUpstream(echo)
        self.bench = Workbench(self.snapshot(*rules), options=Options(), on_upstream_write=upstream.heard)
        self._wires: dict[str, Wire] = {}

    def snapshot(self, *rules: RateLimitRule) -> Snapshot:
        services = [service("http://127.0.0.1:9000"), service("http://127.0.0.1:9001", "other")]
        return Snapshot().with_keys(self.keys).with_table(services, self.routes, CircuitPolicy(), rules)

    def configure(self, *rules: RateLimitRule) -> None:
        self.bench.plane.snapshot = self.snapshot(*rules)

    def ask(self, path: str = "/open", *lines: str, method: str = "GET", ip: str = "203.0.113.7") -> Answer:
        wire = self._wires.get(ip) or self._wires.setdefault(ip, self.bench.connect(ip))
        begin = len(wire.written)
        head = [f"{method} {path} HTTP/1.1", "Host: a.example", *lines, "", ""]
        wire.send("\r\n".join(head).encode())
        self.bench.run()
        return Answer.of(bytes(wire.written[begin:]))

    def statuses(self, count: int, *args: Any, **options: Any) -> list[int]:
        return [self.ask(*args, **options).status for _ in range(count)]

    @property
    def last(self) -> Exchange:
        return self.bench.exchanges[-1]


def with_key(issued: IssuedKey) -> str:
    return f"X-API-Key: {issued.secret}"


class TestWhoIsCounted:
    def test_all_together(self) -> None:
        town = Town(limit_rule(burst=2))
        assert [town.ask(ip=ip).status for ip in ("192.0.2.1", "192.0.2.2", "192.0.2.3")] == [200, 200, 429]

    def test_each_address_for_itself(self) -> None:
        town = Town(limit_rule(count_by="address"))
        assert [town.ask(ip=ip).status for ip in ("192.0.2.1", "192.0.2.2", "192.0.2.1")] == [200, 200, 429]

    def test_an_ipv6_network_of_64_bits_is_one_client(self) -> None:
        town = Town(limit_rule(count_by="address"))
        assert town.ask(ip="2001:db8:0:1::1").status == 200
        assert town.ask(ip="2001:db8:0:1:ffff::2").status == 429
        assert town.ask(ip="2001:db8:0:2::1").status == 200

    def test_an_ipv4_address_written_within_ipv6_is_itself(self) -> None:
        town = Town(limit_rule(count_by="address"))
        assert town.ask(ip="192.0.2.1").status == 200
        assert town.ask(ip="::ffff:192.0.2.1").status == 429
        assert town.ask(ip="::ffff:192.0.2.2").status == 200

    def test_each_value_of_a_header_for_itself(self) -> None:
        town = Town(limit_rule(count_by="header", header="X-Tenant"))
        assert town.ask("/open", "X-Tenant: red").status == 200
        assert town.ask("/open", "x-tenant:  red").status == 429
        assert town.ask("/open", "X-Tenant: blue").status == 200
        assert town.statuses(3) == [200] * 3  # without the header the rule is for somebody else
        assert town.ask("/open", "X-Tenant: red", "X-Tenant: blue").status == 200
        assert town.ask("/open", "X-Tenant: red, blue").status == 429

    def test_long_values_are_told_apart_by_all_that_they_say(self) -> None:
        town = Town(limit_rule(count_by="header", header="x-tenant"))
        long = "a" * 5_000
        assert town.ask("/open", f"X-Tenant: {long}").status == 200
        assert town.ask("/open", f"X-Tenant: {long}b").status == 200
        assert town.ask("/open", f"X-Tenant: {long}").status == 429

    def test_each_key_for_itself_and_nobody_where_no_key_is_asked_for(self) -> None:
        ada, bob = key("ada"), key("bob")
        town = Town(limit_rule(count_by="key"), keys=[ada, bob])
        assert town.ask("/closed", with_key(ada)).status == 200
        assert town.ask("/closed", with_key(ada)).status == 429
        assert town.ask("/closed", with_key(bob)).status == 200
        assert town.statuses(3, "/open") == [200] * 3
