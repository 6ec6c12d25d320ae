"""Services as the data plane needs them: where their targets are, and how those are asked and watched."""

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

from microgateway.core.balancing import Method
from microgateway.core.base_urls import BaseUrl
from microgateway.core.circuit import CircuitPolicy
from microgateway.core.health import CheckPolicy, EjectionPolicy
from microgateway.core.statuses import parse_statuses
from microgateway.entities import CircuitSpec, HashOn, PassiveHealthSpec, Service, TlsSpec


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
    """One address of a service; `name` is its URL.

    `url` says where to connect, `host_field` is the Host line to send, and `path` goes in front of every request's own.
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
        """Compiled; what the service leaves out of its circuit breaker is as in `defaults`."""
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
