"""What the service is told of a trace: passed on as it came without tracing; with it the gateway is its parent."""

import re

import pytest

from microgateway.data_plane.options import Options
from microgateway.exchange import Exchange
from tests.data_plane.bench import GET, scene

TRACE = b"0af7651916cd43dd8448eb211c80319c"
SPAN = b"b7ad6b7169203331"
TRACEPARENT = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


def asked(options: Options, traceparent: bytes | None) -> tuple[tuple[bytes, bytes, bytes], Exchange]:
    """Trace, parent and flags as the service gets them, and the record."""
    stage = scene(options=options)
    line = b"" if traceparent is None else b"traceparent: %b\r\n" % traceparent
    stage.send(GET.replace(b"\r\n\r\n", b"\r\n%b\r\n" % line))
    (request,) = stage.upstream.requests
    lines = [value for name, value in request.fields if name == b"traceparent"]
    assert len(lines) == 1
    match = TRACEPARENT.fullmatch(lines[0])
    assert match is not None
    (exchange,) = stage.exchanges
    assert exchange.traceparent == lines[0]
    return (match[1], match[2], match[3]), exchange


def test_without_tracing_a_trace_is_passed_on_as_it_came() -> None:
    told, exchange = asked(Options(), b"00-%b-%b-01" % (TRACE, SPAN))
    assert told == (TRACE, SPAN, b"01")
    assert exchange.parent_span == b""


@pytest.mark.parametrize("flags", [b"00", b"01"])
def test_with_tracing_the_gateway_is_the_service_s_parent(flags: bytes) -> None:
    """The client decides whether its trace is kept, whatever the ratio."""
    for ratio in (0.0, 1.0):
        (trace, span, told), exchange = asked(Options(trace_ratio=ratio), b"00-%b-%b-%b" % (TRACE, SPAN, flags))
        assert (trace, told) == (TRACE, flags)
        assert span != SPAN
        assert exchange.parent_span == SPAN


@pytest.mark.parametrize(("ratio", "flags"), [(None, b"00"), (0.0, b"00"), (1.0, b"01")])
def test_a_new_trace_is_kept_by_the_ratio(ratio: float | None, flags: bytes) -> None:
    (trace, span, told), exchange = asked(Options(trace_ratio=ratio), None)
    assert told == flags
    assert int(trace, 16)
    assert int(span, 16)
    assert exchange.parent_span == b""


def test_a_later_version_is_answered_with_ours() -> None:
    told, _ = asked(Options(trace_ratio=0.0), b"cc-%b-%b-03-what-comes" % (TRACE, SPAN))
    assert told[0] == TRACE
    assert told[2] == b"01"
