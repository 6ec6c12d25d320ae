"""Faults: upstreams that are away, silent, slow or rude, what the client is told, and what is tried again (http.md,
Faults).
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from microgateway.entities import Service
from microgateway.testing import FakeClock
from tests.kit.client import Answer
from tests.kit.configuration import route, service, settings
from tests.kit.fixtures import running_pair
from tests.kit.gateway import running_gateway
from tests.kit.messages import answer, lines
from tests.kit.steps import Call, Close, Echo, ReadBody, ReadToEnd, Reset, Send, WaitFor
from tests.kit.upstream import Conversation, running_upstream
from tests.kit.waiting import PATIENCE, until

GET = lines("GET /x HTTP/1.1", "Host: a.example")


def put(body: bytes, method: str = "PUT") -> bytes:
    return lines(f"{method} /x HTTP/1.1", "Host: a.example", f"Content-Length: {len(body)}") + body


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """A port that refuses: bound, so that nobody else gets it, and not listened on."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@contextlib.contextmanager
def deaf_port() -> Iterator[int]:
    """A port where connecting never ends: its queue is full, and nobody accepts."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(listener.getsockname())
        yield listener.getsockname()[1]


def ask_at(url: str, request: bytes = GET, route_fields: dict[str, Any] | None = None, **overrides: Any) -> Answer:
    with (
        running_gateway(
            services=[service(url)], routes=[route("/", **(route_fields or {}))], settings=settings(**overrides)
        ) as gateway,
        gateway.connect() as client,
    ):
        return client.ask(request, request.partition(b" ")[0])


# -- what each fault is called -----------------------------------------------------------------------------------------


def test_a_refused_connection_is_502() -> None:
    with closed_port() as port:
        got = ask_at(f"http://127.0.0.1:{port}")
    assert got.status == 502
    assert got.problem()["stage"]


def test_a_name_that_nobody_knows_is_502() -> None:
    """RFC 6761, 6.4: `.invalid` never resolves."""
    got = ask_at("http://no-such-service.invalid", upstream_connect_timeout=2.0)
    assert got.status in (502, 504)
    assert "invalid" not in got.body.decode().replace("no route", "")


def test_a_connection_that_is_never_made_is_504() -> None:
    with deaf_port() as port:
        assert_given_up(service(f"http://127.0.0.1:{port}"), after=4.0, upstream_connect_timeout=4.0)


def test_a_service_has_a_connect_timeout_of_its_own() -> None:
    with deaf_port() as port:
        assert_given_up(service(f"http://127.0.0.1:{port}", connect_timeout_seconds=0.5), after=0.5)


def assert_given_up(deaf: Service, *, after: float, **overrides: float) -> None:
    """The gateway's own clock says when: it stands still until then."""
    clock = FakeClock()
    with (
        running_gateway(services=[deaf], routes=[route("/")], settings=settings(**overrides), clock=clock) as gateway,
        gateway.connect() as client,
    ):
        client.send(GET)
        until(lambda: gateway.call(lambda served: int(served.listener.in_flight)) == 1, "it is being connected")
        gateway.pass_time(clock, after)
        assert client.read_answer().status == 504


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_an_upstream_that_says_nothing_more_is_504(said: bytes) -> None:
    clock, told = FakeClock(), threading.Event()
    with running_pair(clock=clock) as pair, pair.gateway.connect() as client:
        pair.upstream.script(Send(said), Call(told.set), ReadToEnd(), Close())
        client.send(GET)
        assert told.wait(PATIENCE)
        pair.gateway.pass_time(clock, 30.0)
        got = client.read_answer()
        assert got.status == 504
        got.problem()
        pair.upstream.wait_until(lambda: pair.upstream.open_connections() == 0, "the upstream is let go")
        assert client.ask(lines("GET /y HTTP/1.1", "Host: a.example")).body == b"GET /y"


def test_a_head_that_drips_is_504_or_502() -> None:
    """A byte now and then must not hold a request for ever; a service's own limit is the whole request's."""
    stop = threading.Event()

    class Drip:
        def run(self, talk: Conversation) -> None:
            while not stop.wait(0.05):
                talk.stream.send(b"a")

    with (
        running_pair(upstream_read_timeout=0.3, routes=[route("/", timeout_seconds=1.0)]) as pair,
        pair.gateway.connect() as client,
    ):
        pair.upstream.script(Send(b"HTTP/1.1 200 OK\r\nX-A: "), Drip())
        try:
            assert client.ask(GET).status in (502, 504)
        finally:
            stop.set()


