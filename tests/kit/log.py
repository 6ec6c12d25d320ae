"""Rows of the request log, as the writer makes them."""

from typing import Any

from microgateway.persistence.log_zones import COLUMNS, Row

BEGINNING = 1_700_000_000.0  # seconds since the epoch
USUAL: dict[str, Any] = {
    "client_ip": "192.0.2.1",
    "query": "",
    "method": "GET",
    "status": 200,
    "service_id": "svc_1",
    "service": "users",
    "route_id": "rt_1",
    "route": "/items",
    "key_id": "key_1",
    "key": "demo",
    "rate_limited": False,
    "circuit_open": False,
    "latency_ms": 1.5,
    "upstream_ms": 1.0,
    "stage": "proxy",
    "code": "",
    "retries": 0,
    "attempts": None,
    "breaker": "closed",
    "upstream": "127.0.0.1:9000",
    "upstream_status": 200,
    "bytes_in": 0,
    "bytes_out": 512,
    "limited_by": None,
    "shadowed": None,
    "simulated": False,
    "configuration_version": None,
}


def log_row(number: int, **values: Any) -> Row:
    """One row; with each number the time is a second later, and the path another."""
    own = {
        "timestamp": BEGINNING + number,
        "request_id": f"request-{number}",
        "trace_id": f"{number:032x}",
        "path": f"/items/{number}",
    }
    row = {**USUAL, **own, **values}
    return tuple(row[name] for name in COLUMNS)


def log_rows(count: int, **values: Any) -> list[Row]:
    return [log_row(number, **values) for number in range(count)]
