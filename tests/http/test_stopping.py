"""Stopping: what is in flight is finished, nothing new begins, and nobody waits for ever (http.md, Stopping)."""

import contextlib
import socket
import threading
import time

import pytest

from tests.kit.client import Client, NoAnswerError
from tests.kit.fixtures import running_pair
from tests.kit.messages import answer, lines
from tests.kit.steps import Echo, ReadToEnd, Send, WaitFor
from tests.kit.waiting import PATIENCE

GET = lines("GET /x HTTP/1.1", "Host: a.example")
SLOW = lines("GET /slow HTTP/1.1", "Host: a.example")
DRAIN_LIMIT = 100.0  # seconds; no test here waits for that long


def assert_refused(port: int) -> None:
    """Nobody listens any more; the last accept may take a moment to end."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as probe:
                probe.sendall(lines("GET /probe HTTP/1.1", "Host: a.example"))
                if probe.recv(1) == b"":
                    return  # it was still in the queue, and is closed unheard
        except ConnectionError:
            return
    raise AssertionError("new connections are still served")


def test_an_answer_under_way_is_finished() -> None:
    """It comes whole, and says that it is the last on its connection (RFC 9112, 9.6)."""
    go_on = threading.Event()
    with running_pair(drain_timeout=DRAIN_LIMIT) as pair, pair.gateway.connect() as client:
        pair.upstream.script(WaitFor(go_on), Echo())
        client.send(SLOW)
        pair.upstream.wait_for_requests(1)
        pair.gateway.begin_stop()
        assert_refused(pair.gateway.port)
        go_on.set()
        got = client.read_answer()
        assert (got.status, got.body, got.complete) == (200, b"GET /slow", True)
        assert got.one(b"connection") == b"close"
        client.assert_closed()


def test_a_body_under_way_is_finished() -> None:
    with running_pair(drain_timeout=DRAIN_LIMIT) as pair, pair.gateway.connect() as client:
        client.send(lines("POST /x HTTP/1.1", "Host: a.example", "Content-Length: 10") + b"hello")
        pair.upstream.wait_for_requests(1)
        pair.gateway.begin_stop()
        assert_refused(pair.gateway.port)
        client.send(b"again")
        got = client.read_answer()
        assert (got.status, got.complete) == (200, True)
        assert pair.upstream.requests[0].body == b"helloagain"


def test_a_long_answer_is_finished() -> None:
    half = threading.Event()
    body = b"a" * 500_000
    with running_pair(drain_timeout=DRAIN_LIMIT) as pair, pair.gateway.connect() as client:
        whole = answer(200, body=body)
        pair.upstream.script(Send(whole[:1_000]), WaitFor(half), Send(whole[1_000:]))
        client.send(GET)
        client.stream.peek()
        pair.gateway.begin_stop()
        assert_refused(pair.gateway.port)
        half.set()
        got = client.read_answer()
        assert (got.body, got.complete) == (body, True)
        client.assert_closed()  # though its head, sent before the stop, could not say so


def test_an_idle_connection_is_closed_at_once() -> None:
    with running_pair(drain_timeout=DRAIN_LIMIT) as pair, pair.gateway.connect() as client:
        assert client.ask(GET).status == 200
        pair.gateway.begin_stop()
        client.assert_closed()


def test_a_connection_that_has_said_nothing_is_closed_at_once() -> None:
    with running_pair(drain_timeout=DRAIN_LIMIT) as pair, pair.gateway.connect() as client:
        pair.gateway.settle()
        pair.gateway.begin_stop()
        client.assert_closed()


def test_a_head_under_way_does_not_hold_the_stop() -> None:
    """It may be served or let go, but within the limit."""
    with running_pair(drain_timeout=0.5) as pair, pair.gateway.connect() as client:
        client.send(b"GET /x HTTP/1.1\r\nHost: a")
        pair.gateway.settle()
        pair.gateway.begin_stop()
        with contextlib.suppress(NoAnswerError):
            assert client.read_answer().status in (200, 400, 408, 503)


def test_a_pipelined_request_is_served_or_not_begun() -> None:
    go_on = threading.Event()
    with running_pair(drain_timeout=DRAIN_LIMIT) as pair, pair.gateway.connect() as client:
        pair.upstream.script(WaitFor(go_on), Echo())
        client.send(SLOW + GET)
        pair.upstream.wait_for_requests(1)
        pair.gateway.begin_stop()
        assert_refused(pair.gateway.port)
        go_on.set()
        assert client.read_answer().body == b"GET /slow"
        try:
            assert client.read_answer().body == b"GET /x"
        except NoAnswerError:
            assert b"/x" not in {seen.target for seen in pair.upstream.requests}


def test_the_limit_ends_what_does_not_end() -> None:
    """What is not finished by then looks unfinished."""
    with running_pair(drain_timeout=0.5) as pair, pair.gateway.connect() as client:
        pair.upstream.script(Send(lines("HTTP/1.1 200 OK", "Content-Length: 1000") + b"half"), ReadToEnd())
        client.send(GET)
        client.stream.peek()
        pair.gateway.begin_stop()
        got = client.read_answer()
        assert not got.complete


@pytest.mark.parametrize("clients", [30])
def test_a_stop_under_load_loses_no_request(clients: int) -> None:
    """Every request that was accepted gets its whole answer; the others see a closed connection and nothing else."""
    failures: list[str] = []
    answered = [0]
    going = threading.Event()

    def ask(port: int) -> None:
        try:
            with Client(port) as client:
                while True:
                    got = client.ask(GET)
                    if (got.status, got.complete, got.body) != (200, True, b"GET /x"):
                        failures.append(str(got))
                    answered[0] += 1
                    going.set()
                    if got.one(b"connection") == b"close":
                        return
        except (NoAnswerError, ConnectionError):
            return
        except Exception as error:  # noqa: BLE001  a thread's error must fail the test
            failures.append(repr(error))

    with running_pair(drain_timeout=DRAIN_LIMIT) as pair:
        threads = [threading.Thread(target=ask, args=(pair.gateway.port,)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        assert going.wait(PATIENCE)
        pair.gateway.begin_stop()
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
    assert failures == []
    assert answered[0] >= 1
