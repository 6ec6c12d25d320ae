"""The log of a period, judged again under another configuration, in the time in which it happened.

Every row goes through the data plane's own judgement, with buckets and circuits of its own. What the service did with a
request is in the log, and the circuit hears of it when it happened; of a request that was refused then and would pass
now, nobody knows what would have come of it, and that is said. Rows are in the log in the order in which they ended, so
some are held back until all have come that may have begun before them.
"""

import asyncio
import heapq
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count

from microgateway.control_plane.gateway_replays import Against, Changed, KeyChange, ReplayAnswer, ReplayExample, Unknown
from microgateway.control_plane.jobs import Progress
from microgateway.control_plane.judging import Judging
from microgateway.core.circuit import Permit
from microgateway.core.limit_rules import LimitRule
from microgateway.data_plane.pipeline import State, decide
from microgateway.exchange import Judgement, Problem
from microgateway.observability.recorder import CODES_OF_THE_SERVICE
from microgateway.persistence.log_stream import LoggedRequest, LogStream
from microgateway.simulation.logged import FORWARDED, PREFLIGHT, LoggedCredentials, outcome_of
from microgateway.simulation.versions import Served, Versions
from microgateway.snapshot import Snapshot
from microgateway.state.limits import MemoryLimiter
from microgateway.state.memory import MemoryCircuits

HORIZON = 30.0  # seconds that a row is waited for that began before one that ended earlier
MOST_HELD = 100_000  # rows that are held back for that
LONGEST = 600.0  # seconds; what takes longer, as a stream does, has told its circuit before
SWEPT_AFTER = 256  # rows
AT_A_TIME = 32  # rows between two looks at the clock
SLICE = 0.002  # seconds of this machine's time, after which traffic has its turn
MOST_GROUPS = 1_000
MOST_EXAMPLES = 3
SWITCHED = 101


