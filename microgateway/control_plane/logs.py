"""/api/logs: the request log, searched, exported and cleared."""

import csv
import io
import json
import re
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime
from math import ceil
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel
from starlette.responses import StreamingResponse

from microgateway.control_plane.dependencies import Filter, Here
from microgateway.control_plane.problems import documented
from microgateway.errors import ConfigurationError
from microgateway.persistence.log_filter import LogFilter
from microgateway.persistence.log_zones import COLUMNS

router = APIRouter(prefix="/api/logs", tags=["logs"])

LARGEST_PAGE = 500
HIGHEST_PAGE = 10_000_000
MOST_STATUSES = 20
SETTLING = 0.25  # seconds that a reader waits for what has ended just now
CLEARING = 60.0  # seconds
_STATUS = re.compile(r"[1-5](?:\d\d|xx)\Z")
_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}\Z")
_AGO = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(ms|[smhdw])\Z")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for the beginning of one

Moment = Annotated[
    str | None,
    Query(max_length=64, description="ISO 8601, seconds since the epoch, or so long ago: `90s`, `15m`, `1h`, `7d`."),
]


class Attempt(BaseModel):
    """An attempt that failed: how, whether the request was repeated and why, and when, from the request's beginning."""

    target: str
    fault: str
    verdict: str
    after_ms: float


class LogRowAnswer(BaseModel):
    """One request, however it ended. Durations are milliseconds; docs/api.md says what each field means."""

    id: int
    timestamp: datetime
    request_id: str
    trace_id: str
    client_ip: str
    method: str
    path: str
    query: str
    status: int
    service_id: str | None
    service: str | None
    route_id: str | None
    route: str | None
    key_id: str | None
    key: str | None
    rate_limited: bool
    circuit_open: bool
    latency_ms: float
    upstream_ms: float | None
    stage: str
    code: str
    retries: int
    attempts: list[Attempt]
    breaker: str | None
    upstream: str
    upstream_status: int | None
    bytes_in: int
    bytes_out: int
    limited_by: str | None
    shadowed: list[str]
    simulated: bool
    configuration_version: int | None


class LogPageAnswer(BaseModel):
    """A page of the log, the newest first. `total` and `pages` are lower bounds unless `total_is_exact`.

    `is_complete` false: the time for one answer was up before the page was full; `next_cursor` goes on from there.
    `rows_dropped` counts rows that were lost since the start, because the log could not be written fast enough.
    """

    items: list[LogRowAnswer]
    total: int
    total_is_exact: bool
    page: int
    page_size: int
    pages: int
    next_cursor: str | None
    is_complete: bool
    rows_dropped: int


def _filter(
    here: Here,
    method: Annotated[str | None, Query(max_length=256, description="One, or several with commas.")] = None,
    status: Annotated[
        str | None, Query(max_length=256, description="`404`, `4xx`, or several with commas.", examples=["4xx,502"])
    ] = None,
    service: Annotated[Filter, Query(description="Its id or its name.")] = None,
    route: Annotated[Filter, Query(description="Its id or its path.")] = None,
    key: Annotated[Filter, Query(description="Its id or its name.")] = None,
    path: Annotated[Filter, Query(description="A part of it, in any case.")] = None,
    rate_limited: bool | None = None,
    circuit_open: bool | None = None,
    min_latency_ms: Annotated[float | None, Query(ge=0, le=1e12, allow_inf_nan=False)] = None,
    since: Moment = None,
    until: Moment = None,
    request_id: Filter = None,
    trace_id: Filter = None,
) -> LogFilter:
    """The query's filters. Raises `ConfigurationError` for one that makes no sense."""
    now = here.clock.wall()
    statuses = _listed("status", status, _STATUS)
    return LogFilter(
        methods=tuple(_listed("method", method, _METHOD)),
        statuses=tuple(int(text) for text in statuses if text.isdecimal()),
        classes=tuple(int(text[0]) for text in statuses if not text.isdecimal()),
        service=service,
        route=route,
        key=key,
        path=path,
        rate_limited=rate_limited,
        circuit_open=circuit_open,
        min_latency_ms=min_latency_ms,
        since=moment_of("since", since, now),
        until=moment_of("until", until, now),
        request_id=request_id,
        trace_id=trace_id,
    )


RowId = Annotated[str, Path(pattern=r"^[A-Za-z0-9._~+=:@-]{1,128}$")]
Wanted = Annotated[LogFilter, Depends(_filter)]


