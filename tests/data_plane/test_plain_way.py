"""Most requests take a short way through the code, and those that came before a shorter one; nobody can tell.

Whatever happens to a request, it happens here to one that its connection has sent before, to one with the same fields
as those before it, to one with others, and to one whose service has targets to choose from, which takes the long way:
what the client gets, what is recorded and what is left behind must be the same.
"""

import asyncio
import gc
import re
from collections import Counter
from collections.abc import Callable

import pytest

from fuzzing.configuration import route, service
from fuzzing.scripted import echo
from microgateway.core.circuit import CircuitPolicy
from microgateway.core.fields import Field
from microgateway.core.requests import RequestHead
from microgateway.data_plane.downstream import Downstream
from microgateway.data_plane.forwarding import Forwarding
from microgateway.data_plane.options import Options
from microgateway.data_plane.upstream import UpstreamConnection
from microgateway.snapshot import Snapshot, change_of_route
from tests.data_plane.bench import GET, LONG_AFTER, OK, Scene, one_service, scene, silence

ALIKE = GET.replace(b"/a", b"/b?c")
OTHER = GET.replace(b"Host: a", b"Host: b")
OWN_IDS = re.compile(rb"X-Request-Id: .*\r\ntraceparent: .*\r\n")
ID = re.compile(rb"X-Request-Id: [0-9a-f]{32}")
LONG = b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n" + b"x" * 20_000
Event = Callable[[Scene], None]


def client_is_slow(stage: Scene) -> None:
    stage.client.high_water = 3
    stage.upstream_sends(OK)
    stage.client.read_all()
    stage.bench.run()


def client_leaves(stage: Scene) -> None:
    stage.client.reset()
    stage.bench.run()


def another_one_while_it_is_answered(stage: Scene) -> None:
    stage.send(GET)
    stage.upstream_sends(OK)
    stage.upstream_sends(OK)


def ended_by_eof(stage: Scene) -> None:
    stage.upstream_sends(b"HTTP/1.1 200 OK\r\n\r\nok")
    stage.upstream_wire.send_eof()
    stage.bench.run()


def answered_with(*pieces: bytes) -> Event:
    return lambda stage: stage.upstream_sends(*pieces)


def lost_after(piece: bytes) -> Event:
    """The upstream resets; what is asked again is answered well."""

    def event(stage: Scene) -> None:
        if piece:
            stage.upstream_sends(piece)
        asked = len(stage.upstream.requests)
        stage.upstream_wire.reset()
        stage.bench.run()
        if len(stage.upstream.requests) > asked:
            stage.upstream_sends(OK)

    return event


