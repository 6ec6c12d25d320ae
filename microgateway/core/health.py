"""Whether a target is well: by checks that ask it from time to time, and by what comes of real traffic.

Checks say `unknown`, `healthy` or `unhealthy`. The status changes after so many checks in a row that disagree with it,
and while they disagree they come in quicker succession, so that a change is decided within one interval of the first
sign of it. What is unknown is trusted, and its first good check makes it healthy.

Traffic ejects: after so many failures in a row a target is left alone for a while, each time for twice as long, up to a
limit. Once it has done well for as long as it was away, the past is forgotten.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from typing import Literal

MOST_DOUBLINGS = 30

Overall = Literal["unknown", "healthy", "degraded", "unhealthy"]


class TargetStatus(Enum):
    """By checks, but for `EJECTED`, which traffic decides and which goes before."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    EJECTED = "ejected"


@dataclass(frozen=True, slots=True)
class CheckPolicy:
    """How a service's targets are asked. `interval` and `timeout` are seconds; `jitter` is a share of the interval.

    Not `enabled`: they are asked only by hand, and the answers decide nothing.
    """

    path: bytes = b"/health"
    enabled: bool = True
    interval: float = 10.0
    timeout: float = 2.0
    healthy_threshold: int = 2
    unhealthy_threshold: int = 3
    expected: frozenset[int] = frozenset(range(200, 500))
    jitter: float = 0.1


@dataclass(frozen=True, slots=True)
class EjectionPolicy:
    """When real traffic takes a target out. `seconds` is for the first time, `longest` the most; `largest_share` of the
    targets may be out together, rounded down.
    """

    enabled: bool = True
    consecutive_failures: int = 5
    seconds: float = 30.0
    longest: float = 300.0
    largest_share: float = 0.5
    failure_statuses: frozenset[int] = frozenset(range(500, 600))


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check found. `at` is seconds since the epoch, `took` seconds; `status` None: there was no answer."""

    passed: bool
    at: float
    took: float
    status: int | None
    detail: str


class TargetHealth:
    """What is known of one target. `failures` are those of traffic, in a row; `now` is monotonic seconds."""

    __slots__ = ("_away", "_disagreeing", "_ejections", "_returned_at", "checked_status", "ejected_until", "failures")

    def __init__(self) -> None:
        self.checked_status = TargetStatus.UNKNOWN
        self._disagreeing = 0
        self.failures = 0
        self.ejected_until = 0.0
        self._ejections = 0
        self._returned_at = 0.0
        self._away = 0.0  # how long it was ejected the last time

    def status(self, now: float) -> TargetStatus:
        """What is said of it at `now`."""
        return TargetStatus.EJECTED if now < self.ejected_until else self.checked_status

    def checked(self, policy: CheckPolicy, *, passed: bool) -> None:
        """One more check."""
        if passed is (self.checked_status is TargetStatus.HEALTHY) and self.checked_status is not TargetStatus.UNKNOWN:
            self._disagreeing = 0
            return
        if passed and self.checked_status is TargetStatus.UNKNOWN:
            self._disagreeing, self.checked_status = 0, TargetStatus.HEALTHY
            return
        self._disagreeing += 1
        if self._disagreeing >= self._needed(policy):
            self._disagreeing = 0
            self.checked_status = TargetStatus.HEALTHY if passed else TargetStatus.UNHEALTHY

    def next_check_in(self, policy: CheckPolicy, chance: float) -> float:
        """Seconds; `chance` is between 0 and 1."""
        delay = policy.interval / self._needed(policy) if self._disagreeing else policy.interval
        return delay * (1 + policy.jitter * (2 * chance - 1))

    def succeeded(self, now: float) -> None:
        """A request went well."""
        self.failures = 0
        if self._ejections and now >= max(self.ejected_until, self._returned_at) + self._away:
            self._ejections = 0

    def failed(self, policy: EjectionPolicy) -> bool:
        """A request did not; whether that is enough to eject it."""
        self.failures += 1
        return self.failures >= policy.consecutive_failures

    def eject(self, policy: EjectionPolicy, now: float) -> float:
        """For how many seconds."""
        self._away = min(policy.longest, policy.seconds * 2 ** min(self._ejections, MOST_DOUBLINGS))
        self._ejections += 1
        self.failures = 0
        self.ejected_until = now + self._away
        return self._away

    def follow(self, until: float, away: float) -> None:
        """The same where another process has ejected it, until then and for so many seconds."""
        self._away = away
        self._ejections += 1
        self.failures = 0
        self.ejected_until = until

    @property
    def away(self) -> float:
        """For how many seconds it was ejected the last time."""
        return self._away

    def returned(self) -> None:
        """Its time away is over."""
        self._returned_at, self.ejected_until = self.ejected_until, 0.0

    def _needed(self, policy: CheckPolicy) -> int:
        healthy = self.checked_status is TargetStatus.UNHEALTHY
        return policy.healthy_threshold if healthy else policy.unhealthy_threshold


def overall(statuses: Collection[TargetStatus]) -> Overall:
    """How a service is with targets like these."""
    bad = sum(status in (TargetStatus.UNHEALTHY, TargetStatus.EJECTED) for status in statuses)
    if bad:
        return "unhealthy" if bad == len(statuses) else "degraded"
    return "healthy" if TargetStatus.HEALTHY in statuses else "unknown"
