"""OpenTelemetry: the spans of requests that have ended, made in the writer and exported by OTLP over HTTP.

One server span `{method} {route}` for a request, and within it a client span for each attempt at a service. Names of
attributes are OpenTelemetry's where it has one. A thread exports; spans that it has no time for are dropped. The
module needs the `otel` extra, and is imported only where tracing is on.
"""

import logging
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from random import Random

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from microgateway import __version__
from microgateway.core.redaction import redacted_query
from microgateway.observability.log_rows import Ended

NANOSECONDS = 1_000_000_000
MOST_WAITING = 8_192  # spans
SPANS_AT_A_TIME = 512
EXPORT_INTERVAL = 1.0  # seconds
EXPORT_TIMEOUT = 3.0
SERVER_ERROR = 500
CLIENT_ERROR = 400

Value = str | int | bool


class SpanExport:
    """Takes up what has ended. `endpoint` is the collector's; traces go to `/v1/traces` there."""

    def __init__(self, endpoint: str, service_name: str) -> None:
        url = endpoint.rstrip("/") + "/v1/traces"
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # what is lost is counted, not printed each time
        self._exporter = OTLPSpanExporter(endpoint=url, timeout=EXPORT_TIMEOUT)
        self._maker = SpanMaker(service_name)
        self._waiting: deque[ReadableSpan] = deque()
        self._wake = threading.Event()
        self._ending = False
        self.exported = 0
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="span export", daemon=True)
        self._thread.start()

    def __call__(self, rows: Iterable[Ended]) -> None:
        for row in rows:
            if row.traceparent.endswith(b"1"):
                self._take(list(self._maker.spans(row)))

    def _take(self, spans: list[ReadableSpan]) -> None:
        """All spans of one request, or none."""
        if len(self._waiting) + len(spans) > MOST_WAITING:
            self.dropped += len(spans)
        else:
            self._waiting.extend(spans)

    def close(self) -> None:
        """Exports what is left, if that does not take too long."""
        self._ending = True
        self._wake.set()
        self._thread.join(EXPORT_TIMEOUT + 1.0)

    def _run(self) -> None:
        while not self._ending:
            self._wake.wait(EXPORT_INTERVAL)
            while self._waiting:
                self._export()
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def _export(self) -> None:
        some = [self._waiting.popleft() for _ in range(min(SPANS_AT_A_TIME, len(self._waiting)))]
        if self._exporter.export(some) is SpanExportResult.SUCCESS:
            self.exported += len(some)
        else:
            self.dropped += len(some)


class SpanMaker:
    """From a request that has ended to its spans."""

    def __init__(self, service_name: str) -> None:
        self._resource = Resource.create({SERVICE_NAME: service_name})
        self._scope = InstrumentationScope("microgateway", __version__)
        self._random = Random()  # noqa: S311  span ids need to differ, not to be unguessable

    def spans(self, row: Ended) -> Iterator[ReadableSpan]:
        """The request's, then one for each attempt in turn."""
        trace_id, span_id = int(row.traceparent[3:35], 16), int(row.traceparent[36:52], 16)
        own = _context(trace_id, span_id)
        parent = _context(trace_id, int(row.parent_span, 16), remote=True) if row.parent_span else None
        yield ReadableSpan(
            _name(row),
            own,
            parent,
            self._resource,
            _server_attributes(row),
            kind=SpanKind.SERVER,
            status=_status(row.status >= SERVER_ERROR, row.code),
            start_time=_nanoseconds(row, row.started),
            end_time=_nanoseconds(row, row.ended),
            instrumentation_scope=self._scope,
        )
        for number, (began, ended, fault, target) in enumerate(_attempts(row)):
            yield ReadableSpan(
                row.method.decode("latin-1"),
                _context(trace_id, self._random.getrandbits(64) or 1),
                own,
                self._resource,
                _client_attributes(row, number, fault, target),
                kind=SpanKind.CLIENT,
                status=_status(bool(fault) or row.upstream_status >= CLIENT_ERROR, fault),
                start_time=_nanoseconds(row, began),
                end_time=_nanoseconds(row, ended),
                instrumentation_scope=self._scope,
            )


def _attempts(row: Ended) -> Iterator[tuple[float, float, str, str]]:
    """Beginning, end, fault and address of each; the fault of one that was answered is empty."""
    began = row.started
    failed = row.failed_attempts or ()
    for fault, _, target, at in failed:
        yield began, at, fault, target
        began = at
    if row.attempts > len(failed):
        yield (row.sent if row.sent > began else began), row.ended, "", row.upstream


def _server_attributes(row: Ended) -> dict[str, Value]:
    service, route = (row.route[1], row.route[3]) if row.route else ("", "")
    attributes: dict[str, Value] = {
        "http.request.method": row.method.decode("latin-1"),
        "url.path": row.path.decode("latin-1"),
        "url.query": redacted_query(row.query.decode("latin-1")).removeprefix("?"),
        "http.route": route,
        "http.response.status_code": row.status,
        "client.address": row.client_ip,
        "error.type": row.code if row.status >= SERVER_ERROR else "",
        "microgateway.request_id": row.request_id.decode("latin-1"),
        "microgateway.service": service,
        "microgateway.key": row.key[1] if row.key else "",
        "microgateway.stage": row.stage,
        "microgateway.code": row.code,
    }
    return {name: value for name, value in attributes.items() if value != ""}


def _client_attributes(row: Ended, number: int, fault: str, target: str) -> dict[str, Value]:
    host, _, port = target.rpartition(":")
    attributes: dict[str, Value] = {"http.request.method": row.method.decode("latin-1")}
    attributes["server.address"] = host or target
    if host and port.isdecimal():
        attributes["server.port"] = int(port)
    if number:
        attributes["http.request.resend_count"] = number
    if fault:
        attributes["error.type"] = fault
    elif row.upstream_status:
        attributes["http.response.status_code"] = row.upstream_status
    return attributes


def _name(row: Ended) -> str:
    method = row.method.decode("latin-1") or "HTTP"
    return f"{method} {row.route[3]}" if row.route else method


def _context(trace_id: int, span_id: int, *, remote: bool = False) -> SpanContext:
    return SpanContext(trace_id, span_id, remote, TraceFlags(TraceFlags.SAMPLED))


def _status(is_error: bool, why: str) -> Status:
    return Status(StatusCode.ERROR, why or None) if is_error else Status(StatusCode.UNSET)


def _nanoseconds(row: Ended, moment: float) -> int:
    """A monotonic moment of this request as nanoseconds since the epoch."""
    return int((row.timestamp + moment - row.started) * NANOSECONDS)
