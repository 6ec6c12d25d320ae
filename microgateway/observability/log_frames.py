"""What the gateway and the log's writer say to each other: one frame is one packet of a socket pair.

A frame is a `marshal` of a kind and what belongs to it. Both ends are of one version, started by one another, so the
format is nobody else's concern; it costs a fifth of what JSON does. To the writer go

    (ROWS, [row, …])            what has ended, in the shape of `raw_row`
    (SETTLE, number)            write what you have, and say so
    (CLEAR, number, before)     delete what is of before this moment, None: everything
    (REOPEN,)                   open the access log's file anew

and from it come

    (DONE, number, complaint)   SETTLE or CLEAR is done, or why not; an empty complaint is none
    (COUNTS, {…})               what has been written and lost since the writer's start
"""

import marshal
from collections.abc import Sequence
from typing import Any

from microgateway.core.circuit import Permit
from microgateway.core.limit_rules import LimitRule
from microgateway.exchange import Exchange, Judgement, Problem

ROWS, SETTLE, CLEAR, REOPEN, DONE, COUNTS = range(6)
LARGEST_FRAME = 200_000  # bytes; a socket takes this much at once without any settings of the machine's
LONGEST_TEXT = 4_096  # characters of a path or query, where a frame would be too large
VERSION = 4  # of marshal: what several rows share is sent once

RawRow = tuple[Any, ...]


def pack(*frame: Any) -> bytes:
    """One frame, as it is sent."""
    return marshal.dumps(frame, VERSION)


def unpack(frame: bytes | memoryview) -> Any:
    """What `pack` has packed."""
    return marshal.loads(frame)  # noqa: S302  from our own other half


def raw_rows(batch: Sequence[Exchange]) -> list[RawRow]:
    """What is to be remembered of these, as plain values: made in the gateway's loop, so nothing is computed here.

    Neighbours in a batch are often of one key and one route, and then share what names those.
    """
    rows: list[RawRow] = []
    add = rows.append
    principal = destination = outcome = key = route = breaker = None
    for exchange in batch:
        judgement = exchange.judgement
        limits = None
        if judgement is None:
            principal = destination = outcome = key = route = breaker = None
        else:
            if judgement.outcome is not outcome:
                outcome = judgement.outcome
                breaker = outcome.state.value if isinstance(outcome, Permit) else None
            if judgement.principal is not principal:
                principal = judgement.principal
                key = None if principal is None else (principal.id, principal.name)
            if judgement.destination is not destination:
                destination = judgement.destination
                route = (
                    None
                    if destination is None
                    else (destination.upstream.id, destination.upstream.name, destination.id, destination.path)
                )
            if judgement.shadowed or exchange.stage == "rate_limit":
                limits = _limits(judgement)
        add(
            (
                exchange.timestamp,
                exchange.started,
                exchange.sent,
                exchange.answered,
                exchange.ended,
                exchange.request_id,
                exchange.traceparent,
                exchange.method,
                exchange.path,
                exchange.query,
                exchange.client_ip,
                exchange.status,
                exchange.upstream,
                exchange.upstream_status,
                exchange.attempts,
                exchange.bytes_in,
                exchange.bytes_out,
                key,
                route,
                exchange.stage,
                exchange.code,
                exchange.failed_attempts,
                breaker,
                limits,
                exchange.parent_span,
                exchange.simulated,
                exchange.configuration_version,
            )
        )
    return rows


def _limits(judgement: Judgement) -> tuple[str | None, list[str]]:
    """Which limit refused the request, `key` for the key's own; and the rules that would have."""
    refused = isinstance(judgement.outcome, Problem) and judgement.outcome.stage == "rate_limit"
    by = judgement.limited_by if refused else None
    return by.name if isinstance(by, LimitRule) else "key" if by else None, [rule.name for rule in judgement.shadowed]


def row_frames(rows: list[RawRow]) -> list[tuple[int, bytes]]:
    """Frames for these, each with the number of its rows. Nearly always one."""
    frame = pack(ROWS, rows)
    if len(frame) <= LARGEST_FRAME:
        return [(len(rows), frame)]
    if len(rows) > 1:
        half = len(rows) // 2
        return row_frames(rows[:half]) + row_frames(rows[half:])
    return [(1, pack(ROWS, [_shortened(rows[0])]))]


def _shortened(row: RawRow) -> RawRow:
    return tuple(value[:LONGEST_TEXT] if isinstance(value, bytes) else value for value in row)
