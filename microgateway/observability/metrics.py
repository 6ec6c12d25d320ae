"""What is known of the traffic: what has happened since the start, and in any window of the last day.

The counting is `counting.py`'s. Once a second, and whenever somebody asks, `fold` takes what was counted since and adds
it to the totals since the start (Prometheus's) and to the windows: of everything, and by service, route, key, status.
So whoever asks sees every exchange that was handed over by then, and all views are sums of the same counts.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from microgateway.core import histogram
from microgateway.core.rolling import Closed, Rolling, Tally
from microgateway.observability.cells import Cell, KeyCell, RouteCells, RuleCell
from microgateway.observability.counting import OTHER, Counting
from microgateway.observability.outcomes import OUTCOMES
from microgateway.observability.runs import Run
from microgateway.observability.usage import Usage

# The places of a tally's counts, behind the outcomes, and of its histograms
MICROSECONDS, UPSTREAM_MICROSECONDS, OVERHEAD_MICROSECONDS = range(len(OUTCOMES), len(OUTCOMES) + 3)
COUNTS = len(OUTCOMES) + 3
DURATION, UPSTREAM, OVERHEAD = range(3)
LIMITED_BY_RULE, SHADOWED_BY_RULE = range(2)  # the places of a rule's counts
ALL_HISTOGRAMS = 3  # of everything and of services; routes, keys and statuses have durations only
MINUTE = 60  # seconds
FORGOTTEN_AFTER = 3_600  # seconds without traffic, when there is no room for another series


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most services, routes and keys, each, that are told apart, and kinds of exchanges in all."""

    series: int = 100
    cells: int = 10_000


class Series:
    """The windows of one service, route, key or status. `parent` is the name of a route's service."""

    __slots__ = ("id", "name", "parent", "rolling")

    def __init__(self, id: str, name: str, *, counts: int, histograms: int, parent: str = "") -> None:
        self.id = id
        self.name = name
        self.parent = parent
        self.rolling = Rolling(counts=counts, histograms=histograms)


class SeriesTable:
    """Series by id. When there are `most`, newcomers share the one called "other", until an idle one is forgotten."""

    def __init__(self, *, most: int, histograms: int, counts: int = COUNTS) -> None:
        self._most = most
        self._counts = counts
        self._histograms = histograms
        self._series: dict[str, Series] = {}

    def __iter__(self) -> Iterator[Series]:
        return iter(self._series.values())

    def get(self, series_id: str) -> Series | None:
        """None where there is none, as for those that share "other"."""
        return self._series.get(series_id)

    def obtain(self, series_id: str, name: str, parent: str = "") -> Series:
        """That of this id, under the names that it has now; made where there is room."""
        series = self._series.get(series_id)
        if series is None:
            if len(self._series) >= self._most and series_id != OTHER:
                return self.obtain(OTHER, OTHER)
            series = Series(series_id, name, counts=self._counts, histograms=self._histograms, parent=parent)
            self._series[series_id] = series
        series.name, series.parent = name, parent
        return series

    def forget_idle(self, now: int) -> None:
        """Where there is no room left."""
        if len(self._series) >= self._most:
            self.forget(series.id for series in self if series.rolling.last_used < now - FORGOTTEN_AFTER)

    def forget(self, series_ids: Iterable[str]) -> None:
        """Their windows are gone with them."""
        for series_id in list(series_ids):
            self._series.pop(series_id, None)


class _Tallies:
    """What one fold has for the series of one table."""

    def __init__(self, table: SeriesTable, histograms: int) -> None:
        self._table = table
        self._histograms = histograms
        self._tallies: dict[Series, Tally] = {}

    def of(self, series_id: str, name: str, parent: str = "") -> Tally:
        series = self._table.obtain(series_id, name, parent)
        tally = self._tallies.get(series)
        if tally is None:
            tally = self._tallies[series] = Tally(COUNTS, self._histograms)
        return tally

    def add(self, now: int) -> None:
        for series, tally in self._tallies.items():
            series.rolling.add(tally, now)


