"""From what the gateway sends of a request to the row that is kept of it. Runs in the writer: here time is cheap."""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from microgateway.core.redaction import redacted_query
from microgateway.observability.log_frames import RawRow
from microgateway.persistence.log_zones import COLUMNS, Row

MILLISECONDS = 1_000.0
LONGEST_TEXT = 2_048  # characters of a path or a query that are kept
TRACE_ID = slice(3, 35)  # within a traceparent


class Ended(NamedTuple):
    """One request that has ended, by name. Times are monotonic seconds but for `timestamp`; see `Exchange`."""

    timestamp: float
    started: float
    sent: float
    answered: float
    ended: float
    request_id: bytes
    traceparent: bytes
    method: bytes
    path: bytes
    query: bytes
    client_ip: str
    status: int
    upstream: str
    upstream_status: int
    attempts: int
    bytes_in: int
    bytes_out: int
    key: tuple[str, str] | None
    route: tuple[str, str, str, str] | None
    stage: str
    code: str
    failed_attempts: list[tuple[str, str, str, float]] | None
    breaker: str | None
    limits: tuple[str | None, list[str]] | None
    parent_span: bytes
    simulated: bool = False
    configuration_version: int = 0

    def row(self) -> Row:
        """The values of COLUMNS."""
        service_id, service, route_id, route = self.route or (None, None, None, None)
        key_id, key = self.key or (None, None)
        limited_by, shadowed = self.limits or (None, None)
        return (
            self.timestamp,
            self.request_id.decode("latin-1"),
            self.traceparent[TRACE_ID].decode("latin-1"),
            self.client_ip,
            _text(self.path),
            redacted_query(_text(self.query)),
            self.method.decode("latin-1"),
            self.status,
            service_id,
            service,
            route_id,
            route,
            key_id,
            key,
            self.stage == "rate_limit",
            self.code == "circuit_open",
            self._milliseconds(self.ended),
            round((self.ended - self.sent) * MILLISECONDS, 3) if self.answered and self.sent else None,
            self.stage or "proxy",
            self.code,
            max(0, self.attempts - 1),
            self._attempts(),
            "open" if self.code == "circuit_open" else self.breaker,
            self.upstream,
            self.upstream_status or None,
            self.bytes_in,
            self.bytes_out,
            limited_by,
            json.dumps(shadowed) if shadowed else None,
            self.simulated,
            self.configuration_version or None,
        )

    def _milliseconds(self, until: float) -> float:
        return round((until - self.started) * MILLISECONDS, 3)

    def _attempts(self) -> str | None:
        """The failed ones, as JSON; most requests have none."""
        if not self.failed_attempts:
            return None
        return json.dumps(
            [
                {"target": target, "fault": fault, "verdict": verdict, "after_ms": self._milliseconds(at)}
                for fault, verdict, target, at in self.failed_attempts
            ]
        )


def ended(rows: Iterable[RawRow]) -> list[Ended]:
    """Rows as they came in a frame, by name."""
    return list(map(Ended._make, rows))


def as_mapping(row: Row) -> dict[str, Any]:
    """A row by the names of its columns."""
    return dict(zip(COLUMNS, row, strict=True))


def _text(octets: bytes) -> str:
    text = octets.decode("latin-1")
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…"
