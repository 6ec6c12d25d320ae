"""What the control plane tells the data plane: the configuration, compiled, immutable, swapped whole.

A snapshot is made from the one before it by replacing the parts that changed, so that a change to one key among 100 000
does not compile 10 000 routes again. A request holds the snapshot that it began with.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from microgateway.core import api_keys
from microgateway.core.addresses import EVERYBODY
from microgateway.core.balancing import Method
from microgateway.core.base_urls import BaseUrl
from microgateway.core.circuit import CircuitPolicy
from microgateway.core.conditions import Conditions
from microgateway.core.cors import Cors, preflight_conditions
from microgateway.core.health import CheckPolicy, EjectionPolicy
from microgateway.core.limit_rules import Condition, CountBy, LimitRule, limit_lines
from microgateway.core.routing import PathPattern, Router, Rule
from microgateway.core.statuses import parse_statuses
from microgateway.core.token_bucket import Limit
from microgateway.entities import (
    ApiKey,
    CircuitSpec,
    HashOn,
    PassiveHealthSpec,
    RateLimitRule,
    Route,
    Service,
    TlsSpec,
    TokenIssuer,
)
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


class KeyRing:
    """Principals by the SHA-256 of their keys, and by their ids; and issuers of tokens by what they call themselves.

    A key that was rotated is found by its previous text too, as a principal that expires earlier.
    """

    __slots__ = ("_by_digest", "_by_id", "issuers")

    def __init__(
        self,
        by_digest: Mapping[bytes, Principal],
        by_id: Mapping[str, Principal],
        issuers: Mapping[str, Issuer] = MappingProxyType({}),
    ) -> None:
        self._by_digest = by_digest
        self._by_id = by_id
        self.issuers = issuers

    @classmethod
    def of_keys(cls, keys: Iterable[ApiKey], issuers: Mapping[str, Issuer] = MappingProxyType({})) -> "KeyRing":
        by_digest: dict[bytes, Principal] = {}
        by_id: dict[str, Principal] = {}
        for key in keys:
            by_id[key.id] = principal = Principal.of_key(key)
            by_digest.update(_entries(key, principal))
        return cls(by_digest, by_id, issuers)

    def __len__(self) -> int:
        return len(self._by_id)

    def find(self, credential: bytes) -> Principal | None:
        """Whose key this is, or None for a mistyped or unknown one."""
        return (
            self._by_digest.get(api_keys.digest(credential)) if api_keys.is_well_formed_credential(credential) else None
        )

    def of_id(self, key_id: str) -> Principal | None:
        """The key with this id, of which a token may speak."""
        return self._by_id.get(key_id)

    def with_key(self, key: ApiKey) -> "KeyRing":
        """A key ring with this key created, changed or revoked."""
        by_digest, principal = dict(self._by_digest), Principal.of_key(key)
        before = self._by_id.get(key.id)
        for digest in () if before is None else before.digests:
            by_digest.pop(digest, None)
        by_digest.update(_entries(key, principal))
        return KeyRing(by_digest, {**self._by_id, key.id: principal}, self.issuers)

    def with_issuers(self, issuers: Iterable[Issuer]) -> "KeyRing":
        """The same keys, and these issuers and no others."""
        return KeyRing(self._by_digest, self._by_id, {issuer.issuer: issuer for issuer in issuers})


def _entries(key: ApiKey, principal: Principal) -> Iterator[tuple[bytes, Principal]]:
    if key.previous_hash is not None and key.previous_expires_at is not None:
        yield key.previous_hash, principal.until(key.previous_expires_at.timestamp())
    yield key.key_hash, principal


class UpstreamTls(NamedTuple):
    """How TLS is spoken with an upstream; `ca_file` None: the system's certificates are believed.

    A tuple, since connections are looked up by it: it is compared and hashed without a call into Python.
    """

    verify: bool = True
    ca_file: str | None = None
    client_cert_file: str | None = None
    client_key_file: str | None = None
    server_name: str | None = None

    @classmethod
    def of_spec(cls, spec: TlsSpec) -> "UpstreamTls":
        return cls(**spec.model_dump())


Address = tuple[str, str, int, UpstreamTls | None]


@dataclass(frozen=True, slots=True)
class Endpoint(BaseUrl):
    """A base URL, and how TLS is spoken there, None without TLS. Connections are shared by those of one `address`."""

    tls: UpstreamTls | None
    address: Address = field(repr=False, compare=False)

    @classmethod
    def of(cls, url: BaseUrl, tls: UpstreamTls) -> "Endpoint":
        own = tls if url.scheme == "https" else None
        return cls(url.scheme, url.host, url.port, url.path, own, (url.scheme, url.host, url.port, own))


@dataclass(frozen=True, slots=True)
class Target:
    """One address of a service:

    where to connect, the Host line to send, and the path in front of every request's own. `name` is its URL.
    """

    name: str
    url: Endpoint
    weight: int
    host_field: bytes
    path: bytes

    @classmethod
    def of_url(cls, text: str, weight: int = 1, tls: UpstreamTls = UpstreamTls()) -> "Target":  # noqa: B008  immutable
        url = Endpoint.of(BaseUrl.parse(text), tls)
        return cls(url.text, url, weight, b"Host: %b\r\n" % url.authority.encode(), url.path.encode())


@dataclass(frozen=True, slots=True)
class Upstream:
    """A service as the data plane needs it. Timeouts are seconds; None is the gateway's default.

    `tries_all`: with no healthy target, requests are sent to the others. `is_simple`: there is one target, and it is
    asked whatever is known of it, so that there is nothing to choose and nothing to remember.
    """

    id: str
    name: str
    targets: tuple[Target, ...]
    enabled: bool
    preserve_host: bool
    connect_timeout: float | None
    read_timeout: float | None
    circuit: CircuitPolicy
    load_balancing: Method
    hash_on: HashOn
    hash_header: bytes
    checks: CheckPolicy
    ejection: EjectionPolicy
    tries_all: bool
    is_simple: bool

    @classmethod
    def of_service(cls, service: Service, defaults: CircuitPolicy) -> "Upstream":
        targets = _targets(service)
        tries_all = service.when_unhealthy == "try_all"
        return cls(
            id=service.id,
            name=service.name,
            targets=targets,
            enabled=service.enabled,
            preserve_host=service.preserve_host,
            connect_timeout=service.connect_timeout_seconds,
            read_timeout=service.read_timeout_seconds,
            circuit=_circuit_policy(service.circuit_breaker, defaults),
            load_balancing=service.load_balancing,
            hash_on=service.hash_on,
            hash_header=(service.hash_header or "").encode(),
            checks=_check_policy(service),
            ejection=_ejection_policy(service.passive_health),
            tries_all=tries_all,
            is_simple=len(targets) == 1 and tries_all,
        )


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


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a request's fate depends on besides the request, the shared state and the time."""

    version: int = 0
    keys: KeyRing = field(default_factory=lambda: KeyRing({}, {}))
    upstreams: Mapping[str, Upstream] = field(default_factory=dict)
    routes: Router[Destination] = field(default_factory=lambda: Router(()))
    unrouted_rules: Rules | None = None
    """The rate limit rules for requests that no route takes."""
    rule_ids: frozenset[str] = frozenset()
    """Of all rate limit rules, those that are off too: their buckets are kept."""
    has_cors: bool = False

    def with_key(self, key: ApiKey) -> "Snapshot":
        """This one with a key created, changed or revoked."""
        return self._next(keys=self.keys.with_key(key))

    def with_keys(self, keys: Iterable[ApiKey]) -> "Snapshot":
        return self._next(keys=KeyRing.of_keys(keys, self.keys.issuers))

    def with_issuers(self, issuers: Iterable[TokenIssuer]) -> "Snapshot":
        """This one with these token issuers; one that is off is left out, and one that has not changed stays."""
        before = {issuer.id: issuer for issuer in self.keys.issuers.values()}
        compiled = [Issuer.of_entity(entity) for entity in issuers if entity.enabled]
        kept = [before[new.id] if new.id in before and _same(before[new.id], new) else new for new in compiled]
        return self._next(keys=self.keys.with_issuers(kept))

    def with_table(
        self,
        services: Iterable[Service],
        routes: Iterable[Route],
        defaults: CircuitPolicy,
        limit_rules: Collection[RateLimitRule] = (),
    ) -> "Snapshot":
        """This one with all services, routes and rate limit rules compiled anew.

        A route that is off, or has lost its service, is left out.
        """
        upstreams = {service.id: Upstream.of_service(service, defaults) for service in services}
        limits = [(rule, _limit_rule(rule)) for rule in limit_rules if rule.enabled]
        rules = [
            rule
            for age, route in enumerate(routes)
            if route.enabled and route.service_id in upstreams
            for rule in _routing_rules(route, upstreams[route.service_id], age, limits)
        ]
        anywhere = Rules.of(own for rule, own in limits if rule.route_id is None and rule.service_id is None)
        table = self._next(upstreams=upstreams, routes=Router(rules))
        return replace(
            table,
            unrouted_rules=anywhere,
            rule_ids=frozenset(rule.id for rule in limit_rules),
            has_cors=any(rule.target.cors is not None for rule in rules),
        )

    def _next(
        self,
        *,
        keys: KeyRing | None = None,
        upstreams: Mapping[str, Upstream] | None = None,
        routes: Router[Destination] | None = None,
    ) -> "Snapshot":
        return replace(
            self,
            version=self.version + 1,
            keys=self.keys if keys is None else keys,
            upstreams=self.upstreams if upstreams is None else upstreams,
            routes=self.routes if routes is None else routes,
        )