class Replay:
    """One replay, of rows from `since` on; those before are to warm up with."""

    def __init__(self, *, versions: Versions, since: float) -> None:
        self._versions = versions
        self._snapshot = Snapshot()
        self._newest = 0
        self._since = since
        self._credentials = LoggedCredentials()
        self._circuits = MemoryCircuits(wall=lambda: self._now)
        self._state = State(MemoryLimiter(), self._circuits, self._credentials)
        self._now = 0.0
        self._held: list[tuple[float, int, LoggedRequest, Served]] = []
        self._answers: list[tuple[float, int, Permit, LoggedRequest]] = []
        self._numbers = count()
        self._differences = Differences()
        self._rows = self._warm_up = self._skipped = self._unknown_upstream = self._conditional = self._late = 0

    def feed(self, rows: list[LoggedRequest], served: Mapping[int | None, Served]) -> None:
        """`served` are the versions that these name."""
        held = self._held
        for row in rows:
            heapq.heappush(held, (row.timestamp, row.id, row, served[row.configuration_version]))
            horizon = row.timestamp + row.latency_ms / 1_000 - HORIZON
            while held and (held[0][0] < horizon or len(held) > MOST_HELD):
                _, _, oldest, version = heapq.heappop(held)
                self._judge(oldest, version)

    def finish(self) -> None:
        """Judges what was held back: no more rows come."""
        while self._held:
            _, _, oldest, version = heapq.heappop(self._held)
            self._judge(oldest, version)

    def answer(self, *, against: Against, until: float, took: float, complete: bool) -> ReplayAnswer:
        """What came of it; `took` is seconds."""
        return ReplayAnswer(
            against=against,
            since=self._since,
            until=until,
            rows=self._rows,
            warm_up_rows=self._warm_up,
            changed=self._differences.total,
            changes=self._differences.changes(),
            keys=self._differences.keys(),
            unknown=self._unknown(),
            versions=self._versions.told(),
            took_seconds=round(took, 3),
            is_complete=complete,
        )

    def _judge(self, row: LoggedRequest, served: Served) -> None:
        if row.timestamp < self._now:
            self._late += 1  # it was not waited for any longer; a clock never goes back
        self._now = now = max(self._now, row.timestamp)
        answers = self._answers
        while answers and answers[0][0] <= now:
            at, _, permit, answered = heapq.heappop(answers)
            _settle(permit, answered, at)
        in_period = row.timestamp >= self._since
        self._count(in_period)
        head = served.heads.of(row)
        if head is None:
            self._skipped += in_period
            return
        snapshot = served.snapshot
        if snapshot is not self._snapshot and (served.version or 0) >= self._newest:
            self._newest = served.version or 0
            self._adopt(snapshot)
        self._credentials.row = row
        judgement, _ = decide(head, row.client_ip, snapshot, self._state, now, now)
        before, outcome = outcome_of(row), judgement.outcome
        if isinstance(outcome, Permit):
            self._expect_answer(outcome, row, now, is_known=before == FORWARDED, in_period=in_period)
        if in_period:
            self._versions.count(served)
            self._conditional += served.heads.has_conditions(row)
            self._differences.compare(row, before, judgement)

    def _adopt(self, snapshot: Snapshot) -> None:
        """As the data plane does. Workers may have an older one for a moment: rows that name it are judged by that."""
        before, self._snapshot = self._snapshot, snapshot
        if before.limits.keys() - snapshot.limits.keys():
            self._state.limiter.keep_only(snapshot.limits.keys())
        if before.upstreams is not snapshot.upstreams:
            policies = {service_id: upstream.circuit for service_id, upstream in snapshot.upstreams.items()}
            self._circuits.adopt(policies, self._now)

    def _count(self, in_period: bool) -> None:
        self._rows += in_period
        self._warm_up += not in_period
        if (self._rows + self._warm_up) % SWEPT_AFTER == 0:
            self._state.limiter.sweep(self._now)

    def _expect_answer(
        self, permit: Permit, row: LoggedRequest, now: float, *, is_known: bool, in_period: bool
    ) -> None:
        if not is_known:
            self._unknown_upstream += in_period
            permit.circuit.abandoned(permit)
            return
        took = 0.0 if row.upstream_status == SWITCHED else min(row.latency_ms / 1_000, LONGEST)
        heapq.heappush(self._answers, (now + took, next(self._numbers), permit, row))

    def _unknown(self) -> list[Unknown]:
        """What the log does not say, as far as it mattered."""
        said = [
            (self._skipped, "made no sense, or had a path that the log has cut off; they were left out"),
            (self._unknown_upstream, "were refused then and would pass: what the service would answer is not known"),
            (self._conditional, "met conditions on Host or header fields: they are taken to meet those of their route"),
            (self._credentials.assumed, "came without a key to what now needs one: they are taken to have none"),
            (self._late, f"took longer than {HORIZON:g} s and are judged later than they came"),
            *self._versions.unknown(),
        ]
        return [Unknown(requests=number, what=what) for number, what in said if number]


Place = tuple[str, str, str | None, str | None, str | None, str | None, str | None]
"""What requests have in common that come out otherwise: `before`, `after`, key and its name, both routes, the limit."""


