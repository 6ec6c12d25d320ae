"""The configurations of a replay: for each version that served rows, what they are judged under, made once."""

from collections import Counter
from dataclasses import dataclass

from microgateway.control_plane.gateway_replays import ServedVersion
from microgateway.control_plane.judging import Judging
from microgateway.core.limit_rules import CountBy
from microgateway.persistence.log_stream import LoggedRequest
from microgateway.simulation.logged import LoggedHeads
from microgateway.snapshot import Snapshot

MOST_KEPT = 8  # rows of several are read at once where workers take a change one after the other
MOST_TOLD = 1_000


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """One version. Rows that name it become requests by `heads`, and are judged under `snapshot`."""

    version: int | None
    is_known: bool
    snapshot: Snapshot
    heads: LoggedHeads
    complaint: str


class Versions:
    """All that rows name, as far as they are needed, and how many rows of the period name which."""

    def __init__(self, judging: Judging) -> None:
        self._judging = judging
        self._made: dict[int | None, Served] = {}
        self._under = self._apart = Snapshot()  # the latest, and the same apart from traffic
        self._rows: Counter[int | None] = Counter()
        self._unknown = 0
        self._is_known: dict[int | None, bool] = {}
        self._complaints: Counter[str] = Counter()
        self._by_header: set[str] = set()

    async def of(self, rows: list[LoggedRequest]) -> dict[int | None, Served]:
        """Those that these name."""
        return {version: await self._of(version) for version in {row.configuration_version for row in rows}}

    async def _of(self, version: int | None) -> Served:
        served = self._made.get(version)
        if served is None:
            if len(self._made) >= MOST_KEPT:
                del self._made[next(iter(self._made))]
            served = self._made[version] = await self._make(version)
        return served

    async def _make(self, version: int | None) -> Served:
        served, under, complaint = await self._judging(version)
        self._is_known[version] = served is not None
        limits = [placed.rule for placed in under.limits.values() if placed.rule is not None]
        self._by_header.update(rule.name for rule in limits if rule.count_by is CountBy.HEADER)
        heads = LoggedHeads((under if served is None else served).routes, under.routes)
        if under is not self._under:
            self._under, self._apart = under, under.apart()
        return Served(version, served is not None, self._apart, heads, complaint)

    def count(self, served: Served) -> None:
        """One row of the period is judged."""
        self._rows[served.version] += 1
        self._unknown += not served.is_known
        if served.complaint:
            self._complaints[served.complaint] += 1

    def told(self) -> list[ServedVersion]:
        """The newest last."""
        newest = sorted(self._rows, key=lambda version: version or 0)[-MOST_TOLD:]
        return [
            ServedVersion(version=version, rows=self._rows[version], is_kept=self._is_known[version])
            for version in newest
        ]

    def unknown(self) -> list[tuple[int, str]]:
        """What is not as it was then, and of how many rows, or rules, that is so."""
        said = [
            (self._unknown, "were served by a configuration that is not kept: that in force is taken for it"),
            (
                len(self._by_header),
                f"rules count by a header that the log does not keep, and are not applied: {sorted(self._by_header)}",
            ),
        ]
        return said + [
            (rows, f"were served by versions in which the change makes no sense, and are judged without it: {why}")
            for why, rows in self._complaints.most_common(3)
        ]
