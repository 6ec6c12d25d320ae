"""Routes as the data plane needs them: where a request goes, and what is asked of it and done to it on the way."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from microgateway.core.addresses import EVERYBODY
from microgateway.core.conditions import Conditions
from microgateway.core.cors import Cors, preflight_conditions
from microgateway.core.limit_rules import Condition, CountBy, LimitRule
from microgateway.core.routing import PathPattern, Rule
from microgateway.entities import RateLimitRule, Route
from microgateway.route_parts import compiled_conditions
from microgateway.route_policy import (
    Alteration,
    AnswerAlteration,
    Gate,
    alteration_of,
    answer_alteration_of,
    cors_of,
    gate_of,
)
from microgateway.snapshot.principals import limit_with_field
from microgateway.snapshot.upstreams import Upstream


class Rules(NamedTuple):
    """The rate limit rules that may apply to the requests of one route: those asked before authentication, and those
    asked after.
    """

    guards: tuple[LimitRule, ...]
    others: tuple[LimitRule, ...]

    @classmethod
    def of(cls, rules: Iterable[LimitRule]) -> "Rules | None":
        """None for no rules, so that a request without any pays for one question only."""
        rules = tuple(rules)
        guards = tuple(rule for rule in rules if rule.before_auth)
        return cls(guards, tuple(rule for rule in rules if not rule.before_auth)) if rules else None


@dataclass(frozen=True, slots=True)
class Destination:
    """A route as the data plane needs it. What most routes don't have is None. `max_body` is bytes, 0 for any."""

    id: str
    path: str
    upstream: Upstream
    auth_required: bool
    timeout: float | None
    retries: int
    forward_credentials: bool
    rules: Rules | None = None
    alteration: Alteration | None = None
    answer_alteration: AnswerAlteration | None = None
    gate: Gate | None = None
    cors: Cors | None = None
    max_body: int | None = None


def limit_rule(rule: RateLimitRule) -> LimitRule:
    pattern = None if rule.path is None else PathPattern.parse(rule.path, rule.match)
    return LimitRule(
        id=rule.id,
        name=rule.name,
        limit=limit_with_field(rule.requests_per_minute, rule.burst_size)[0],
        when=Condition(pattern, [method.encode() for method in rule.methods]),
        count_by=CountBy(rule.count_by),
        header=(rule.header or "").encode(),
        enforced=rule.mode == "enforce",
        before_auth=rule.before_auth,
    )


def routing_rules(
    route: Route, upstream: Upstream, age: int, limits: Iterable[tuple[RateLimitRule, LimitRule]]
) -> list[Rule[Destination]]:
    """The route's rule, and before it that for browsers which ask whether they may use it."""
    pattern = PathPattern.parse(route.path, route.match)
    destination = _destination(route, upstream, pattern, limits)
    rule = Rule(
        pattern=pattern,
        target=destination,
        hosts=tuple(host.encode() for host in route.hosts),
        methods=tuple(method.encode() for method in route.methods),
        priority=route.priority,
        age=age,
        conditions=compiled_conditions(route.headers, route.query),
    )
    return [rule] if destination.cors is None else [_preflight_rule(rule, destination.cors, route.methods), rule]


def _rules_for(
    route: Route, pattern: PathPattern, limits: Iterable[tuple[RateLimitRule, LimitRule]]
) -> Iterator[LimitRule]:
    methods = [method.encode() for method in route.methods]
    for rule, compiled in limits:
        is_meant = rule.route_id in (None, route.id) and rule.service_id in (None, route.service_id)
        if is_meant and (compiled.when is None or compiled.when.may_meet(pattern, methods)):
            yield compiled


def _destination(
    route: Route, upstream: Upstream, pattern: PathPattern, limits: Iterable[tuple[RateLimitRule, LimitRule]]
) -> Destination:
    cors = cors_of(route)
    return Destination(
        id=route.id,
        path=route.path,
        upstream=upstream,
        auth_required=route.auth == "required",
        timeout=route.timeout_seconds,
        retries=route.retries,
        forward_credentials=route.forward_credentials,
        rules=Rules.of(_rules_for(route, pattern, limits)) if limits else None,
        alteration=alteration_of(route, pattern),
        answer_alteration=answer_alteration_of(route, cors),
        gate=gate_of(route),
        cors=cors,
        max_body=route.max_body_bytes,
    )


def _preflight_rule(rule: Rule[Destination], cors: Cors, methods: Sequence[str]) -> Rule[Destination]:
    """A preflight carries none of the fields that the request to come will carry, so conditions on them don't count.

    It carries no credential either: of the limits, those before authentication are left.
    """
    asked = rule.target
    answer = replace(
        asked,
        auth_required=False,
        gate=Gate(EVERYBODY if asked.gate is None else asked.gate.addresses, cors),
        cors=None,
        rules=None if asked.rules is None else Rules.of(asked.rules.guards),
    )
    conditions = Conditions(preflight_conditions(methods), rule.conditions.query)
    return replace(rule, target=answer, methods=(b"OPTIONS",), conditions=conditions)
