"""State that begins as traffic has left it and goes its own way: what happens to it, no request ever notices.

Each thing is copied when it is first asked for, by a look that leaves no trace; from then on it is the data plane's own
code over the copy.
"""

import time
from collections.abc import Callable, Sequence

from microgateway.core.circuit import Circuit, CircuitPolicy
from microgateway.core.token_bucket import Grant, Limit
from microgateway.exchange import EventListener, Postponed
from microgateway.snapshot import Issuer, Principal, Upstream
from microgateway.state.interfaces import Circuits, Limiter
from microgateway.state.limits import Claim, MemoryLimiter
from microgateway.state.memory import MemoryCircuits
from microgateway.state.targets import MemoryTargets, TargetGroup
from microgateway.tokens.key_source import KeySource
from microgateway.tokens.key_sources import KeySources
from microgateway.tokens.verifying import Verifier


class CopiedLimiter(MemoryLimiter):
    """The buckets of `live`."""

    def __init__(self, live: Limiter) -> None:
        super().__init__()
        self._live = live

    def take(self, client: str, limit: Limit, now: float) -> Grant:
        self._copy([(Principal(id=client, name=client, limit=limit, policy_field=b""), client)], now)
        return super().take(client, limit, now)

    def take_all(self, claims: Sequence[Claim], now: float) -> list[Grant]:
        self._copy(claims, now)
        return super().take_all(claims, now)

    def peek(self, claims: Sequence[Claim], now: float) -> list[Grant]:
        self._copy(claims, now)
        return super().peek(claims, now)

    def _copy(self, claims: Sequence[Claim], now: float) -> None:
        for limiting, subject in claims:
            room = self._rooms.get(limiting.space) or self._open(limiting.space)
            if subject not in room.buckets:
                room.buckets[subject] = self._live.look(limiting, subject, now)


class CopiedCircuits(MemoryCircuits):
    """The circuits of `live`."""

    def __init__(
        self, live: Circuits, *, wall: Callable[[], float] = time.time, listeners: Sequence[EventListener] = ()
    ) -> None:
        super().__init__(wall=wall, listeners=listeners)
        self._live = live.snapshot()

    def of(self, service_id: str, policy: CircuitPolicy, now: float) -> Circuit:
        if service_id not in self._circuits and service_id in self._live:
            original = self._live[service_id]
            copy = Circuit(original.policy, now, lambda change: self._note(service_id, change))
            copy.restore(original.numbers())
            self._circuits[service_id] = copy
        return super().of(service_id, policy, now)


class CopiedTargets(MemoryTargets):
    """The targets of `live`."""

    def __init__(
        self, live: MemoryTargets, *, wall: Callable[[], float] = time.time, listeners: Sequence[EventListener] = ()
    ) -> None:
        super().__init__(wall=wall, listeners=listeners)
        self._live = live

    def of(self, upstream: Upstream) -> TargetGroup:
        if upstream.id not in self._groups:
            self._groups[upstream.id] = self._live.look(upstream, self._note)
        return super().of(upstream)


class SeenKeySources(KeySources):
    """The keys of issuers as they are known to `live`. Where it would have them fetched, this says so and does not."""

    def __init__(self, live: KeySources) -> None:
        super().__init__(now=live.now)
        self._live = live

    def of(self, issuer: Issuer) -> KeySource:
        return self._live.known(issuer.id) or KeySource(issuer)

    def asked_again(self, source: KeySource) -> Postponed | None:
        now = self.now()
        until = now if source.may_fetch(now) else source.wait_until(now)
        return None if until is None else Postponed(until, lambda callback: None)


def copied_verifier(live: Verifier) -> Verifier:
    """Who believes what `live` believes, and remembers nothing for it."""
    return Verifier(signer=live.signer, sources=SeenKeySources(live.sources))
