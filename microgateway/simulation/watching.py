"""Looks over the judgement's shoulder: what it asked of its state for one request, what it was told, how long it took.

Each of these is the thing itself, over a copy of its state, and notes what passes. So what is told of a judgement is
what happened in it: there is no second way to judge.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from microgateway.core.circuit import Circuit, CircuitPolicy, CircuitState
from microgateway.core.field_sections import FieldSection
from microgateway.core.limit_rules import LimitRule, Subject
from microgateway.core.routing import NotRouted, Router
from microgateway.core.token_bucket import NANOSECONDS, Grant, Limit
from microgateway.data_plane.authentication import Authentication
from microgateway.exchange import Postponed, Problem
from microgateway.persistence.log_stream import LoggedRequest
from microgateway.simulation.copies import CopiedCircuits, CopiedLimiter
from microgateway.simulation.logged import LoggedCredentials
from microgateway.snapshot import CompiledRoute, KeyRing, Principal
from microgateway.state.interfaces import Circuits, Limiter
from microgateway.state.limits import Claim
from microgateway.tokens.verifying import Verifier


@dataclass(frozen=True, slots=True)
class LimitSeen:
    """One bucket before and after; levels are in parts of a token. `rule` None: the key's own limit."""

    rule: LimitRule | None
    subject: Subject
    before: int
    grant: Grant

    @property
    def is_enforced(self) -> bool:
        return self.rule is None or self.rule.enforced


@dataclass(frozen=True, slots=True)
class CircuitSeen:
    """A circuit as it stood when it was asked. `retry_after` is seconds."""

    service_id: str
    state: CircuitState
    failures: int
    retry_after: float


@dataclass(slots=True)
class Seen:
    """All that was noted of one request. `took` are seconds by stage; what was not asked is None, or missing."""

    began: float = 0.0
    took: dict[str, float] = field(default_factory=dict)
    match: CompiledRoute | NotRouted | None = None
    guards: list[LimitSeen] | None = None
    who: Principal | Problem | Postponed | None = None
    limits: list[LimitSeen] | None = None
    circuit: CircuitSeen | None = None

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.took[stage] = self.took.get(stage, 0.0) + time.perf_counter() - began

    def begin(self) -> None:
        self.began = time.perf_counter()

    def lasted(self, stage: str) -> None:
        """From the beginning up to here, unless it is over already."""
        self.took.setdefault(stage, time.perf_counter() - self.began)


class WatchedRouter(Router[CompiledRoute]):
    """A table of routes. Some answers of the gateway's own ask it again; the first question is the judgement's."""

    __slots__ = ("_inner", "_seen")

    def __init__(self, inner: Router[CompiledRoute], seen: Seen) -> None:
        self._inner = inner
        self._seen = seen

    def match(self, *args: Any, **kwargs: Any) -> CompiledRoute | NotRouted:
        seen = self._seen
        seen.lasted("normalise")
        with seen.timed("route"):
            found = self._inner.match(*args, **kwargs)
        seen.match = found if seen.match is None else seen.match
        return found


class WatchedAuthentication(Authentication):
    """Who asks for credentials."""

    __slots__ = ("_seen",)

    def __init__(self, seen: Seen, *, api_key_header: str, verifier: Verifier | None) -> None:
        super().__init__(api_key_header=api_key_header, verifier=verifier)
        self._seen = seen

    def authenticate(self, section: FieldSection, keys: KeyRing, wall: float) -> Principal | Problem | Postponed:
        with self._seen.timed("authenticate"):
            self._seen.who = who = super().authenticate(section, keys, wall)
        return who


class WatchedCredentials(LoggedCredentials):
    """Who believes the log."""

    __slots__ = ("_seen",)

    def __init__(self, seen: Seen, row: LoggedRequest) -> None:
        super().__init__()
        self._seen = seen
        self.row = row

    def authenticate(self, section: FieldSection, keys: KeyRing, wall: float) -> Principal | Problem | Postponed:
        with self._seen.timed("authenticate"):
            self._seen.who = who = super().authenticate(section, keys, wall)
        return who


class WatchedLimiter(CopiedLimiter):
    """Every bucket there is."""

    def __init__(self, live: Limiter, seen: Seen) -> None:
        super().__init__(live)
        self._seen = seen

    def take(self, client: str, limit: Limit, now: float) -> Grant:
        claim = (Principal(id=client, name=client, limit=limit, policy_field=b""), client)
        before = self._levels([claim], now)
        with self._seen.timed("rate_limit"):
            grant = super().take(client, limit, now)
        self._seen.limits = _seen([claim], before, [grant])
        return grant

    def take_all(self, claims: Sequence[Claim], now: float) -> list[Grant]:
        before = self._levels(claims, now)
        with self._seen.timed("rate_limit"):
            grants = super().take_all(claims, now)
        self._seen.limits = _seen(claims, before, grants)
        return grants

    def peek(self, claims: Sequence[Claim], now: float) -> list[Grant]:
        before = self._levels(claims, now)
        with self._seen.timed("guards"):
            grants = super().peek(claims, now)
        self._seen.guards = _seen(claims, before, grants)
        return grants

    def _levels(self, claims: Sequence[Claim], now: float) -> list[int]:
        self._copy(claims, now)
        instant = int(now * NANOSECONDS)
        return [self._rooms[limiting.space].buckets[subject].peek(instant).level for limiting, subject in claims]


class WatchedCircuits(CopiedCircuits):
    """One circuit per service."""

    def __init__(self, live: Circuits, seen: Seen) -> None:
        super().__init__(live)
        self._seen = seen

    def of(self, service_id: str, policy: CircuitPolicy, now: float) -> Circuit:
        with self._seen.timed("circuit"):
            circuit = super().of(service_id, policy, now)
        self._seen.circuit = CircuitSeen(service_id, circuit.state, circuit.failures, circuit.retry_after(now))
        return circuit


def _seen(claims: Sequence[Claim], before: Sequence[int], grants: Sequence[Grant]) -> list[LimitSeen]:
    return [
        LimitSeen(limiting if isinstance(limiting, LimitRule) else None, subject, level, grant)
        for (limiting, subject), level, grant in zip(claims, before, grants, strict=True)
    ]
