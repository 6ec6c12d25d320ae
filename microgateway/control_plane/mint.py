"""Makes new entities of what an operator wrote: ids, dates, keys, and the gateway's defaults where nothing was said."""

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from microgateway.clock import Clock, utc
from microgateway.core import api_keys
from microgateway.core.token_bucket import Limit
from microgateway.entities import (
    ApiKey,
    ApiKeySpec,
    RateLimitRule,
    RateLimitRuleSpec,
    Route,
    RouteSpec,
    Service,
    ServiceSpec,
    TokenIssuer,
    TokenIssuerSpec,
)

ID_BYTES = 8
Revised = TypeVar("Revised", Service, Route, RateLimitRule, TokenIssuer)


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key, and its text, which nobody will see again."""

    key: ApiKey
    text: str = field(repr=False)
    is_generated: bool = True


class Mint:
    """`limit` is what a key gets that asks for nothing else."""

    def __init__(self, *, clock: Clock, limit: Limit) -> None:
        self._clock = clock
        self._limit = limit

    def moment(self) -> datetime:
        """Now, as entities have it: in UTC."""
        return utc(self._clock.wall())

    def service(self, spec: ServiceSpec) -> Service:
        now = self.moment()
        return Service(**spec.model_dump(), id=_new_id("svc"), created_at=now, updated_at=now)

    def route(self, spec: RouteSpec) -> Route:
        now = self.moment()
        return Route(**spec.model_dump(), id=_new_id("rt"), created_at=now, updated_at=now)

    def rate_limit(self, spec: RateLimitRuleSpec) -> RateLimitRule:
        now = self.moment()
        return RateLimitRule(**spec.model_dump(), id=_new_id("rl"), created_at=now, updated_at=now)

    def token_issuer(self, spec: TokenIssuerSpec) -> TokenIssuer:
        now = self.moment()
        return TokenIssuer(**self.with_limits(spec), id=_new_id("iss"), created_at=now, updated_at=now)

    def revised(self, current: Revised, fields: dict[str, Any]) -> Revised:
        """The same entity with these fields in place of those that an operator may write; `current` if none differs."""
        kept = {"id": current.id, "created_at": current.created_at, "updated_at": current.updated_at}
        revised = type(current).model_validate(fields | kept)
        return current if revised == current else revised.model_copy(update={"updated_at": self.moment()})

    def key(self, spec: ApiKeySpec, text: str | None = None) -> IssuedKey:
        """A key with this text, which is well formed, or with one of its own."""
        given, text = text, text or api_keys.generate(secrets.randbelow)
        key = ApiKey(
            **self.with_limits(spec),
            id=_new_id("key"),
            key_prefix=api_keys.shown_prefix(text),
            key_hash=api_keys.digest(text.encode()),
            created_at=self.moment(),
        )
        return IssuedKey(key, text, is_generated=given is None)

    def rotated(self, key: ApiKey, overlap: timedelta) -> IssuedKey:
        """The key with a new text. The text that it has now is good for so long; one that it had before, no more."""
        text = api_keys.generate(secrets.randbelow)
        update = {
            "key_prefix": api_keys.shown_prefix(text),
            "key_hash": api_keys.digest(text.encode()),
            "previous_hash": key.key_hash,
            "previous_expires_at": self.moment() + overlap,
        }
        return IssuedKey(key.model_copy(update=update), text)

    def with_limits(self, spec: ApiKeySpec | TokenIssuerSpec) -> dict[str, Any]:
        """The fields of `spec`, with the default limits where it has none."""
        fields = spec.model_dump()
        defaults = {"requests_per_minute": self._limit.per_minute, "burst_size": self._limit.burst}
        return fields | {name: value for name, value in defaults.items() if fields[name] is None}


def _new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(ID_BYTES)}"
