"""The targets of services in this process's memory: their health, their requests under way, and who is asked next.

State is kept by target, that is by service and URL, and survives edits of the service.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from copy import copy
from random import Random
from typing import NamedTuple

from microgateway.core.balancing import Balancer, Contender, balancer, choose_once, continued
from microgateway.core.health import CheckResult, Overall, TargetHealth, TargetStatus, overall
from microgateway.exchange import Event, EventListener
from microgateway.snapshot import Target, Upstream

MOST_CHECKS_KEPT = 20  # of one target


class Ejection(NamedTuple):
    """A service's target is left alone `until` then (monotonic), for `away` seconds."""

    service_id: str
    target: str
    until: float
    away: float


class Member(Contender):
    """One target of a group, and what is known of it. `checks` are the latest, the oldest first.

    `follows`: it was ejected by another process's traffic, which tells of its return too.
    """

    __slots__ = ("checks", "follows", "group", "health", "target")

    group: "TargetGroup"

    def __init__(self, target: Target) -> None:
        super().__init__(target.name, target.weight)
        self.target = target
        self.health = TargetHealth()
        self.checks: deque[CheckResult] = deque(maxlen=MOST_CHECKS_KEPT)
        self.follows = False

    @property
    def average_seconds(self) -> float | None:
        """Of the checks that are kept and passed."""
        took = [check.took for check in self.checks if check.passed]
        return sum(took) / len(took) if took else None

    def answered(self, status: int, now: float) -> None:
        """A request that was sent there was answered with this status."""
        policy = self.group.upstream.ejection
        if status in policy.failure_statuses:
            self.group.failed(self, f"it answered {status}", now)
        else:
            self.health.succeeded(now)

    def failed(self, cause: str, now: float) -> None:
        """A request that was sent there got no answer, by the target's fault."""
        self.group.failed(self, cause, now)

    def checked(self, result: CheckResult, now: float) -> None:
        """A health check came to this end."""
        self.group.checked(self, result, now)


class TargetGroup:
    """The targets of one service as one configuration has them. `tell` hears of every change of a target's status."""

    def __init__(
        self, upstream: Upstream, known: Mapping[str, Member], random: Random, tell: Callable[..., None]
    ) -> None:
        self.upstream = upstream
        self.members: dict[str, Member] = {}
        self._random = random
        self._tell = tell
        self._balancer: Balancer[Member] | None = None  # made when it is first needed
        self._asked: Sequence[Member] | None = None  # who may be asked, None when that is to be found out
        self._next_return = math.inf  # when the next ejected one is back
        for target in upstream.targets:
            member = known.get(target.name) or Member(target)
            member.target, member.weight, member.group = target, target.weight, self
            self.members[target.name] = member

    def choose(self, key: bytes, tried: Collection[Target], now: float) -> Member | None:
        """Whom to send a request with this key, if possible one that was not tried; None when none is healthy, and the
        service says that this is the end.
        """
        asked = self.asked(now)
        if not asked:
            return None
        method = self.upstream.load_balancing
        if tried:
            fresh = [member for member in asked if member.target not in tried]
            return choose_once(method, fresh or asked, key, self._random)
        if self._balancer is None:
            self._balancer = balancer(method, asked, self._random)
        return self._balancer.choose(key)

    def copy(self, tell: Callable[..., None]) -> "TargetGroup":
        """One that goes on by itself from here, chance included."""
        random = copy(self._random)
        other = TargetGroup(self.upstream, {}, random, tell)
        for name, member in self.members.items():
            twin = other.members[name]
            twin.health, twin.in_flight, twin.follows = copy(member.health), member.in_flight, member.follows
        other._next_return = self._next_return
        if self._asked is not None:
            asked = other._asked = tuple(other.members[member.name] for member in self._asked)
            if self._balancer is not None:
                other._balancer = continued(self._balancer, self.upstream.load_balancing, asked, random)
        return other

    def asked(self, now: float) -> Sequence[Member]:
        """Those that requests are sent to at the moment."""
        if now >= self._next_return:
            self._readmit(now)
        if self._asked is None:
            every = tuple(self.members.values())
            self._asked = tuple(member for member in every if not self._is_out(member, now))
            self._balancer = None
            if not self._asked and self.upstream.tries_all:
                self._asked = every
            self._next_return = min(
                (one.health.ejected_until for one in every if one.health.ejected_until > now), default=math.inf
            )
        return self._asked

    def retry_after(self, now: float) -> float:
        """Seconds until one may be healthy again, as far as is known."""
        return max(0.0, min(self._next_return - now, self.upstream.checks.interval))

    def health(self, now: float) -> Overall:
        """How the service is, by its targets."""
        self.asked(now)
        return overall([member.health.status(now) for member in self.members.values()])

    def failed(self, member: Member, cause: str, now: float) -> None:
        """A request to this member failed; that may eject it."""
        policy = self.upstream.ejection
        if not policy.enabled or not member.health.failed(policy) or self._is_out(member, now):
            return
        if not self._can_spare_one(now):
            return
        before, failures = member.health.status(now), member.health.failures
        away, member.follows = member.health.eject(policy, now), False
        self._asked = None
        self._note(member, before, now, f"{failures} failures in a row: {cause}; left alone for {away:g} s")

    def follow(self, member: Member, until: float, away: float, now: float) -> bool:
        """Another process's traffic has ejected it, and tells so. Whether that was news here, and was obeyed."""
        if not self.upstream.ejection.enabled or until <= max(now, member.health.ejected_until):
            return False
        if not self._is_out(member, now) and not self._can_spare_one(now):
            return False
        member.health.follow(until, away)
        member.follows = True
        self._asked = None
        return True

    def _can_spare_one(self, now: float) -> bool:
        """Whether those that would be left can carry the others' load, by what the policy says."""
        out = sum(self._is_out(one, now) for one in self.members.values())
        return out + 1 <= int(self.upstream.ejection.largest_share * len(self.members))

    def checked(self, member: Member, result: CheckResult, now: float) -> None:
        """A check of this member came to this end; that may take it out or bring it back."""
        self.asked(now)  # whoever is back is told of first
        before, was_out = member.health.status(now), self._is_out(member, now)
        member.checks.append(result)
        member.health.checked(self.upstream.checks, passed=result.passed)
        if self._is_out(member, now) is not was_out:
            self._asked = None
        self._note(member, before, now, result.detail)

    def _is_out(self, member: Member, now: float) -> bool:
        unhealthy = member.health.checked_status is TargetStatus.UNHEALTHY and self.upstream.checks.enabled
        return unhealthy or now < member.health.ejected_until

    def _readmit(self, now: float) -> None:
        self._asked = None
        self._next_return = math.inf
        for member in self.members.values():
            if 0.0 < member.health.ejected_until <= now:
                member.health.returned()
                if not member.follows:
                    self._note(member, TargetStatus.EJECTED, now, "it is asked again")
                member.follows = False

    def _note(self, member: Member, before: TargetStatus, now: float, reason: str) -> None:
        after = member.health.status(now)
        if after is not before:
            self._tell(self.upstream.id, member.name, before.value, after.value, reason)