def test_a_route_has_a_deadline_for_all_attempts() -> None:
    clock, routes = FakeClock(), [route("/", timeout_seconds=0.5, retries=10)]
    with running_pair(routes=routes, clock=clock) as pair, pair.gateway.connect() as client:
        pair.upstream.usually(ReadToEnd(), Close())
        client.send(GET)
        pair.upstream.wait_for_requests(1)
        pair.gateway.pass_time(clock, 0.5)
        got = client.read_answer()
        assert got.status == 504
        got.problem()


def test_a_route_s_deadline_cuts_an_answer_off() -> None:
    clock = FakeClock()
    begun = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\na"
    with running_pair(routes=[route("/", timeout_seconds=0.5)], clock=clock) as pair, pair.gateway.connect() as client:
        pair.upstream.script(Send(begun), ReadToEnd(), Close())
        client.send(GET)
        client.stream.peek()
        pair.gateway.pass_time(clock, 0.5)
        got = client.read_answer()
        assert got.status == 200
        assert not got.complete


def test_a_slow_answer_within_the_limits_is_whole() -> None:
    """The read timeout is between two reads, so an answer may take longer than it as a whole."""
    clock = FakeClock()
    with running_pair(upstream_read_timeout=30.0, clock=clock) as pair, pair.gateway.connect() as client:
        a_while = Call(lambda: pair.gateway.pass_time(clock, 29.0))
        slowly = [step for octet in b"0123456789" for step in (a_while, Send(b"%c" % octet))]
        pair.upstream.script(Send(lines("HTTP/1.1 200 OK", "Content-Length: 10")), *slowly)
        assert client.ask(GET).body == b"0123456789"


def test_each_fault_has_a_code_of_its_own() -> None:
    """http.md: refused, lost, malformed, connect timeout and answer timeout each name themselves."""
    codes: dict[str, str] = {}
    with closed_port() as port:
        codes["refused"] = ask_at(f"http://127.0.0.1:{port}").problem()["code"]
    with deaf_port() as port:
        codes["connect timeout"] = ask_at(f"http://127.0.0.1:{port}", upstream_connect_timeout=0.3).problem()["code"]
    for name, steps in (
        ("lost", (Close(),)),
        ("malformed", (Send(b"nonsense\r\n\r\n"), Close())),
        ("timeout", (ReadToEnd(), Close())),
    ):
        limit = 0.3 if name == "timeout" else 30.0
        with running_pair(upstream_read_timeout=limit) as pair, pair.gateway.connect() as client:
            pair.upstream.usually(*steps)
            codes[name] = client.ask(GET).problem()["code"]
    assert len(set(codes.values())) == len(codes), codes


@pytest.mark.parametrize("fault", [Close(), Reset()])
def test_faults_count_against_the_service(fault: Close | Reset) -> None:
    with (
        running_pair(circuit_failure_threshold=3, circuit_recovery_timeout=20) as pair,
        pair.gateway.connect() as client,
    ):
        pair.upstream.usually(fault)
        assert [client.ask(put(b"", "POST"), b"POST").status for _ in range(4)] == [502, 502, 502, 503]


def test_the_gateways_own_answers_do_not_count_against_the_service() -> None:
    """kong-health-01: a 404 or a 401 of the gateway says nothing of the service."""
    with (
        running_pair(circuit_failure_threshold=1, routes=[route("/a"), route("/b", auth="required")]) as pair,
        pair.gateway.connect() as client,
    ):
        for target in ("/nowhere", "/b", "/a%00"):
            with pair.gateway.connect() as other:
                assert other.ask(lines(f"GET {target} HTTP/1.1", "Host: a.example")).status >= 400
        assert client.ask(lines("GET /a HTTP/1.1", "Host: a.example")).status == 200


def test_a_client_that_leaves_does_not_count_against_the_service() -> None:
    with running_pair(circuit_failure_threshold=1) as pair:
        pair.upstream.script(ReadToEnd(), Close())
        with pair.gateway.connect() as client:
            client.send(GET)
            pair.upstream.wait_for_requests(1)
            client.reset()
        pair.upstream.wait_until(lambda: pair.upstream.open_connections() == 0, "it is let go")
        with pair.gateway.connect() as other:
            assert other.ask(GET).status == 200


# -- retries -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("fault", [Close(), Reset()])
def test_an_idempotent_request_is_repeated(method: str, fault: Close | Reset) -> None:
    """RFC 9110, 9.2.2, within the route's `retries`; the body is sent again, whole."""
    with running_pair(routes=[route("/", retries=2)]) as pair, pair.gateway.connect() as client:
        pair.upstream.script(ReadBody(), fault)
        pair.upstream.script(ReadBody(), fault)
        request = put(b"hello", method)
        assert client.ask(request, method.encode()).status == 200
        assert [seen.body for seen in pair.upstream.requests] == [b"hello"] * 3
        assert len({seen.one(b"x-request-id") for seen in pair.upstream.requests}) == 1


