"""The quick half of the metrics: counts every exchange once, into the one cell for its like.

A cell is for one route, method, status and code. A run of exchanges belongs to one cell and one key, and is added up in
local variables. Everything that is read later, by services, statuses, windows or Prometheus's labels, is added up from
cells, once a second or when somebody asks; nothing is counted a second time, so all of it agrees.

This is on the data plane's processor time, so what differs within a run is counted in one loop.
"""

from collections.abc import Callable, Iterable

from microgateway.core.histogram import BIN_OF_SMALL, SMALL, bin_of
from microgateway.core.limit_rules import LimitRule
from microgateway.exchange import Exchange, Judgement
from microgateway.observability.cells import Cell, KeyCell, RouteCells, RuleCell
from microgateway.observability.outcomes import LIMITED
from microgateway.observability.runs import Run
from microgateway.snapshot import Destination, Principal

METHODS = {
    name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")
}
OTHER_METHOD = "OTHER"
OTHER = "other"  # what shares a place because there were too many
UNMATCHED = "unmatched"  # the route and service of a request that got to none
OWN_LIMIT = "key"  # the limit that is the key's own, not a rule's
MOST_REMEMBERED = 10_000  # destinations and principals of snapshots that may be gone


class KnownDestination:
    """A destination of a snapshot, what it is counted by, and whether it was hit since somebody asked for the hits."""

    __slots__ = ("destination", "is_hit", "route")

    def __init__(self, destination: Destination, route: RouteCells) -> None:
        self.destination = destination
        self.route = route
        self.is_hit = False