class MemoryTargets:
    """One group of targets per service. `listeners` are told of changes; `wall` is seconds since the epoch."""

    def __init__(
        self,
        *,
        wall: Callable[[], float] = time.time,
        random: Random | None = None,
        listeners: Sequence[EventListener] = (),
    ) -> None:
        self._groups: dict[str, TargetGroup] = {}
        self._wall = wall
        self._random = random or Random()  # noqa: S311  whoever can guess it knows which target comes next, no more
        self._listeners = listeners

    def of(self, upstream: Upstream) -> TargetGroup:
        """The service's targets, with this configuration in force."""
        group = self._groups.get(upstream.id)
        if group is None or group.upstream is not upstream:
            known = {} if group is None else group.members
            group = self._groups[upstream.id] = TargetGroup(upstream, known, self._random, self._note)
        return group

    def ejections(self, now: float) -> Iterator[Ejection]:
        """Those that are in force."""
        for service_id, group in self._groups.items():
            for name, member in group.members.items():
                if member.health.ejected_until > now:
                    yield Ejection(service_id, name, member.health.ejected_until, member.health.away)

    def follow(self, upstream: Upstream, ejection: Ejection, now: float) -> bool:
        """Another process's traffic has ejected a target of this service. Whether that was news, and was obeyed."""
        group = self.of(upstream)
        member = group.members.get(ejection.target)
        return member is not None and group.follow(member, ejection.until, ejection.away, now)

    def look(self, upstream: Upstream, tell: Callable[..., None]) -> TargetGroup:
        """A copy of what `of` would answer, which is left as it is. Changes of the copy are told to `tell`."""
        group = self._groups.get(upstream.id)
        known = {} if group is None else group.copy(tell).members
        if group is not None and group.upstream is upstream:
            return group.copy(tell)
        return TargetGroup(upstream, known, copy(self._random), tell)

    def keep_only(self, service_ids: Collection[str]) -> None:
        for service_id in [service_id for service_id in self._groups if service_id not in service_ids]:
            del self._groups[service_id]

    def _note(self, service_id: str, target: str, before: str, after: str, reason: str) -> None:
        event = Event("target", service_id, target, before, after, self._wall(), reason)
        for listener in self._listeners:
            listener(event)