def test_retries_end() -> None:
    with running_pair(routes=[route("/", retries=2)]) as pair, pair.gateway.connect() as client:
        pair.upstream.usually(Close())
        assert client.ask(GET).status == 502
        assert len(pair.upstream.requests) == 3


def test_no_retries_unless_the_route_says_so() -> None:
    with running_pair() as pair, pair.gateway.connect() as client:
        pair.upstream.usually(Close())
        assert client.ask(GET).status == 502
        assert len(pair.upstream.requests) == 1


@pytest.mark.parametrize("method", ["POST", "PATCH", "LOCK"])
def test_what_is_not_idempotent_is_sent_once(method: str) -> None:
    with running_pair(routes=[route("/", retries=5)]) as pair, pair.gateway.connect() as client:
        pair.upstream.usually(ReadBody(), Close())
        assert client.ask(put(b"hello", method), method.encode()).status == 502
        assert len(pair.upstream.requests) == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_connection_that_was_never_made_may_be_tried_again(method: str) -> None:
    """Nothing was sent, so nothing can have happened: any method may go to another target."""
    with closed_port() as port, running_upstream() as alive:
        urls = [{"url": f"http://127.0.0.1:{port}"}, {"url": alive.url}]
        services = [service(alive.url, targets=urls)]
        with (
            running_gateway(services=services, routes=[route("/", retries=8)], settings=settings()) as gateway,
            gateway.connect() as client,
        ):
            for _ in range(10):
                assert client.ask(put(b"hello", method), method.encode()).status == 200


def test_an_answer_of_the_upstreams_own_is_no_reason_to_repeat() -> None:
    """http.md retries lost connections; 500 and 503 are answers."""
    with running_pair(routes=[route("/", retries=5)]) as pair, pair.gateway.connect() as client:
        pair.upstream.usually(Send(answer(503, body=b"its own")))
        got = client.ask(GET)
        assert (got.status, got.body) == (503, b"its own")
        assert len(pair.upstream.requests) == 1


@pytest.mark.parametrize(
    "said",
    [
        b"H",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe",
    ],
)
def test_an_answer_that_was_begun_is_not_asked_for_again(said: bytes) -> None:
    """Once a byte of it went to the client it can't; once a byte of it came, the request was processed."""
    with running_pair(routes=[route("/", retries=5)]) as pair, pair.gateway.connect() as client:
        pair.upstream.script(Send(said), Close())
        got = client.ask(GET)
        if b"\r\n\r\n" in said:
            assert not got.complete
            assert len(pair.upstream.requests) == 1
        else:
            assert got.status in (200, 502)  # nothing went to the client, so both are sound for GET


def test_a_retry_strips_its_path_once() -> None:
    """traefik-retry-22."""
    with running_pair(routes=[route("/test", strip_prefix=True, retries=3)]) as pair, pair.gateway.connect() as client:
        pair.upstream.script(Close())
        assert client.ask(lines("GET /test/a?b HTTP/1.1", "Host: a.example")).status == 200
        assert [seen.target for seen in pair.upstream.requests] == [b"/a?b", b"/a?b"]


def test_nothing_of_a_failed_attempt_is_in_the_answer() -> None:
    """traefik-retry-19: fields of a try that failed are nobody's."""
    with running_pair(routes=[route("/", retries=3)]) as pair, pair.gateway.connect() as client:
        pair.upstream.script(Send(b"HTTP/1.1 200 OK\r\nX-First: 1\r\n"), Close())
        got = client.ask(GET)
        assert b"x-first" not in got.head.names()
        assert got.status in (200, 502)


def test_a_body_that_is_still_coming_is_not_repeated() -> None:
    """What was sent on is gone: it can't be replayed, so the attempt was the only one."""
    go_on = threading.Event()
    with running_pair(routes=[route("/", retries=5)]) as pair, pair.gateway.connect() as client:
        pair.upstream.script(WaitFor(go_on), Close())
        pair.upstream.script(Echo())
        client.send(lines("PUT /x HTTP/1.1", "Host: a.example", "Content-Length: 300000") + b"a" * 100_000)
        pair.upstream.wait_for_requests(1)
        pair.gateway.settle()
        go_on.set()
        assert client.read_answer().status == 502
        pair.upstream.rest()
        assert not [seen for seen in pair.upstream.requests if seen.complete]