class Counting:
    """All cells. They are bounded: past `most_routes`, `most_keys` (rules too) and `most_cells` newcomers share one."""

    def __init__(self, *, most_routes: int, most_keys: int, most_cells: int) -> None:
        self._most_routes = most_routes
        self._most_keys = most_keys
        self._most_cells = most_cells
        self.unmatched = RouteCells(route_id="", route=UNMATCHED, service_id="", service=UNMATCHED)
        self.other = RouteCells(route_id=OTHER, route=OTHER, service_id=OTHER, service=OTHER)
        self.routes: dict[tuple[str, str], RouteCells] = {}
        self.other_key = KeyCell(OTHER, OTHER)
        self.keys: dict[str, KeyCell] = {}
        self.own_limit = RuleCell("", OWN_LIMIT)
        self.other_rule = RuleCell(OTHER, OTHER)
        self.rules: dict[str, RuleCell] = {}
        self.limits_asked = 0  # exchanges that a limit was asked about
        self.cells = 0
        self.dirty: list[Cell] = []
        self.dirty_keys: list[KeyCell] = []
        self._by_destination: dict[int, KnownDestination] = {}
        self._hits: set[str] = set()
        self._by_principal: dict[Principal, KeyCell] = {}

    def count(self, runs: Iterable[Run]) -> None:
        """Each exchange of these runs, once. Durations are whole microseconds, from the request's head to the end."""
        for run in runs:
            first = run[0]
            judgement = first.judgement
            cell = self._cell(first)
            key: KeyCell | None = None
            if judgement is not None:
                self._count_limits(judgement, cell.outcome, len(run))
                if judgement.principal is not None:
                    key = self._key(judgement.principal)
                    key.outcomes[cell.outcome] += len(run)
            self._count_times(run, cell, key)
            if first.attempts > 1:
                _count_retries(run, cell.route)

    def _count_limits(self, judgement: Judgement, outcome: int, requests: int) -> None:
        if judgement.limited_by is not None:
            self.limits_asked += requests
        if outcome == LIMITED:
            self._rule(judgement.limited_by).limited += requests
        for rule in judgement.shadowed:
            self._rule(rule).shadowed += requests

    def _count_times(self, run: Run, cell: Cell, key: KeyCell | None) -> None:
        """What differs from one exchange to the next: the only part that each of them costs."""
        route, durations, bins = cell.route, cell.durations, BIN_OF_SMALL
        upstream, overhead = route.upstream, route.overhead if run[0].attempts == 1 else None
        durations_of_key = None if key is None else key.durations
        microseconds = upstream_microseconds = overhead_microseconds = bytes_in = bytes_out = 0
        for exchange in run:
            started, sent = exchange.started, exchange.sent
            duration = int((exchange.ended - started) * 1_000_000)
            number = bins[duration] if duration < SMALL else bin_of(duration)
            durations[number] += 1
            if durations_of_key is not None:
                durations_of_key[number] += 1
            microseconds += duration
            bytes_in += exchange.bytes_in
            bytes_out += exchange.bytes_out
            if sent:
                own = int((sent - started) * 1_000_000)
                rest = duration - own
                upstream[bins[rest] if rest < SMALL else bin_of(rest)] += 1
                upstream_microseconds += rest
                if overhead is not None:
                    overhead[bins[own] if own < SMALL else bin_of(own)] += 1
                    overhead_microseconds += own
        self.add(cell, len(run), microseconds, bytes_in, bytes_out)
        route.upstream_microseconds += upstream_microseconds
        route.overhead_microseconds += overhead_microseconds
        if key is not None:
            key.microseconds += microseconds

    def take_hits(self) -> set[str]:
        """The ids of routes that were hit since the last time, also of those that share a place with others."""
        hits, self._hits = self._hits, set()
        for known in self._by_destination.values():
            if known.is_hit:
                known.is_hit = False
                hits.add(known.destination.id)
        return hits

    def add_hits(self, route_ids: Iterable[str]) -> None:
        """Those that another process has taken out."""
        self._hits.update(route_ids)

    def all_rules(self) -> Iterable[RuleCell]:
        """The keys' own limits, and what all rules above the bound share, too."""
        return (self.own_limit, *self.rules.values(), self.other_rule)

    def all_routes(self) -> Iterable[RouteCells]:
        """Those of unknown routes and of all above the bound too."""
        return (*self.routes.values(), self.unmatched, self.other)

    def forget_routes(self, is_gone: Callable[[RouteCells], bool]) -> None:
        """What was counted for them since the start is gone with them. Called when nothing waits to be folded."""
        for name in [name for name, route in self.routes.items() if is_gone(route)]:
            self.cells -= len(self.routes.pop(name).cells)
        self._forget_destinations()

    def forget_keys(self, is_gone: Callable[[KeyCell], bool]) -> None:
        """What was counted for them since the start is gone with them."""
        for key_id in [key_id for key_id, cell in self.keys.items() if is_gone(cell)]:
            del self.keys[key_id]
        self._by_principal.clear()

    def forget_rules(self, is_gone: Callable[[RuleCell], bool]) -> None:
        """What was counted for them since the start is gone with them."""
        for rule_id in [rule_id for rule_id, cell in self.rules.items() if is_gone(cell)]:
            del self.rules[rule_id]

    def add(self, cell: Cell, requests: int, microseconds: int, bytes_in: int, bytes_out: int) -> None:
        """So many requests of this kind; `microseconds` is the sum of their durations, which are added apart."""
        if not cell.requests:
            self.dirty.append(cell)
        cell.requests += requests
        cell.microseconds += microseconds
        cell.bytes_in += bytes_in
        cell.bytes_out += bytes_out

    def _cell(self, exchange: Exchange) -> Cell:
        destination = exchange.destination
        route = self.unmatched if destination is None else self._route(destination)
        known = route.cells.get((exchange.method, exchange.status, exchange.code, exchange.stage))
        return known or self._new_cell(route, exchange)

    def _new_cell(self, route: RouteCells, exchange: Exchange) -> Cell:
        return self.obtain_cell(route, exchange.method, exchange.status, exchange.code, exchange.stage)

    def obtain_cell(self, route: RouteCells, method: bytes, status: int, code: str, stage: str) -> Cell:
        """Methods that are not usual, and cells past the bound, share one."""
        name = METHODS.get(method)
        if name is None:
            method, name = b"", OTHER_METHOD
        key = (method, status, code, stage)
        cell = route.cells.get(key)
        if cell is None and self.cells >= self._most_cells:
            route, key = self.other, (method, status, OTHER, stage)
            cell = route.cells.get(key)
        if cell is None:
            cell = route.cells[key] = Cell(route, name, status, key[2], stage)
            self.cells += 1
        return cell

    def _route(self, destination: Destination) -> RouteCells:
        """Destinations are told apart as objects: that is quick, and a snapshot's are its own."""
        known = self._by_destination.get(id(destination)) or self._remember_destination(destination)
        known.is_hit = True
        return known.route

    def _remember_destination(self, destination: Destination) -> KnownDestination:
        upstream = destination.upstream
        route = self.obtain_route(destination.id, destination.path, upstream.id, upstream.name)
        if len(self._by_destination) >= MOST_REMEMBERED:
            self._forget_destinations()
        known = self._by_destination[id(destination)] = KnownDestination(destination, route)
        return known

    def _forget_destinations(self) -> None:
        self._hits = self.take_hits()
        self._by_destination.clear()

    def obtain_route(self, route_id: str, path: str, service_id: str, service: str) -> RouteCells:
        """That of this route, under the names that it has now."""
        route = self.routes.get((route_id, service_id))
        if route is None:
            if len(self.routes) >= self._most_routes:
                return self.other
            route = RouteCells(route_id=route_id, route=path, service_id=service_id, service=service)
            self.routes[route_id, service_id] = route
        route.route, route.service = path, service  # it may have been renamed
        return route

    def _key(self, principal: Principal) -> KeyCell:
        cell = self._by_principal.get(principal) or self._remember_key(principal)
        if not cell.is_dirty:
            cell.is_dirty = True
            self.dirty_keys.append(cell)
        return cell

    def _rule(self, limit: Principal | LimitRule | None) -> RuleCell:
        """Whose limit it was: a rule's, or a key's own."""
        return self.obtain_rule(limit.id, limit.name) if isinstance(limit, LimitRule) else self.own_limit

    def obtain_rule(self, rule_id: str, name: str) -> RuleCell:
        """That of this rule, under the name that it has now."""
        cell = self.rules.get(rule_id)
        if cell is None:
            if len(self.rules) >= self._most_keys:
                return self.other_rule
            cell = self.rules[rule_id] = RuleCell(rule_id, name)
        cell.name = name
        return cell

    def _remember_key(self, principal: Principal) -> KeyCell:
        cell = self.obtain_key(principal.id, principal.name)
        if len(self._by_principal) >= MOST_REMEMBERED:
            self._by_principal.clear()
        self._by_principal[principal] = cell
        return cell

    def obtain_key(self, key_id: str, name: str) -> KeyCell:
        """That of this key, under the name that it has now."""
        cell = self.keys.get(key_id)
        if cell is None:
            if len(self.keys) >= self._most_keys:
                return self.other_key
            cell = self.keys[key_id] = KeyCell(key_id, name)
        cell.name = name
        return cell


def _count_retries(run: Run, route: RouteCells) -> None:
    for exchange in run:
        for fault, *_ in (exchange.failed_attempts or ())[: exchange.attempts - 1]:
            route.retries[fault] += 1
