"""Services, routes and keys for tests, with everything that a test does not care about filled in."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from microgateway.core import api_keys
from microgateway.entities import (
    ApiKey,
    ApiKeySpec,
    RateLimitRule,
    RateLimitRuleSpec,
    Route,
    RouteSpec,
    Service,
    ServiceSpec,
)
from microgateway.settings import Settings

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
UNLIMITED = 1_000_000_000  # requests per minute, and burst: the most that there is


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key as its client holds it, beside what the gateway keeps of it."""

    secret: str
    entity: ApiKey


def service(url: str, service_id: str = "upstream", **fields: Any) -> Service:
    spec = ServiceSpec.model_validate({"name": service_id, "base_url": url, **fields})
    return Service(**spec.model_dump(), id=service_id, created_at=WHEN, updated_at=WHEN)


def route(path: str = "/", *, id: str = "", service_id: str = "upstream", auth: str = "none", **fields: Any) -> Route:
    spec = RouteSpec.model_validate({"path": path, "service_id": service_id, "auth": auth, **fields})
    return Route(**spec.model_dump(), id=id or f"route {path}", created_at=WHEN, updated_at=WHEN)


def key(key_id: str = "key", *, per_minute: int = UNLIMITED, burst: int = UNLIMITED, **fields: Any) -> IssuedKey:
    secret = api_keys.generate(secrets.randbelow)
    spec = ApiKeySpec.model_validate({"name": key_id, "requests_per_minute": per_minute, "burst_size": burst, **fields})
    entity = ApiKey.model_validate(
        {
            **spec.model_dump(),
            "id": key_id,
            "key_prefix": api_keys.shown_prefix(secret),
            "key_hash": api_keys.digest(secret.encode()),
            "created_at": WHEN,
        }
    )
    return IssuedKey(secret, entity)


def limit_rule(rule_id: str = "rule", *, per_minute: int = 60, burst: int = 1, **fields: Any) -> RateLimitRule:
    """Counted all together unless a test says otherwise."""
    limits = {"requests_per_minute": per_minute, "burst_size": burst}
    spec = RateLimitRuleSpec.model_validate({"name": rule_id, "count_by": "all", **limits, **fields})
    return RateLimitRule(**spec.model_dump(), id=rule_id, created_at=WHEN, updated_at=WHEN)


def settings(**overrides: Any) -> Settings:
    """Settings where no circuit opens unless a test asks for it: most tests are about one failure, not five."""
    defaults = {
        "proxy_host": "127.0.0.1",
        "proxy_port": 0,
        "circuit_failure_threshold": 1_000_000,
        "drain_timeout": 2.0,
    }
    return Settings.model_validate({**defaults, **overrides})