def _same(one: Issuer, other: Issuer) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in Issuer.__slots__)


def _targets(service: Service) -> tuple[Target, ...]:
    """Each URL once: two entries with the same one are one target with both their weights."""
    tls = UpstreamTls.of_spec(service.tls)
    weights: dict[str, int] = {}
    for target in service.targets:
        if target.weight > 0:
            weights[target.url] = weights.get(target.url, 0) + target.weight
    return tuple(Target.of_url(url, weight, tls) for url, weight in (weights or {service.base_url: 1}).items())


def _check_policy(service: Service) -> CheckPolicy:
    spec = service.health_check
    return CheckPolicy(
        path=service.health_check_path.encode(),
        enabled=spec.enabled,
        interval=spec.interval_seconds,
        timeout=spec.timeout_seconds,
        healthy_threshold=spec.healthy_threshold,
        unhealthy_threshold=spec.unhealthy_threshold,
        expected=_statuses(tuple(spec.expected_statuses)),
        jitter=spec.jitter,
    )


def _ejection_policy(spec: PassiveHealthSpec) -> EjectionPolicy:
    return EjectionPolicy(
        enabled=spec.enabled,
        consecutive_failures=spec.consecutive_failures,
        seconds=spec.ejection_seconds,
        longest=spec.longest_ejection_seconds,
        largest_share=spec.largest_share,
        failure_statuses=_statuses(tuple(spec.failure_statuses)),
    )


def _circuit_policy(spec: CircuitSpec, defaults: CircuitPolicy) -> CircuitPolicy:
    own = {name: value for name, value in spec.model_dump().items() if value is not None}
    if spec.failure_statuses is not None:
        own["failure_statuses"] = _statuses(tuple(spec.failure_statuses))
    return replace(defaults, **own)


@lru_cache(maxsize=1_024)
def _statuses(entries: tuple[int | str, ...]) -> frozenset[int]:
    """One set for all services that write it alike."""
    return parse_statuses(entries)


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


def _rules_for(
    route: Route, pattern: PathPattern, limits: Iterable[tuple[RateLimitRule, LimitRule]]
) -> Iterator[LimitRule]:
    methods = [method.encode() for method in route.methods]
    for rule, compiled in limits:
        is_meant = rule.route_id in (None, route.id) and rule.service_id in (None, route.service_id)
        if is_meant and (compiled.when is None or compiled.when.may_meet(pattern, methods)):
            yield compiled


def _routing_rules(
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