class Differences:
    """What came out otherwise, in groups with examples."""

    def __init__(self) -> None:
        self.total = 0
        self._groups: dict[Place, Changed] = {}
        self._requests: Counter[tuple[str, str]] = Counter()
        self._limited_before: Counter[tuple[str, str]] = Counter()
        self._limited_after: Counter[tuple[str, str]] = Counter()
        self._first_limited: dict[tuple[str, str], float] = {}

    def compare(self, row: LoggedRequest, before: str, judgement: Judgement) -> None:
        """One row, what became of it then, and its judgement now."""
        outcome, destination = judgement.outcome, judgement.destination
        after = FORWARDED
        if isinstance(outcome, Problem):
            after = outcome.code or PREFLIGHT
        if row.key_id is not None:
            key = (row.key_id, row.key or "")
            self._requests[key] += 1
            self._limited_before[key] += before == "rate_limited"
            self._limited_after[key] += after == "rate_limited"
            if after == "rate_limited" != before:
                self._first_limited.setdefault(key, row.timestamp)
        moved = after == FORWARDED and destination is not None and destination.id != row.route_id
        if moved and destination is not None:  # a route that was made anew and does the same is no other one
            moved = (destination.path, destination.upstream.id) != (row.route, row.service_id)
        if before != after or moved:
            self._add(row, before, after, judgement)

    def _add(self, row: LoggedRequest, before: str, after: str, judgement: Judgement) -> None:
        self.total += 1
        limit, destination = judgement.limited_by, judgement.destination
        by = None if after != "rate_limited" or limit is None else limit.name if isinstance(limit, LimitRule) else "key"
        route = None if destination is None else destination.path
        place = (before, after, row.key_id, row.key, row.route, route, by)
        if place not in self._groups and len(self._groups) >= MOST_GROUPS:
            place = (before, after, None, None, None, None, None)
        group = self._groups.get(place)
        if group is None:
            group = self._groups[place] = _group(place, row.timestamp)
        group.requests += 1
        group.last_at = row.timestamp
        if len(group.examples) < MOST_EXAMPLES:
            group.examples.append(
                ReplayExample(id=row.id, timestamp=row.timestamp, method=row.method, path=row.path, status=row.status)
            )

    def changes(self) -> list[Changed]:
        """The groups, the largest first."""
        return sorted(self._groups.values(), key=lambda group: -group.requests)

    def keys(self) -> list[KeyChange]:
        """Those for which the number of refusals changes, the largest change first."""
        changed = [
            KeyChange(
                id=key[0],
                name=key[1],
                requests=number,
                limited_before=self._limited_before[key],
                limited_after=self._limited_after[key],
                first_at=self._first_limited.get(key),
            )
            for key, number in self._requests.items()
            if self._limited_before[key] != self._limited_after[key]
        ]
        return sorted(changed, key=lambda one: -abs(one.limited_after - one.limited_before))[:MOST_GROUPS]


@dataclass(frozen=True, slots=True)
class Period:
    """Seconds since the epoch; `warm_up` seconds before are gone through, too, and not compared."""

    since: float
    until: float
    warm_up: float


async def replay(
    stream: LogStream, period: Period, *, judging: Judging, against: Against, progress: Progress
) -> ReplayAnswer:
    """Goes through the log in bounded memory, and lets others have their turn."""
    began = turn = time.perf_counter()
    versions = Versions(judging)
    running = Replay(versions=versions, since=period.since)
    first = period.since - period.warm_up
    total, seen = await stream.count(first, period.until), 0
    async for piece in stream.pieces(first, period.until):
        served = await versions.of(piece)
        for start in range(0, len(piece), AT_A_TIME):
            running.feed(piece[start : start + AT_A_TIME], served)
            if time.perf_counter() - turn >= SLICE:
                await asyncio.sleep(0)
                turn = time.perf_counter()
        seen += len(piece)
        progress.share = min(1.0, seen / max(total, 1))
        if progress.is_cancelled:
            break
    running.finish()
    took = time.perf_counter() - began
    return running.answer(against=against, until=period.until, took=took, complete=not progress.is_cancelled)


def _group(place: Place, at: float) -> Changed:
    before, after, key_id, key, route, route_after, limit = place
    return Changed(
        before=before,
        after=after,
        key_id=key_id,
        key=key,
        route=route,
        route_after=route_after,
        limit=limit,
        requests=0,
        first_at=at,
        last_at=at,
        examples=[],
    )


def _settle(permit: Permit, row: LoggedRequest, at: float) -> None:
    """As the data plane does when an answer has ended."""
    circuit = permit.circuit
    if row.upstream_status:
        circuit.answered(permit, row.upstream_status, at, (row.upstream_ms or 0.0) / 1_000)
    elif row.code in CODES_OF_THE_SERVICE:
        circuit.failed(permit, at, row.code)
    else:
        circuit.abandoned(permit)
