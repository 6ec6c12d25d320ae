"""Rate limit rules as the data plane needs them, and which of them may apply to the requests of a route."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from microgateway.core.limit_rules import Condition, CountBy, LimitRule
from microgateway.core.routing import PathPattern
from microgateway.entities import RateLimitRule
from microgateway.snapshot.principals import limit_with_field


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
class PlacedRule:
    """A rule, and the route or the service that it is for; None: for any. One that is off has no `rule`."""

    rule: LimitRule | None
    route_id: str | None
    service_id: str | None

    @classmethod
    def of(cls, rule: RateLimitRule) -> "PlacedRule":
        return cls(_limit_rule(rule) if rule.enabled else None, rule.route_id, rule.service_id)

    @property
    def is_for_all(self) -> bool:
        """Whether it is for requests of every route, and of none."""
        return self.route_id is None and self.service_id is None


Limits = Mapping[str, PlacedRule]
"""All rules by id, the oldest first."""


def unrouted_rules(limits: Limits) -> Rules | None:
    """Those for requests that no route takes."""
    return Rules.of(placed.rule for placed in limits.values() if placed.rule is not None and placed.is_for_all)


def rules_for(
    limits: Limits, route_id: str, service_id: str, pattern: PathPattern, methods: Collection[bytes]
) -> Rules | None:
    """Those for the requests that a route takes."""
    return Rules.of(_meant(limits, route_id, service_id, pattern, methods)) if limits else None


def _meant(
    limits: Limits, route_id: str, service_id: str, pattern: PathPattern, methods: Collection[bytes]
) -> Iterator[LimitRule]:
    for placed in limits.values():
        rule = placed.rule
        if rule is None or placed.route_id not in (None, route_id) or placed.service_id not in (None, service_id):
            continue
        if rule.when is None or rule.when.may_meet(pattern, methods):
            yield rule


def _limit_rule(rule: RateLimitRule) -> LimitRule:
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
