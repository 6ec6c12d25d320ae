"""Rate limit rules, asked by real requests: who is counted where, what is refused first, and what is left untouched."""

import asyncio
import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from fuzzing.scripted import ScriptedUpstream, echo
from fuzzing.wires import Wire, Workbench
from microgateway.core.circuit import CircuitPolicy
from microgateway.data_plane.options import Options
from microgateway.entities import RateLimitRule, Route
from microgateway.exchange import Exchange
from microgateway.observability.recorder import Recorder
from microgateway.observability.usage import Usage
from microgateway.snapshot import Snapshot
from microgateway.testing import FakeClock, serve
from tests.kit.configuration import IssuedKey, key, limit_rule, route, service, settings


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


def shadows(exchange: Exchange) -> list[str]:
    """The rules that would have refused this request."""
    assert exchange.judgement is not None
    return [rule.id for rule in exchange.judgement.shadowed]


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


class TestWhichRequests:
    def test_a_path_and_its_methods(self) -> None:
        town = Town(limit_rule(path="/open/reports", methods=["post"]))
        assert town.statuses(2, "/open/reports/1") == [200, 200]
        assert town.statuses(2, "/open/reportsx", method="POST") == [200, 200]
        assert town.statuses(2, "/open/reports/1", method="POST") == [200, 429]

    def test_the_path_is_the_one_that_routes_see(self) -> None:
        """However it is written: a limit that `%6f` gets around is none."""
        town = Town(limit_rule(path="/open"))
        assert town.ask("/%6fpen").status == 200
        assert town.ask("/a/../open").status == 429
        assert town.ask("/open?page=2").status == 429

    def test_a_param_takes_one_segment(self) -> None:
        town = Town(limit_rule(path="/open/{user}/orders"))
        assert town.statuses(2, "/open//orders") == [200, 200]
        assert town.ask("/open/ada/orders").status == 200
        assert town.ask("/open/bob/orders").status == 429

    def test_a_route_or_a_service(self) -> None:
        routes = [route("/a", id="a"), route("/b", id="b"), route("/c", id="c", service_id="other")]
        town = Town(limit_rule("one", route_id="a"), limit_rule("two", service_id="other"), routes=routes)
        assert [town.statuses(2, path) for path in ("/a", "/b", "/c")] == [[200, 429], [200, 200], [200, 429]]

    def test_one_that_is_off_is_not_there(self) -> None:
        town = Town(limit_rule(enabled=False))
        assert town.statuses(3) == [200] * 3
        assert "ratelimit" not in town.ask().fields

    def test_where_no_route_is(self) -> None:
        """Strangers get 401 there, and clients 404, until their limit: then neither learns more."""
        ada = key("ada")
        town = Town(limit_rule(burst=2, path="/nowhere"), limit_rule("of a route", route_id="route /open"), keys=[ada])
        assert town.statuses(3, "/nowhere", with_key(ada)) == [404, 404, 429]
        assert town.ask("/nowhere").status == 401