class Metrics:
    """Fed with batches of exchanges, read by everybody who tells of the traffic. Knows nothing of who feeds it.

    `usage` is told which routes were hit.
    """

    def __init__(self, *, bounds: Bounds, now: float, usage: Usage) -> None:
        self._began = self._restored_from = now
        self._usage = usage
        self.counting = Counting(most_routes=bounds.series, most_keys=bounds.series, most_cells=bounds.cells)
        self.total = Rolling(counts=COUNTS, histograms=ALL_HISTOGRAMS)
        self.services = SeriesTable(most=bounds.series, histograms=ALL_HISTOGRAMS)
        self.routes = SeriesTable(most=bounds.series, histograms=1)
        self.keys = SeriesTable(most=bounds.series, histograms=1)
        self.statuses = SeriesTable(most=bounds.series, histograms=1)
        self.rules = SeriesTable(most=bounds.series, counts=2, histograms=0)
        self._pruned = int(now)

    def count(self, runs: Sequence[Run]) -> None:
        """Counts each exchange of these runs, once."""
        self.counting.count(runs)

    def known_since(self, slot_seconds: int) -> float:
        """Seconds since the epoch, before which nothing is known in slots of this length."""
        return self._restored_from if slot_seconds >= MINUTE else self._began

    def fold(self, now: float) -> None:
        """Takes what was counted since the last fold as having happened in this second of the epoch."""
        second = int(now)
        counting = self.counting
        if counting.dirty:
            self._fold_cells(counting.dirty, second)
            counting.dirty.clear()
            self._usage.hit(counting.take_hits(), second)
        if counting.dirty_keys:
            self._fold_keys(counting.dirty_keys, second)
            counting.dirty_keys.clear()
        for rule in counting.all_rules():
            if rule.limited or rule.shadowed:
                self._fold_rule(rule, second)
        if second - self._pruned >= MINUTE:
            self._pruned = second
            self._prune(second)

    def restore(self, service_id: str, name: str, closed: Closed, seconds: int) -> None:
        """A slot of so many seconds that an earlier process saw, of everything where the id is empty.

        The oldest first, longer slots before shorter ones, and all before the first fold.
        """
        self._restored_from = min(self._restored_from, closed.start)
        rolling = self.services.obtain(service_id, name).rolling if service_id else self.total
        rolling.restore(closed, seconds)

    def keep_services(self, service_ids: Collection[str], now: float) -> None:
        """Forgets services, and their routes, that are not configured any more. Their part of the windows stays."""
        self.fold(now)
        gone = {series.id for series in self.services} - {*service_ids, OTHER}
        self.services.forget(gone)
        self.routes.forget(route.route_id for route in self.counting.routes.values() if route.service_id in gone)
        self.counting.forget_routes(lambda route: route.service_id in gone)

    def _fold_cells(self, cells: Sequence[Cell], second: int) -> None:
        total = Tally(COUNTS, ALL_HISTOGRAMS)
        services = _Tallies(self.services, ALL_HISTOGRAMS)
        routes, statuses = _Tallies(self.routes, 1), _Tallies(self.statuses, 1)
        touched: dict[int, RouteCells] = {}
        for cell in cells:
            route = cell.route
            touched[id(route)] = route
            tallies = [total, statuses.of(str(cell.status), str(cell.status))]
            if route.service_id:
                tallies.append(services.of(route.service_id, route.service))
                tallies.append(routes.of(route.route_id, route.route, route.service))
            for tally in tallies:
                _add_cell(tally, cell)
            cell.settle()
        for route in touched.values():
            for tally in (total, services.of(route.service_id, route.service)) if route.service_id else (total,):
                _add_route(tally, route)
            route.settle()
        self.total.add(total, second)
        for tallies_of in (services, routes, statuses):
            tallies_of.add(second)

    def _fold_keys(self, cells: Sequence[KeyCell], second: int) -> None:
        keys: defaultdict[Series, Tally] = defaultdict(lambda: Tally(COUNTS, 1))
        for cell in cells:
            tally = keys[self.keys.obtain(cell.key_id, cell.name)]
            tally.add_counts(cell.outcomes)
            tally.counts[MICROSECONDS] += cell.microseconds
            histogram.add(tally.histograms[DURATION], cell.durations)
            cell.settle()
        for series, tally in keys.items():
            series.rolling.add(tally, second)

    def _fold_rule(self, rule: RuleCell, second: int) -> None:
        tally = Tally(counts=2, histograms=0)
        tally.counts[LIMITED_BY_RULE], tally.counts[SHADOWED_BY_RULE] = rule.limited, rule.shadowed
        self.rules.obtain(rule.rule_id, rule.name).rolling.add(tally, second)
        rule.settle()

    def _prune(self, second: int) -> None:
        for table in (self.services, self.routes, self.keys, self.statuses, self.rules):
            table.forget_idle(second)
        self.counting.forget_keys(lambda key: self.keys.get(key.key_id) is None)
        self.counting.forget_routes(lambda route: self.routes.get(route.route_id) is None)
        self.counting.forget_rules(lambda rule: self.rules.get(rule.rule_id) is None)


def requests_of(tally: Tally) -> int:
    """How many exchanges are in it."""
    return sum(tally.counts[: len(OUTCOMES)])


def _add_cell(tally: Tally, cell: Cell) -> None:
    tally.counts[cell.outcome] += cell.requests
    tally.counts[MICROSECONDS] += cell.microseconds
    histogram.add(tally.histograms[DURATION], cell.durations)


def _add_route(tally: Tally, route: RouteCells) -> None:
    tally.counts[UPSTREAM_MICROSECONDS] += route.upstream_microseconds
    tally.counts[OVERHEAD_MICROSECONDS] += route.overhead_microseconds
    histogram.add(tally.histograms[UPSTREAM], route.upstream)
    histogram.add(tally.histograms[OVERHEAD], route.overhead)
