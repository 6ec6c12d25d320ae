"""Routes as the data plane needs them: where a request goes, and what is asked of it and done to it on the way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from microgateway.core.addresses import EVERYBODY
from microgateway.core.conditions import Conditions
from microgateway.core.cors import Cors, preflight_conditions
from microgateway.core.routing import PathPattern, Rule
from microgateway.entities import Route
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
from microgateway.snapshot.rules import Limits, Rules, rules_for
from microgateway.snapshot.upstreams import Upstream

MOST_DESTINATIONS = 100_000


@dataclass(frozen=True, slots=True, eq=False)
class CompiledRoute:
    """A route by itself, as the router holds it: what it is about its service and the rate limit rules is not in it.

    What most routes don't have is None. `methods` are the route's own. `max_body` is bytes, 0 for any.
    """

    id: str
    path: str
    service_id: str
    pattern: PathPattern
    methods: tuple[bytes, ...]
    auth_required: bool
    timeout: float | None
    retries: int
    forward_credentials: bool
    alteration: Alteration | None = None
    answer_alteration: AnswerAlteration | None = None
    gate: Gate | None = None
    cors: Cors | None = None
    max_body: int | None = None

    @property
    def is_preflight(self) -> bool:
        """Made for a route's `cors`, and no route itself."""
        return self.gate is not None and self.gate.preflight is not None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Destination(CompiledRoute):
    """A route together with all that a request needs to know which takes it: the service, and the rules that apply."""

    upstream: Upstream
    rules: Rules | None

    @classmethod
    def of(cls, route: CompiledRoute, upstream: Upstream, rules: Rules | None) -> "Destination":
        """A route with its service and the rules that apply."""
        own = {name: getattr(route, name) for name in CompiledRoute.__slots__}
        return cls(**own, upstream=upstream, rules=rules)


class Destinations(dict[CompiledRoute, Destination]):
    """The destinations of a configuration, each made when a request first needs it.

    So a change of a service or a rule that 10 000 routes are under is a change of one thing, and none of them waits for
    the others. They are kept as long as services and rules stay the same; should there be very many, all are made anew.
    """

    def __init__(self, upstreams: Mapping[str, Upstream], limits: Limits) -> None:
        super().__init__()
        self.upstreams = upstreams
        self.limits = limits

    def __reduce__(self) -> tuple[type["Destinations"], tuple[Mapping[str, Upstream], Limits]]:
        """Another process makes its own."""
        return Destinations, (self.upstreams, self.limits)

    def __missing__(self, route: CompiledRoute) -> Destination:
        if len(self) >= MOST_DESTINATIONS:
            self.clear()
        made = Destination.of(route, self.upstreams[route.service_id], self._rules_for(route))
        self[route] = made
        return made

    def _rules_for(self, route: CompiledRoute) -> Rules | None:
        """A preflight carries no credential: of the rules for its route, those before authentication are left."""
        rules = rules_for(self.limits, route.id, route.service_id, route.pattern, route.methods)
        return Rules.of(rules.guards) if rules is not None and route.is_preflight else rules


def routing_rules(route: Route, age: int) -> list[Rule[CompiledRoute]]:
    """The route's rule, and before it that for browsers which ask whether they may use it."""
    pattern = PathPattern.parse(route.path, route.match)
    compiled = _compiled(route, pattern)
    rule = Rule(
        pattern=pattern,
        target=compiled,
        hosts=tuple(host.encode() for host in route.hosts),
        methods=compiled.methods,
        priority=route.priority,
        age=age,
        conditions=compiled_conditions(route.headers, route.query),
    )
    return [rule] if compiled.cors is None else [_preflight_rule(rule, compiled.cors, route.methods), rule]


def _compiled(route: Route, pattern: PathPattern) -> CompiledRoute:
    cors = cors_of(route)
    return CompiledRoute(
        id=route.id,
        path=route.path,
        service_id=route.service_id,
        pattern=pattern,
        methods=tuple(method.encode() for method in route.methods),
        auth_required=route.auth == "required",
        timeout=route.timeout_seconds,
        retries=route.retries,
        forward_credentials=route.forward_credentials,
        alteration=alteration_of(route, pattern),
        answer_alteration=answer_alteration_of(route, cors),
        gate=gate_of(route),
        cors=cors,
        max_body=route.max_body_bytes,
    )


def _preflight_rule(rule: Rule[CompiledRoute], cors: Cors, methods: Sequence[str]) -> Rule[CompiledRoute]:
    """A preflight carries none of the fields that the request to come will carry, so conditions on them don't count."""
    asked = rule.target
    answer = replace(
        asked,
        auth_required=False,
        gate=Gate(EVERYBODY if asked.gate is None else asked.gate.addresses, cors),
        cors=None,
    )
    conditions = Conditions(preflight_conditions(methods), rule.conditions.query)
    return replace(rule, target=answer, methods=(b"OPTIONS",), conditions=conditions)