class TestSeveralLimits:
    def test_one_that_refuses_leaves_the_others_untouched(self) -> None:
        ada = key("ada", per_minute=60, burst=10)
        town = Town(limit_rule("narrow", burst=1), limit_rule("wide", burst=5, count_by="address"), keys=[ada])
        assert town.statuses(7, "/closed", with_key(ada)) == [200] + [429] * 6
        town.configure(limit_rule("wide", burst=5, count_by="address"))
        assert town.statuses(5, "/closed", with_key(ada)) == [200] * 4 + [429]
        town.configure()
        answer = town.ask("/closed", with_key(ada))
        assert answer.fields["ratelimit"] == '"default";r=4;t=6'  # 10, less five that passed and this one

    def test_the_key_s_own_limit_refuses_for_all(self) -> None:
        ada = key("ada", per_minute=60, burst=1)
        town = Town(limit_rule("wide", burst=3), keys=[ada])
        assert town.statuses(4, "/closed", with_key(ada)) == [200, 429, 429, 429]
        assert town.last.judgement is not None
        assert town.last.judgement.limited_by is town.last.principal
        assert town.bench.plane.state.limiter.room("wide").admitted == 1
        assert town.statuses(3) == [200, 200, 429]

    def test_an_admitted_request_is_told_of_the_limit_that_is_nearest(self) -> None:
        ada = key("ada", per_minute=600, burst=3)
        town = Town(limit_rule("hourly", per_minute=1, burst=5), keys=[ada])
        assert town.ask("/closed", with_key(ada)).fields["ratelimit"] == '"default";r=2;t=1'
        town.bench.clock.advance(1.0)
        town.statuses(2, "/closed", with_key(ada))
        town.bench.clock.advance(1.0)
        answer = town.ask("/closed", with_key(ada))
        assert answer.fields["ratelimit-policy"] == '"hourly";q=1;w=60'
        assert answer.fields["ratelimit"] == '"hourly";r=1;t=238'
        assert answer.fields["x-ratelimit-limit"] == "1"
        assert answer.fields["x-ratelimit-remaining"] == "1"
        assert answer.fields["x-ratelimit-reset"] == "238"

    def test_with_the_same_number_left_the_slower_one_is_nearest(self) -> None:
        town = Town(limit_rule("quick", per_minute=60, burst=3), limit_rule("slow", per_minute=6, burst=3))
        assert town.ask().fields["ratelimit"] == '"slow";r=2;t=10'

    def test_of_two_refusals_the_longer_wait_is_told(self) -> None:
        town = Town(limit_rule("quick", per_minute=60), limit_rule("slow", per_minute=6))
        assert town.statuses(2) == [200, 429]
        answer = town.ask()
        assert (answer.fields["retry-after"], answer.fields["ratelimit"]) == ("10", '"slow";r=0;t=10')
        assert answer.problem["code"] == "rate_limited"
        assert answer.problem["stage"] == "rate_limit"
        assert "'slow'" in answer.problem["detail"]
        town.bench.clock.advance(10.0)
        assert town.ask().status == 200

    def test_refusals_by_a_rule_are_refusals_of_the_key(self) -> None:
        ada = key("ada")
        usage = Usage()
        town = Town(limit_rule(), keys=[ada])
        town.statuses(3, "/closed", with_key(ada))
        recorder = Recorder(usage)
        for exchange in town.bench.exchanges:
            recorder.record(exchange)
        recorder.flush()
        assert (usage.keys["ada"].total_requests, usage.keys["ada"].rejected_requests) == (3, 2)

    @pytest.mark.parametrize(
        ("name", "told"),
        [
            ("plain name", '"plain name"'),
            ('a "quoted" \\ one', '"a \\"quoted\\" \\\\ one"'),
            ("Grenze für Gäste", '"rule"'),
        ],
    )
    def test_a_name_is_told_as_a_structured_field_can(self, name: str, told: str) -> None:
        assert Town(limit_rule(name=name)).ask().fields["ratelimit-policy"] == f"{told};q=60;w=60".lower()


class TestShadow:
    def test_it_marks_and_counts_what_it_would_refuse_and_refuses_nothing(self) -> None:
        town = Town(limit_rule(mode="shadow", burst=2))
        assert town.statuses(5) == [200] * 5
        shadowed = [shadows(exchange) for exchange in town.bench.exchanges]
        assert shadowed == [[], [], ["rule"], ["rule"], ["rule"]]
        room = town.bench.plane.state.limiter.room("rule")
        assert (room.admitted, room.refused, room.shadowed) == (2, 0, 3)

    def test_its_bucket_is_that_of_an_enforced_one(self) -> None:
        """So what it marks is what it would refuse: at the same moments, to the same clients."""
        gaps = [random.Random(4).expovariate(1.2) for _ in range(200)]
        enforced, shadow = Town(limit_rule(burst=3)), Town(limit_rule(burst=3, mode="shadow"))
        for gap in gaps:
            for town in (enforced, shadow):
                town.bench.clock.advance(gap)
                town.ask()
        refused = [exchange.status == 429 for exchange in enforced.bench.exchanges]
        assert [shadows(exchange) != [] for exchange in shadow.bench.exchanges] == refused
        assert 20 < sum(refused) < 180

    def test_nobody_is_told_of_it(self) -> None:
        answer = Town(limit_rule(mode="shadow")).ask()
        assert not [name for name in answer.fields if "ratelimit" in name]

    def test_it_takes_no_part_where_an_enforced_one_refuses(self) -> None:
        town = Town(limit_rule("real"), limit_rule("planned", mode="shadow", burst=3))
        assert town.statuses(9) == [200] + [429] * 8
        assert town.bench.plane.state.limiter.room("planned").admitted == 1