@router.get("")
async def list_log(
    here: Here,
    wanted: Wanted,
    page: Annotated[int, Query(ge=1, le=HIGHEST_PAGE)] = 1,
    page_size: Annotated[int, Query(ge=1, le=LARGEST_PAGE)] = 50,
    cursor: Annotated[
        str | None,
        Query(pattern=r"^\d{1,18}$", description="An answer's `next_cursor`: what is older. Instead of `page`."),
    ] = None,
) -> LogPageAnswer:
    """The requests that match, the newest first. What had ended when this was asked is in the log."""
    await here.log.settle(SETTLING)
    before = None if cursor is None else int(cursor)
    offset = (page - 1) * page_size if before is None else 0
    found = await here.log.reader.page(wanted, size=page_size, before=before, offset=offset)
    return LogPageAnswer(
        items=[_answer(row) for row in found.items],
        total=found.total,
        total_is_exact=found.total_is_exact,
        page=page,
        page_size=page_size,
        pages=ceil(found.total / page_size),
        next_cursor=None if found.next_cursor is None else str(found.next_cursor),
        is_complete=found.is_complete,
        rows_dropped=here.log.counts.dropped,
    )


@router.get("/export", response_class=StreamingResponse)
async def export_log(
    here: Here, wanted: Wanted, format: Annotated[Literal["csv", "ndjson"], Query()] = "ndjson"
) -> StreamingResponse:
    """All requests that match, the newest first, as a file that is made while it is sent."""
    await here.log.settle(SETTLING)
    lines, media_type = (_csv, "text/csv; charset=utf-8") if format == "csv" else (_ndjson, "application/x-ndjson")
    name = f"request-log-{datetime.fromtimestamp(here.clock.wall(), UTC):%Y%m%d-%H%M%S}.{format}"
    pieces = _written(here.log.reader.export(wanted), lines)
    return StreamingResponse(
        pieces, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


@router.get("/{row_id}", responses=documented(404))
async def read_log_row(here: Here, row_id: RowId) -> LogRowAnswer:
    """By its id, or by the request's id, as in the answer's X-Request-Id: the newest one, where there are several."""
    await here.log.settle(SETTLING)
    return _answer(await here.log.reader.get(row_id))


@router.delete("", status_code=204, response_class=Response)
async def clear_log(here: Here, before: Moment = None) -> None:
    """Deletes what is older than `before`, or everything."""
    await here.log.clear(moment_of("before", before, here.clock.wall()), CLEARING)


def _listed(name: str, text: str | None, allowed: re.Pattern[str]) -> list[str]:
    """The members of a comma-separated list."""
    members = [member.strip() for member in (text or "").split(",") if member.strip()]
    if len(members) > MOST_STATUSES or not all(map(allowed.match, members)):
        raise ConfigurationError(
            f"{text!r} is no {name}, nor a list of at most {MOST_STATUSES} with commas.", field=name
        )
    return members


def moment_of(name: str, text: str | None, now: float) -> float | None:
    """Seconds since the epoch, of what an operator may write. Raises `ConfigurationError`."""
    if text is None:
        return None
    if ago := _AGO.match(text):
        return now - float(ago[1]) * _SECONDS[ago[2]]
    try:
        return float(text) if re.fullmatch(r"\d{1,12}(\.\d+)?", text) else _of_iso(text)
    except (ValueError, OverflowError):
        raise ConfigurationError(
            "Say when by ISO 8601, seconds since the epoch, or so long ago: 90s, 15m, 1h, 7d.", field=name
        ) from None


def _of_iso(text: str) -> float:
    """A time without a zone is UTC. In a query a `+` may have become a space."""
    moment = datetime.fromisoformat(text.replace(" ", "+") if re.search(r"\d \d\d:?\d\d$", text) else text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _answer(row: dict[str, Any]) -> LogRowAnswer:
    return LogRowAnswer.model_validate({**row, "timestamp": datetime.fromtimestamp(row["timestamp"], UTC)})


async def _written(
    pieces: AsyncIterator[list[dict[str, Any]]], lines: Callable[[Iterable[dict[str, Any]], bool], str]
) -> AsyncIterator[str]:
    """Each piece as text; the first may need a heading, and there is one even if nothing matches."""
    is_first = True
    async for rows in pieces:
        yield lines(rows, is_first)
        is_first = False
    if is_first:
        yield lines((), True)


def _ndjson(rows: Iterable[dict[str, Any]], is_first: bool) -> str:
    return "".join(_answer(row).model_dump_json() + "\n" for row in rows)


def _csv(rows: Iterable[dict[str, Any]], is_first: bool) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")  # RFC 4180
    names = ("id", *COLUMNS)
    if is_first:
        writer.writerow(names)
    for row in rows:
        values = _answer(row).model_dump(mode="json")
        writer.writerow([_cell(values[name]) for name in names])
    return text.getvalue()


def _cell(value: object) -> object:
    """Lists are JSON, and no text begins a formula: in a spreadsheet, a path would else be run."""
    if isinstance(value, list):
        value = json.dumps(value) if value else ""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
