"""Counts on their way from the process that makes them to the one that shows them.

A worker counts as a gateway of one process does, and from time to time what it has counted is taken out, as plain
values, and added to the counts of the control process: each once. What is taken out is as large as there are kinds of
exchanges, however many exchanges there were.
"""

from collections.abc import Iterable
from typing import Any

from microgateway.core import histogram
from microgateway.observability.cells import Cell, KeyCell, RouteCells, RuleCell
from microgateway.observability.counting import OTHER, OTHER_METHOD, Counting
from microgateway.observability.usage import Usage

Counts = tuple[Any, ...]


def take_counts(counting: Counting) -> Counts:
    """What has been counted since the last time."""
    routes = {id(cell.route): cell.route for cell in counting.dirty}
    taken = (
        [_take_cell(cell) for cell in counting.dirty],
        [_take_route(route) for route in routes.values()],
        [_take_key(cell) for cell in counting.dirty_keys],
        [_take_rule(rule) for rule in counting.all_rules() if rule.limited or rule.shadowed],
        counting.limits_asked,
        sorted(counting.take_hits()),
    )
    counting.dirty.clear()
    counting.dirty_keys.clear()
    counting.limits_asked = 0
    return taken


def add_counts(counting: Counting, counts: Counts) -> None:
    """Adds what another has taken out, as if it had been counted here."""
    cells, routes, keys, rules, limits_asked, hits = counts
    for name, method, status, code, stage, requests, microseconds, bytes_in, bytes_out, durations in cells:
        cell = counting.obtain_cell(_route(counting, name), method, status, code, stage)
        counting.add(cell, requests, microseconds, bytes_in, bytes_out)
        histogram.add(cell.durations, durations)
    _add_routes(counting, routes)
    for key_id, key_name, outcomes, microseconds, durations in keys:
        key = counting.other_key if key_id == OTHER else counting.obtain_key(key_id, key_name)
        if not key.is_dirty:
            key.is_dirty = True
            counting.dirty_keys.append(key)
        key.outcomes = [one + other for one, other in zip(key.outcomes, outcomes, strict=True)]
        key.microseconds += microseconds
        histogram.add(key.durations, durations)
    for rule_id, rule_name, limited, shadowed in rules:
        rule = _rule(counting, rule_id, rule_name)
        rule.limited += limited
        rule.shadowed += shadowed
    counting.limits_asked += limits_asked
    counting.add_hits(hits)


def take_usage(usage: Usage) -> Counts:
    """What each key and service was used since the last time."""
    keys = [(key, one.total_requests, one.rejected_requests, one.last_used_at) for key, one in usage.keys.items()]
    services = [(service, one.total_requests, one.total_errors) for service, one in usage.services.items()]
    for known in (usage.keys, usage.services, usage.changed_keys, usage.changed_services):
        known.clear()
    return keys, services


def add_usage(usage: Usage, counts: Counts) -> None:
    """Adds what another has taken out. A date takes the place of an earlier one."""
    keys, services = counts
    for key_id, total, rejected, last_used_at in keys:
        key = usage.changing_key(key_id)
        key.total_requests += total
        key.rejected_requests += rejected
        if last_used_at is not None:
            key.last_used_at = max(last_used_at, key.last_used_at or 0.0)
    for service_id, total, errors in services:
        service = usage.changing_service(service_id)
        service.total_requests += total
        service.total_errors += errors


def _take_cell(cell: Cell) -> Counts:
    method = b"" if cell.method == OTHER_METHOD else cell.method.encode()
    counts = (cell.requests, cell.microseconds, cell.bytes_in, cell.bytes_out, dict(cell.durations))
    taken = (_name(cell.route), method, cell.status, cell.code, cell.stage, *counts)
    cell.settle()
    return taken


def _take_route(route: RouteCells) -> Counts:
    taken = (
        _name(route),
        dict(route.upstream),
        route.upstream_microseconds,
        dict(route.overhead),
        route.overhead_microseconds,
        dict(route.retries),
    )
    route.retries.clear()
    route.settle()
    return taken


def _take_key(cell: KeyCell) -> Counts:
    taken = (cell.key_id, cell.name, cell.outcomes, cell.microseconds, dict(cell.durations))
    cell.settle()
    return taken


def _take_rule(rule: RuleCell) -> Counts:
    taken = (rule.rule_id, rule.name, rule.limited, rule.shadowed)
    rule.settle()
    return taken


def _add_routes(counting: Counting, routes: Iterable[Counts]) -> None:
    for name, upstream, upstream_microseconds, overhead, overhead_microseconds, retries in routes:
        route = _route(counting, name)
        histogram.add(route.upstream, upstream)
        histogram.add(route.overhead, overhead)
        route.upstream_microseconds += upstream_microseconds
        route.overhead_microseconds += overhead_microseconds
        for fault, count in retries.items():
            route.retries[fault] += count


def _name(route: RouteCells) -> tuple[str, str, str, str]:
    return route.route_id, route.route, route.service_id, route.service


def _route(counting: Counting, name: tuple[str, str, str, str]) -> RouteCells:
    """Those that share a place in one process share it in the other."""
    if not name[0]:
        return counting.unmatched
    return counting.other if name[0] == OTHER else counting.obtain_route(*name)


def _rule(counting: Counting, rule_id: str, name: str) -> RuleCell:
    if not rule_id:
        return counting.own_limit
    return counting.other_rule if rule_id == OTHER else counting.obtain_rule(rule_id, name)