class TestGuards:
    GUARD = staticmethod(partial(limit_rule, "guard", count_by="address", before_auth=True, burst=3))

    def test_a_stranger_who_tries_too_often_is_refused_before_he_is_asked(self) -> None:
        town = Town(self.GUARD())
        assert town.statuses(5, "/closed", "X-API-Key: nonsense") == [401, 401, 401, 429, 429]
        assert town.ask("/closed", "X-API-Key: nonsense", ip="192.0.2.99").status == 401
        assert town.ask("/nowhere").status == 429

    def test_his_credential_is_not_even_looked_at(self) -> None:
        ada = key("ada")
        town = Town(self.GUARD(burst=1), keys=[ada])
        assert [town.ask("/closed", line).status for line in ("X-API-Key: guess", with_key(ada))] == [401, 429]
        assert town.last.principal is None

    def test_it_counts_those_who_are_let_in_as_well(self) -> None:
        ada = key("ada")
        town = Town(self.GUARD(), keys=[ada])
        assert town.statuses(4, "/closed", with_key(ada)) == [200, 200, 200, 429]
        town.bench.clock.advance(1.0)
        assert town.ask("/open").status == 200

    def test_whoever_his_own_limit_refuses_takes_nothing_from_the_guard(self) -> None:
        ada = key("ada", per_minute=60, burst=1)
        town = Town(self.GUARD(per_minute=1, burst=2), keys=[ada])
        assert town.statuses(5, "/closed", with_key(ada)) == [200] + [429] * 4
        assert town.ask().fields["ratelimit"] == '"guard";r=0;t=120'

    def test_a_stranger_is_told_what_he_has_left(self) -> None:
        answer = Town(self.GUARD()).ask("/closed")
        assert (answer.status, answer.fields["ratelimit"]) == (401, '"guard";r=2;t=1')

    def test_one_that_only_watches_lets_strangers_on(self) -> None:
        town = Town(self.GUARD(mode="shadow", burst=1))
        assert town.statuses(3, "/closed") == [401, 401, 401]
        assert shadows(town.last) == ["guard"]

    def test_rules_that_are_no_guards_do_not_count_strangers(self) -> None:
        town = Town(limit_rule(count_by="address", burst=1))
        assert town.statuses(3, "/closed") == [401] * 3
        assert town.ask("/open").status == 200


class TestChanges:
    def test_an_edit_keeps_what_was_used(self) -> None:
        town = Town(limit_rule(burst=5))
        town.statuses(4)
        town.configure(limit_rule(burst=6))
        assert town.statuses(3) == [200, 200, 429]
        town.configure(limit_rule(burst=2, name="renamed", mode="shadow"))
        town.configure(limit_rule(burst=2))
        assert town.ask().status == 429

    def test_conditions_are_edited_without_touching_a_bucket(self) -> None:
        town = Town(limit_rule(burst=3))
        town.statuses(2)
        town.configure(limit_rule(burst=3, path="/open", methods=["GET"]))
        assert town.statuses(2) == [200, 429]

    def test_another_limit_of_the_key_counts_from_its_next_request_on(self) -> None:
        """Also where the request comes again byte for byte, of which much is remembered."""
        ada = key("ada", burst=5, per_minute=60)
        town = Town(limit_rule(burst=100), keys=[ada])
        assert town.statuses(3, "/closed", with_key(ada)) == [200] * 3
        edited = ada.entity.model_copy(update={"burst_size": 4})
        town.bench.plane.snapshot = town.bench.plane.snapshot.with_key(edited)
        assert town.statuses(2, "/closed", with_key(ada)) == [200, 429]

    def test_a_header_that_changes_is_another_subject(self) -> None:
        town = Town(limit_rule(count_by="header", header="x-tenant"))
        answers = [town.ask("/open", f"X-Tenant: {tenant}").status for tenant in ("red", "red", "blue", "blue", "red")]
        assert answers == [200, 429, 200, 429, 429]


async def test_a_running_gateway_forgets_what_says_nothing_any_more() -> None:
    """By its sweep the buckets that are full again, and the rest with their rule."""
    clock = FakeClock()
    rules = [limit_rule("quick", per_minute=6_000), limit_rule("slow", per_minute=1)]
    services, routes = [service("http://127.0.0.1:1")], [route("/")]
    async with serve(
        services=services, routes=routes, rate_limits=rules, settings=settings(drain_timeout=0.1), clock=clock
    ) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 502 ")
        writer.close()
        assert [len(proxy.limiter.room(rule.id).buckets) for rule in rules] == [1, 1]
        clock.advance(1.0)
        for _ in range(1_000):
            if not proxy.limiter.room("quick").buckets:
                break
            await asyncio.sleep(0.01)
        assert len(proxy.limiter.room("quick").buckets) == 0
        assert len(proxy.limiter.room("slow").buckets) == 1
        proxy.apply(Snapshot().with_table(services, routes, CircuitPolicy(), rules[:1]))
        assert len(proxy.limiter.room("slow").buckets) == 0
