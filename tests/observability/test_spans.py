"""Spans, as a collector gets them: a receiver on loopback parses OTLP with OpenTelemetry's own messages."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from microgateway.exchange import Exchange
from microgateway.observability.log_frames import raw_rows
from microgateway.observability.log_rows import ended
from microgateway.observability.spans import MOST_WAITING, SPANS_AT_A_TIME, SpanExport
from tests.observability.exchanges import destination, exchange, principal

TRACE = "0af7651916cd43dd8448eb211c80319c"
OWN = "b7ad6b7169203331"
CLIENT = "00f067aa0ba902b7"


class Collector(HTTPServer):
    """Keeps every request for traces."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[ExportTraceServiceRequest] = []
        self.status = 200
        self.answers = threading.Event()
        self.answers.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for request in self.received
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.path == "/v1/traces"
        self.server.answers.wait()
        self.server.received.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None: ...


@contextmanager
def collecting() -> Iterator[Collector]:
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield collector
        finally:
            collector.shutdown()
            thread.join()


def traced(*exchanges: Exchange) -> list[Span]:
    with collecting() as collector:
        export = SpanExport(collector.url, "edge")
        export(ended(raw_rows(exchanges)))
        export.close()
        assert (export.exported, export.dropped) == (len(collector.spans), 0)
        return collector.spans


def sampled(status: int = 200, *, flags: str = "01", parent: bool = True, **fields: Any) -> Exchange:
    made = exchange(status, to=destination("/users"), by=principal(), overhead=1.0, **fields)
    made.traceparent = f"00-{TRACE}-{OWN}-{flags}".encode()
    made.parent_span = CLIENT.encode() if parent else b""
    made.upstream = "127.0.0.1:9000"
    made.answered = made.ended
    return made


def attributes(span: Span) -> dict[str, Any]:
    return {item.key: getattr(item.value, str(item.value.WhichOneof("value"))) for item in span.attributes}


def test_a_request_is_a_server_span_with_a_client_span_in_it() -> None:
    server, client = traced(sampled(query=b"?page=2&token=hush", milliseconds=5.0))
    assert (server.name, server.kind) == ("GET /users", Span.SPAN_KIND_SERVER)
    assert (server.trace_id.hex(), server.span_id.hex(), server.parent_span_id.hex()) == (TRACE, OWN, CLIENT)
    assert server.end_time_unix_nano - server.start_time_unix_nano == pytest.approx(5_000_000, abs=1_000)
    seen = attributes(server)
    assert seen["http.route"] == "/users"
    assert seen["url.query"] == "page=2&token=***"
    assert seen["http.response.status_code"] == 200
    assert seen["client.address"] == "203.0.113.7"
    assert (client.name, client.kind) == ("GET", Span.SPAN_KIND_CLIENT)
    assert (client.trace_id, client.parent_span_id) == (server.trace_id, server.span_id)
    assert client.start_time_unix_nano - server.start_time_unix_nano == pytest.approx(1_000_000, abs=1_000)
    assert attributes(client)["server.address"] == "127.0.0.1"
    assert attributes(client)["server.port"] == 9000


def test_a_trace_that_begins_here_has_no_parent() -> None:
    server, _ = traced(sampled(parent=False))
    assert server.parent_span_id == b""


def test_what_is_not_sampled_is_not_sent() -> None:
    assert traced(sampled(flags="00"), sampled(flags="00")) == []


def test_each_attempt_is_a_span() -> None:
    repeated = sampled(attempts=2, milliseconds=10.0)
    repeated.note_attempt(
        "connection_lost", "repeated: the method is idempotent", "10.0.0.1:80", repeated.started + 0.004
    )
    repeated.sent = repeated.started + 0.005
    _, first, second = traced(repeated)
    assert (first.status.code, second.status.code) == (Status.STATUS_CODE_ERROR, Status.STATUS_CODE_UNSET)
    assert attributes(first) == {
        "http.request.method": "GET",
        "server.address": "10.0.0.1",
        "server.port": 80,
        "error.type": "connection_lost",
    }
    assert attributes(second)["http.request.resend_count"] == 1
    assert first.end_time_unix_nano <= second.start_time_unix_nano


def test_a_refused_request_has_no_client_span() -> None:
    refused = exchange(502, to=destination("/users"), stage="proxy", code="upstream_unreachable")
    refused.traceparent = f"00-{TRACE}-{OWN}-01".encode()
    (server,) = traced(refused)
    assert server.status.code == Status.STATUS_CODE_ERROR
    assert attributes(server)["error.type"] == "upstream_unreachable"


def test_the_service_s_name_is_the_resource_s() -> None:
    with collecting() as collector:
        export = SpanExport(collector.url, "edge")
        export(ended(raw_rows([sampled()])))
        export.close()
        (request,) = collector.received
    named = {item.key: item.value.string_value for item in request.resource_spans[0].resource.attributes}
    assert named["service.name"] == "edge"


def test_a_collector_that_refuses_costs_spans_and_nothing_else() -> None:
    with collecting() as collector:
        collector.status = 400
        export = SpanExport(collector.url, "edge")
        export(ended(raw_rows([sampled()])))
        export.close()
    assert (export.exported, export.dropped) == (0, 2)


def test_what_waits_for_a_collector_is_bounded() -> None:
    with collecting() as collector:
        collector.answers.clear()
        export = SpanExport(collector.url, "edge")
        export(ended(raw_rows([sampled()])) * MOST_WAITING)
        collector.answers.set()
        export.close()
    assert export.dropped >= MOST_WAITING - SPANS_AT_A_TIME  # of twice as many spans
    assert export.exported + export.dropped == 2 * MOST_WAITING
