"""Exchanges as the data plane leaves them, with what a test cares about set and the rest plausible."""

from typing import Any

from microgateway.core.circuit import CircuitPolicy
from microgateway.core.limit_rules import Condition, CountBy, LimitRule
from microgateway.core.token_bucket import Limit
from microgateway.exchange import Exchange, Judgement, Problem
from microgateway.snapshot import Destination, Principal, Snapshot
from tests.kit.configuration import route, service

REFUSED = Problem(401, "Unauthorized", "api_key_missing", "auth", "Send a key.")


def destination(path: str = "/users", service_id: str = "users", *, route_id: str = "", name: str = "") -> Destination:
    """A route compiled as the control plane compiles it."""
    compiled = Snapshot().with_table(
        [service("http://127.0.0.1:9", service_id, name=name or service_id)],
        [route(path, id=route_id, service_id=service_id)],
        CircuitPolicy(),
    )
    found = compiled.match(b"GET", b"a.example", path.encode())
    assert isinstance(found, Destination)
    return found


def principal(key_id: str = "ada") -> Principal:
    return Principal(id=key_id, name=key_id.title(), limit=Limit(60, 10), policy_field=b"", enabled=True)


def rule(rule_id: str) -> LimitRule:
    return LimitRule(id=rule_id, name=rule_id.title(), limit=Limit(60, 10), when=Condition(), count_by=CountBy.ALL)


def exchange(
    status: int = 200,
    *,
    to: Destination | None = None,
    by: Principal | None = None,
    method: bytes = b"GET",
    milliseconds: float = 5.0,
    overhead: float | None = None,
    limited_by: Principal | LimitRule | None = None,
    shadowed: tuple[LimitRule, ...] = (),
    **fields: Any,
) -> Exchange:
    """`overhead`: milliseconds before it went to its service, None if it never did."""
    made = Exchange(method, b"/users/7", "203.0.113.7", 1_000.0, 1_700_000_000.0)
    made.judgement = Judgement(REFUSED, by, to, limited_by, shadowed)
    made.status = status
    made.ended = made.started + milliseconds / 1_000
    if overhead is not None:
        made.sent = made.started + overhead / 1_000
        made.attempts = 1
        made.upstream_status = status
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def refused(status: int, stage: str, code: str, **fields: Any) -> Exchange:
    """Answered by the gateway itself."""
    return exchange(status, stage=stage, code=code, **fields)
