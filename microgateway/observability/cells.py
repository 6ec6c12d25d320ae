"""What exchanges are counted in: a cell for each kind of them, and one for each key and each rule.

A cell has what was counted since the last fold, which `settle` adds to what there is since the start. Who counts is
`counting.py`; who reads is `metrics.py` and `prometheus.py`.
"""

from collections import defaultdict

from microgateway.core import histogram
from microgateway.observability.outcomes import OUTCOMES, outcome_of


class Cell:
    """Exchanges of one kind since the last fold, and under `all_…` since the start. `microseconds`: of durations."""

    __slots__ = (
        "all_bytes_in",
        "all_bytes_out",
        "all_requests",
        "bytes_in",
        "bytes_out",
        "code",
        "durations",
        "method",
        "microseconds",
        "outcome",
        "requests",
        "route",
        "stage",
        "status",
    )

    def __init__(self, route: "RouteCells", method: str, status: int, code: str, stage: str) -> None:
        self.route = route
        self.method = method
        self.status = status
        self.code = code
        self.stage = stage
        self.outcome = outcome_of(status, stage)
        self.all_requests = self.all_bytes_in = self.all_bytes_out = 0
        self._begin()

    def _begin(self) -> None:
        self.requests = self.microseconds = self.bytes_in = self.bytes_out = 0
        self.durations: defaultdict[int, int] = defaultdict(int)

    def settle(self) -> None:
        """Adds what was counted to what was before, and begins anew."""
        self.all_requests += self.requests
        self.all_bytes_in += self.bytes_in
        self.all_bytes_out += self.bytes_out
        self.route.all_microseconds += self.microseconds
        histogram.add(self.route.all_durations, self.durations)
        self._begin()


class RouteCells:
    """One route's cells, and what is counted for the route as a whole.

    `upstream` and `overhead` are histograms since the last fold, `all_…` are since the start; `retries` counts by fault
    since the start.
    """

    __slots__ = (
        "all_durations",
        "all_microseconds",
        "all_overhead",
        "all_overhead_microseconds",
        "all_upstream",
        "all_upstream_microseconds",
        "cells",
        "overhead",
        "overhead_microseconds",
        "retries",
        "route",
        "route_id",
        "service",
        "service_id",
        "upstream",
        "upstream_microseconds",
    )

    def __init__(self, *, route_id: str, route: str, service_id: str, service: str) -> None:
        self.route_id = route_id
        self.route = route
        self.service_id = service_id
        self.service = service
        self.cells: dict[tuple[bytes, int, str, str], Cell] = {}
        self.retries: defaultdict[str, int] = defaultdict(int)
        self.all_durations: dict[int, int] = {}
        self.all_upstream: dict[int, int] = {}
        self.all_overhead: dict[int, int] = {}
        self.all_microseconds = self.all_upstream_microseconds = self.all_overhead_microseconds = 0
        self._begin()

    def _begin(self) -> None:
        self.upstream: defaultdict[int, int] = defaultdict(int)
        self.overhead: defaultdict[int, int] = defaultdict(int)
        self.upstream_microseconds = self.overhead_microseconds = 0

    def settle(self) -> None:
        """Adds what was counted to what was before, and begins anew."""
        self.all_upstream_microseconds += self.upstream_microseconds
        self.all_overhead_microseconds += self.overhead_microseconds
        histogram.add(self.all_upstream, self.upstream)
        histogram.add(self.all_overhead, self.overhead)
        self._begin()


class KeyCell:
    """One key's exchanges since the last fold, and under `all_outcomes` since the start."""

    __slots__ = ("all_outcomes", "durations", "is_dirty", "key_id", "microseconds", "name", "outcomes")

    def __init__(self, key_id: str, name: str) -> None:
        self.key_id = key_id
        self.name = name
        self.all_outcomes = [0] * len(OUTCOMES)
        self._begin()

    def _begin(self) -> None:
        self.is_dirty = False
        self.outcomes = [0] * len(OUTCOMES)
        self.microseconds = 0
        self.durations: defaultdict[int, int] = defaultdict(int)

    def settle(self) -> None:
        """Adds what was counted to what was before, and begins anew."""
        self.all_outcomes = [all_of + new for all_of, new in zip(self.all_outcomes, self.outcomes, strict=True)]
        self._begin()


class RuleCell:
    """How often a limit refused a request, or would have, since the last fold and under `all_…` since the start."""

    __slots__ = ("all_limited", "all_shadowed", "limited", "name", "rule_id", "shadowed")

    def __init__(self, rule_id: str, name: str) -> None:
        self.rule_id = rule_id
        self.name = name
        self.all_limited = self.all_shadowed = 0
        self.limited = self.shadowed = 0

    def settle(self) -> None:
        """Adds what was counted to what was before, and begins anew."""
        self.all_limited += self.limited
        self.all_shadowed += self.shadowed
        self.limited = self.shadowed = 0
