"""A failed attempt: whether the service is asked again, and on which connection."""

import pytest

from microgateway.data_plane.forwarding import LARGEST_REPLAYED_BODY
from microgateway.data_plane.upstream import UpstreamConnection
from tests.data_plane.bench import GET, OK, Scene, one_service, scene, silence


def break_off(stage: Scene) -> None:
    """The service ends the connection on which it was asked."""
    for wire in stage.bench.upstream_wires:
        if isinstance(wire.protocol, UpstreamConnection) and wire.protocol.forwarding is not None:
            wire.reset()
    stage.bench.run()


def asked(stage: Scene) -> int:
    return len(stage.upstream.requests)


def test_where_one_connection_had_gone_stale_no_other_old_one_is_tried() -> None:
    stage = scene(silence, snapshot=one_service(retries=1))
    other = stage.bench.connect()
    other.send(GET)
    stage.send(GET)
    for wire in stage.bench.upstream_wires:
        wire.send(OK)
    stage.send(GET)
    assert len(stage.bench.upstream_wires) == 2, "both are kept, and one of them is asked"
    break_off(stage)
    assert len(stage.bench.upstream_wires) == 3
    break_off(stage)
    assert len(stage.bench.upstream_wires) == 3 + 1, "the stale one has cost no retry"
    break_off(stage)
    assert stage.statuses() == [200, 200, 502]


@pytest.mark.parametrize(("after", "times"), [(6.9, 2), (7.0, 1)])
def test_nothing_is_repeated_when_the_route_s_time_is_over(after: float, times: int) -> None:
    stage = scene(silence, snapshot=one_service(timeout_seconds=7.0, retries=3))
    stage.send(GET)
    stage.bench.clock.advance(after)
    break_off(stage)
    assert asked(stage) == times


@pytest.mark.parametrize(("size", "times"), [(LARGEST_REPLAYED_BODY, 2), (LARGEST_REPLAYED_BODY + 1, 1)])
def test_a_body_is_kept_for_a_second_time_up_to_a_bound(size: int, times: int) -> None:
    stage = scene(silence, snapshot=one_service(retries=1))
    stage.send(b"PUT /a HTTP/1.1\r\nHost: a.example\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
    break_off(stage)
    assert asked(stage) == times
    assert all(len(request.body) == size for request in stage.upstream.requests)
