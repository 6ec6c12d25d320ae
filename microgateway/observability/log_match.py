"""Whether a row is what somebody looks for: the filters that the request log is searched by, for rows as they come."""

from collections.abc import Mapping
from typing import Any

from microgateway.persistence.log_filter import LogFilter


def matches(wanted: LogFilter, row: Mapping[str, Any]) -> bool:
    """`row` is by the names of the log's columns."""
    return (
        _fits(wanted.methods, row["method"])
        and _has_status(wanted, row["status"])
        and all(getattr(wanted, name) in (None, row[name], row[f"{name}_id"]) for name in ("service", "route", "key"))
        and all(
            getattr(wanted, name) in (None, row[name])
            for name in ("rate_limited", "circuit_open", "request_id", "trace_id")
        )
        and (wanted.path is None or wanted.path.lower() in row["path"].lower())
        and (wanted.min_latency_ms is None or row["latency_ms"] >= wanted.min_latency_ms)
        and (wanted.since is None or row["timestamp"] >= wanted.since)
        and (wanted.until is None or row["timestamp"] < wanted.until)
    )


def _fits(allowed: tuple[str, ...], value: str) -> bool:
    return not allowed or value in allowed


def _has_status(wanted: LogFilter, status: int) -> bool:
    if not wanted.statuses and not wanted.classes:
        return True
    return status in wanted.statuses or status // 100 in wanted.classes