EVENTS: dict[str, Event] = {
    "a whole answer": answered_with(OK),
    "an answer without body": answered_with(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "an answer in pieces": answered_with(OK[:20], OK[20:-1], OK[-1:]),
    "a long answer at once": answered_with(LONG),
    "a long answer in pieces": answered_with(LONG[:15_000], LONG[15_000:]),
    "chunks": answered_with(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    "until the end": ended_by_eof,
    "an interim answer first": answered_with(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", OK),
    "not found": answered_with(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
    "an error of the service": answered_with(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"),
    "an answer that is the last": answered_with(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")),
    "more than the answer": answered_with(OK + b"HTTP/1.1 200 OK\r\n\r\n"),
    "no HTTP": answered_with(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    "a lost connection": lost_after(b""),
    "a connection lost in the head": lost_after(OK[:12]),
    "a connection lost in the body": lost_after(OK[:-1]),
    "silence": lambda stage: stage.bench.sweep(LONG_AFTER),
    "a client that is slow": client_is_slow,
    "a client that leaves": client_leaves,
    "another request meanwhile": another_one_while_it_is_answered,
}


def asked_again(*before: bytes, options: Options | None = None, chooses: bool = False) -> Scene:
    """A client whose connection has had these requests, and now sends `GET`, which the upstream has got."""
    policy = CircuitPolicy(failure_threshold=2)
    choosing = service("plain", when_unhealthy="fail")
    snapshot = Snapshot().with_table([choosing], [route("/", "plain")], policy) if chooses else one_service(policy)
    stage = scene(silence, options=options, snapshot=snapshot)
    for request in before:
        stage.send(request)
        stage.upstream_sends(OK)
    stage.client.written.clear()
    stage.exchanges.clear()
    stage.send(GET)
    return stage


def outcome(stage: Scene) -> tuple[object, ...]:
    """All that is to be seen of it from outside, and all that is kept inside."""
    circuit = stage.circuit()
    return (
        ID.sub(b"X-Request-Id: -", stage.answered),
        stage.client.closing,
        [(one.status, one.code, one.stage, one.attempts, one.bytes_out, one.upstream) for one in stage.exchanges],
        (circuit.state, circuit.failures, circuit.generation),
        (stage.bench.opened(), stage.bench.really_open(), stage.client.reading),
        [request.target for request in stage.upstream.requests[2:]],
    )


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS.keys())
def test_what_happens_to_a_known_request_happens_to_a_new_one(event: Event) -> None:
    known, alike, new = asked_again(GET, GET), asked_again(ALIKE, ALIKE), asked_again(OTHER, OTHER)
    long = asked_again(OTHER, OTHER, chooses=True)
    for stage in (known, alike, new, long):
        event(stage)
        stage.assert_at_rest()
    assert outcome(known) == outcome(alike) == outcome(new) == outcome(long)
    for stage in (known, alike, new, long):
        if not stage.client.closing:
            stage.send(GET)
            stage.upstream_sends(OK)
    assert outcome(known) == outcome(alike) == outcome(new) == outcome(long)


def test_the_last_request_of_a_connection_is_told_so_though_it_is_known() -> None:
    stage = asked_again(GET, GET, options=Options(client_max_requests=4))
    stage.upstream_sends(OK)
    assert b"Connection: close" not in stage.answered
    stage.send(GET)
    stage.upstream_sends(OK)
    assert stage.answered.count(b"Connection: close") == 1
    assert stage.client.wrote_eof


def test_a_known_request_is_told_that_the_gateway_stops() -> None:
    stage = asked_again(GET, GET)
    stage.bench.plane.draining = True
    stage.upstream_sends(OK)
    assert b"Connection: close" in stage.answered
    assert stage.client.wrote_eof


def test_the_failures_of_others_are_forgiven_by_an_answer_to_a_known_request() -> None:
    """A circuit with failures in a row wants to hear of every answer, and then the short way is none."""
    stage = asked_again(GET, GET)
    other = stage.bench.connect()
    other.send(OTHER)
    stage.bench.run()
    stage.upstream_sends(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")
    assert stage.circuit().failures == 1
    first = next(one for one in stage.bench.upstream_wires if one is not stage.upstream_wire)
    first.send(OK)
    stage.bench.run()
    assert stage.circuit().failures == 0


def test_an_idle_connection_keeps_nothing_of_its_last_request() -> None:
    secret = b"GET /idle HTTP/1.1\r\nHost: idle.example\r\nX-API-Key: known-for-a-while\r\n\r\n"

    def kept() -> set[str]:
        gc.collect()
        heads = (one for one in gc.get_objects() if isinstance(one, RequestHead) and one.path == b"/idle")
        fields = (one for one in gc.get_objects() if isinstance(one, Field) and one.value == b"known-for-a-while")
        return {type(one).__name__ for one in (*heads, *fields)}

    stage = asked_again(secret)
    stage.upstream_sends(OK)
    stage.send(secret)
    stage.upstream_sends(OK)
    stage.exchanges.clear()
    assert kept() == {"RequestHead", "Field"}
    stage.bench.sweep(1.0)
    assert kept() == set()
    stage.send(secret)
    stage.upstream_sends(OK)
    assert stage.statuses() == [200]


def test_a_connection_that_ends_leaves_nothing_to_the_collector() -> None:
    def alive() -> Counter[str]:
        things = gc.get_objects()
        return Counter(type(one).__name__ for one in things if isinstance(one, (Downstream, Forwarding)))

    stage = asked_again(GET, GET)
    stage.upstream_sends(OK)
    stage.exchanges.clear()
    gc.collect()
    gc.disable()
    try:
        before = alive()
        stage.client.reset()
        stage.bench.run()
        stage.client.protocol = asyncio.Protocol()  # whom the wire was for it need not keep
        gone = before - alive()
    finally:
        gc.enable()
    assert gone == {"Downstream": 1, "Forwarding": 1}


def test_these_requests_do_take_the_short_way() -> None:
    """Or the tests above would compare the long way with itself."""
    stage = asked_again(GET, GET)
    protocol = stage.upstream_wire.protocol
    assert isinstance(protocol, UpstreamConnection)
    used = protocol.forwarding
    assert used is not None
    stage.upstream_sends(OK)
    stage.send(GET)
    assert protocol.forwarding is used


def sent_on(stage: Scene) -> bytes:
    """All that the service has got, but for the ids."""
    return OWN_IDS.sub(b"", b"".join(bytes(wire.written) for wire in stage.bench.upstream_wires))


def test_requests_with_the_same_fields_reach_the_service_as_they_are() -> None:
    """Each with its method, path and query; what is kept of those before it shows nowhere."""
    asked = [
        b"GET /b?c HTTP/1.1",
        b"GET /b?d HTTP/1.1",
        b"GET /c HTTP/1.1",
        b"HEAD /c HTTP/1.1",
        b"POST /c HTTP/1.1",
        b"GET http://other.example/c?e HTTP/1.1",
        b"GET /c?e HTTP/1.1",
        b"GET /c?e HTTP/1.0",
    ]
    fields = b"\r\nHost: a.example\r\nX-Own: yes\r\nConnection: keep-alive\r\n\r\n"
    together, apart = scene(echo), [scene(echo) for _ in asked]
    for line, alone in zip(asked, apart, strict=True):
        together.send(line + fields)
        alone.send(line + fields)
    assert sent_on(together) == b"".join(map(sent_on, apart))


def test_and_each_goes_to_the_target_that_was_chosen_for_it() -> None:
    targets = [{"url": "http://127.0.0.1:9000/one"}, {"url": "http://127.0.0.1:9001/two"}]
    table = Snapshot().with_table([service("plain", targets=targets)], [route("/", "plain")], CircuitPolicy())
    stage = scene(echo, snapshot=table)
    for _ in range(2):
        stage.send(ALIKE, GET)
    sent = re.findall(rb"GET (\S+) HTTP/1.1\r\nHost: (\S+)", sent_on(stage))
    hosts = {b"/one": b"127.0.0.1:9000", b"/two": b"127.0.0.1:9001"}
    assert sorted(target[:4] for target, _ in sent) == [b"/one", b"/one", b"/two", b"/two"]
    assert [host for _, host in sent] == [hosts[target[:4]] for target, _ in sent]


def test_and_as_the_route_wants_it_now() -> None:
    stage = scene(echo, snapshot=one_service())
    stage.send(ALIKE, GET)
    edited = route("/", "plain", request_headers={"set": {"X-New": "now"}})
    change = change_of_route(route("/", "plain"), edited, age=0)
    stage.bench.plane.snapshot = stage.bench.plane.snapshot.with_change(change)
    stage.send(ALIKE, GET)
    assert sent_on(stage).count(b"X-New: now") == 2
