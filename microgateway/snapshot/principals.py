"""Who requests are from: API keys, and the subjects of other issuers' tokens."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from microgateway.core.limit_rules import limit_lines
from microgateway.core.token_bucket import Limit
from microgateway.entities import ApiKey, TokenIssuer


class Principal:
    """Who a request is from: an API key, as the data plane needs it. `expires_at` is seconds since the epoch.

    `services` are the ids of those that it may use, None: all. `digests` are what it is looked up by. Its usage is
    that of `counted_as`.
    """

    __slots__ = (
        "counted_as", "digests", "enabled", "expires_at", "id", "limit", "name", "policy_field", "scopes", "services"
    )  # fmt: skip
    space = ""  # where its bucket is kept: with those of the other keys
    enforced = True

    def __init__(
        self,
        *,
        id: str,
        name: str,
        limit: Limit,
        policy_field: bytes,
        enabled: bool = True,
        expires_at: float = math.inf,
        services: frozenset[str] | None = None,
        scopes: tuple[str, ...] = (),
        digests: tuple[bytes, ...] = (),
        counted_as: str = "",
    ) -> None:
        self.id = id
        self.counted_as = counted_as or id
        self.name = name
        self.limit = limit
        self.policy_field = policy_field
        self.enabled = enabled
        self.expires_at = expires_at
        self.services = services
        self.scopes = scopes
        self.digests = digests

    @classmethod
    def of_key(cls, key: ApiKey) -> "Principal":
        limit, policy_field = limit_with_field(key.requests_per_minute, key.burst_size)
        return cls(
            id=key.id,
            name=key.name,
            limit=limit,
            policy_field=policy_field,
            enabled=key.enabled and not key.is_revoked(),
            expires_at=key.expires_at.timestamp() if key.expires_at else math.inf,
            services=frozenset(key.services) or None,
            scopes=tuple(key.scopes),
            digests=(key.key_hash,) if key.previous_hash is None else (key.key_hash, key.previous_hash),
        )

    def until(self, moment: float) -> "Principal":
        """The same one, believed until then at the longest: same id, same bucket, same permissions."""
        return Principal(
            id=self.id,
            name=self.name,
            limit=self.limit,
            policy_field=self.policy_field,
            enabled=self.enabled,
            expires_at=min(moment, self.expires_at),
            services=self.services,
            scopes=self.scopes,
        )


@lru_cache(maxsize=1_024)
def limit_with_field(per_minute: int, burst: int) -> tuple[Limit, bytes]:
    """One limit object for all keys that have it, with the header lines that tell it."""
    limit = Limit(per_minute, burst)
    return limit, limit_lines(b'"default"', limit)


@dataclass(frozen=True, slots=True, eq=False)
class Issuer:
    """Somebody else whose tokens are believed. `leeway` is seconds; `limits` are chosen by the value of a claim."""

    id: str
    name: str
    issuer: str
    audiences: frozenset[str]
    jwks_url: str
    ca_file: str | None
    algorithms: tuple[str, ...]
    leeway: float
    limit: tuple[Limit, bytes]
    limit_claim: str | None
    limits: Mapping[str, tuple[Limit, bytes]]

    @classmethod
    def of_entity(cls, entity: TokenIssuer) -> "Issuer":
        return cls(
            id=entity.id,
            name=entity.name,
            issuer=entity.issuer,
            audiences=frozenset(entity.audiences),
            jwks_url=entity.jwks_url,
            ca_file=entity.ca_file,
            algorithms=tuple(entity.algorithms),
            leeway=float(entity.leeway_seconds),
            limit=limit_with_field(entity.requests_per_minute, entity.burst_size),
            limit_claim=entity.limit_claim,
            limits={
                value: limit_with_field(limit.requests_per_minute, limit.burst_size)
                for value, limit in entity.limits.items()
            },
        )

    @property
    def keys_asked_for(self) -> tuple[str, str | None, tuple[str, ...]]:
        """What has to stay the same for keys that were fetched to stay good."""
        return self.jwks_url, self.ca_file, self.algorithms

    def principal(self, subject: str, claims: Mapping[str, Any], expires_at: float) -> Principal:
        """Whose token this is: each subject has a bucket of its own, and all of them are counted together."""
        limit, policy_field = self._limit_for(claims)
        return Principal(
            id=f"{self.id}:{subject}",
            name=f"{self.name}: {subject}",
            limit=limit,
            policy_field=policy_field,
            expires_at=expires_at,
            counted_as=self.id,
        )

    def _limit_for(self, claims: Mapping[str, Any]) -> tuple[Limit, bytes]:
        """By the claim's value; of a list of values, by the first that has a limit."""
        if self.limit_claim is None:
            return self.limit
        told = claims.get(self.limit_claim)
        for value in told if isinstance(told, list) else (told,):
            if isinstance(value, str) and value in self.limits:
                return self.limits[value]
        return self.limit
