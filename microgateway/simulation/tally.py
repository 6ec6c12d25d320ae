"""What came of many requests: counts, durations, who was refused, and what happened when."""

from collections import Counter
from collections.abc import Iterable

from microgateway.control_plane.gateway_batches import Counted, Group, Happening, Percentiles, TokenSeries
from microgateway.core.histogram import bin_of, percentiles
from microgateway.core.limit_rules import LimitRule
from microgateway.core.token_bucket import NANOSECONDS, TOKEN
from microgateway.exchange import Event, Exchange
from microgateway.simulation.over_time import OutcomesOverTime
from microgateway.snapshot import Principal
from microgateway.state.interfaces import Limiter
from microgateway.state.limits import Claim

MOST_GROUPS = 1_000
MOST_HAPPENINGS = 1_000
MOST_SERIES = 20
MICROSECONDS = 1_000_000.0


class _Counts:
    """Of one key or one service."""

    __slots__ = ("answered", "errors", "limited", "name", "requests")

    def __init__(self, name: str) -> None:
        self.name = name
        self.requests = self.answered = self.limited = self.errors = 0

    def count(self, exchange: Exchange) -> None:
        self.requests += 1
        self.answered += exchange.upstream_status > 0
        self.limited += exchange.stage == "rate_limit"
        self.errors += exchange.status >= 500


class Tally:
    """A recorder of exchanges, and a listener of events. `began` is the world's time at which it all began.

    `wall_began` is the same moment in seconds since the epoch; for so many `seconds` requests come.
    """

    def __init__(self, *, began: float, wall_began: float, seconds: float) -> None:
        self._began = began
        self._wall_began = wall_began
        self._counts: Counter[tuple[int, str, str]] = Counter()
        self._durations: Counter[int] = Counter()
        self._longest = 0.0
        self._sum = 0.0
        self._keys: dict[str, _Counts] = {}
        self._services: dict[str, _Counts] = {}
        self._happenings: list[Happening] = []
        self.over_time = OutcomesOverTime(seconds)
        self.requests = self.admitted = self.retries = 0

    def record(self, exchange: Exchange) -> None:
        """One exchange has ended."""
        self.requests += 1
        outcome = (exchange.status, exchange.stage or "proxy", exchange.code)
        if outcome not in self._counts and exchange.stage:
            self._note_first(exchange)
        self._counts[outcome] += 1
        self.over_time.count(exchange.ended - self._began, exchange.status, exchange.stage)
        took = max(0.0, exchange.ended - exchange.started)
        self._durations[bin_of(int(took * MICROSECONDS))] += 1
        self._sum += took
        self._longest = max(self._longest, took)
        if exchange.attempts:
            self.admitted += 1
            self.retries += exchange.attempts - 1
        if (principal := exchange.principal) is not None:
            _of(self._keys, principal.id, principal.name).count(exchange)
        if (destination := exchange.destination) is not None:
            _of(self._services, destination.upstream.id, destination.upstream.name).count(exchange)

    def note(self, event: Event) -> None:
        """A circuit or a target is in another state."""
        if len(self._happenings) < MOST_HAPPENINGS:
            self._happenings.append(self.happening(event))

    def happening(self, event: Event) -> Happening:
        return Happening(
            at=round(event.at - self._wall_began, 6),
            what=event.kind,
            name=f"{event.service_id} {event.target}".strip(),
            before=event.before,
            after=event.after,
            reason=event.reason,
        )

    def _note_first(self, exchange: Exchange) -> None:
        who = "" if exchange.principal is None else f" of {exchange.principal.name!r}"
        self._happenings.append(
            Happening(
                at=round(exchange.ended - self._began, 6),
                what="first",
                name=exchange.code,
                before=None,
                after=str(exchange.status),
                reason=f"{exchange.method.decode('latin-1')} {exchange.path.decode('latin-1')}{who}",
            )
        )

    def counts(self) -> list[Counted]:
        """How often each outcome came, the most frequent first."""
        return [
            Counted(status=status, stage=stage, code=code or None, requests=number)
            for (status, stage, code), number in self._counts.most_common()
        ]

    def latency(self) -> Percentiles:
        """Of all exchanges, in milliseconds."""
        p50, p95, p99 = (each / 1_000 for each in percentiles(self._durations, 0.5, 0.95, 0.99))
        mean = self._sum / self.requests if self.requests else 0.0
        return Percentiles(p50=p50, p95=p95, p99=p99, mean=mean * 1_000, longest=self._longest * 1_000)

    def timeline(self, more: Iterable[Happening] = ()) -> list[Happening]:
        """What happened, and these too, in order of time."""
        return sorted([*self._happenings, *more], key=lambda happening: happening.at)

    def keys(self) -> list[Group]:
        return _groups(self._keys)

    def services(self) -> list[Group]:
        return _groups(self._services)


class TokenWatch:
    """Looks now and then at the buckets that requests were judged by: the first `MOST_SERIES` that were met."""

    def __init__(self, limiter: Limiter, *, began: float) -> None:
        self._limiter = limiter
        self._began = began
        self._claims: dict[tuple[str, str | bytes], Claim] = {}
        self._series: dict[tuple[str, str | bytes], list[tuple[float, float]]] = {}

    def meet(self, exchange: Exchange) -> None:
        """The buckets that this exchange was judged by are looked at from now on."""
        judgement = exchange.judgement
        if judgement is None or len(self._claims) >= MOST_SERIES:
            return
        limit, principal = judgement.limited_by, judgement.principal
        if principal is not None:
            self._claims.setdefault((Principal.space, principal.id), (principal, principal.id))
        if isinstance(limit, LimitRule) and limit.count_by.value == "all":
            self._claims.setdefault((limit.space, ""), (limit, ""))

    def look(self, now: float) -> None:
        """How full each is at `now`."""
        instant = int(now * NANOSECONDS)
        for place, (limiting, subject) in self._claims.items():
            level = self._limiter.look(limiting, subject, now).peek(instant).level
            self._series.setdefault(place, []).append((round(now - self._began, 3), round(level / TOKEN, 3)))

    def series(self) -> list[TokenSeries]:
        """What was seen of each."""
        return [
            TokenSeries(limit=self._claims[place][0].name, subject=str(place[1]), tokens=points)
            for place, points in self._series.items()
        ]


def _of(groups: dict[str, _Counts], group_id: str, name: str) -> _Counts:
    counts = groups.get(group_id)
    if counts is None:
        if len(groups) >= MOST_GROUPS:
            group_id, name = "", "all others"
        counts = groups.setdefault(group_id, _Counts(name))
    return counts


def _groups(counts: dict[str, _Counts]) -> list[Group]:
    """The busiest first."""
    return [
        Group(
            id=group_id,
            name=one.name,
            requests=one.requests,
            answered=one.answered,
            limited=one.limited,
            errors=one.errors,
        )
        for group_id, one in sorted(counts.items(), key=lambda item: -item[1].requests)
    ]
