"""Connections: kept, closed, pipelined, half-closed, aborted and gone stale (RFC 9112, 9; http.md, Connections)."""

import contextlib
import threading

import pytest

from microgateway.testing import FakeClock
from tests.kit.client import Client, NoAnswerError
from tests.kit.configuration import route
from tests.kit.fixtures import Pair, running_pair
from tests.kit.messages import answer, chunked, lines
from tests.kit.steps import Call, Close, Echo, HalfClose, ReadBody, ReadToEnd, Reset, Send, WaitFor
from tests.kit.waiting import PATIENCE


def get(target: str = "/x", *fields: str, version: str = "1.1") -> bytes:
    return lines(f"GET {target} HTTP/{version}", "Host: a.example", *fields)


# -- kept or closed ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "fields", "kept"),
    [
        ("1.1", (), True),
        ("1.1", ("Connection: keep-alive",), True),
        ("1.1", ("Connection: close",), False),
        ("1.1", ("Connection: Close",), False),
        ("1.1", ("Connection: CLOSE",), False),
        ("1.1", ("Connection: close, keep-alive",), False),
        ("1.1", ("Connection: keep-alive, close",), False),
        ("1.1", ("Connection: keep-alive", "Connection: close"), False),
        ("1.1", ("Connection: X-A,close", "X-A: 1"), False),
        ("1.1", ("Connection:\tclose\t",), False),
        ("1.1", ("Connection: closed",), True),
        ("1.1", ("Connection: x-close",), True),
        ("1.1", ("Proxy-Connection: close",), True),
        ("1.0", (), False),
        ("1.0", ("Connection: close",), False),
        ("1.0", ("Connection: keep-alive",), True),
        ("1.0", ("Connection: Keep-Alive",), True),
        ("1.0", ("Connection: keep-alive, close",), False),
        ("1.0", ("Connection: keep-alive", "Connection: close"), False),
        ("1.0", ("Keep-Alive: timeout=5",), False),
        ("1.0", ("Proxy-Connection: keep-alive",), False),
    ],
)
def test_persistence(pair: Pair, version: str, fields: tuple[str, ...], kept: bool) -> None:
    """RFC 9112, 9.3: `close` always wins; HTTP/1.0 keeps a connection only where it asks to."""
    pair.upstream.forget()
    with pair.gateway.connect() as client:
        got = client.ask(get("/x", *fields, version=version))
        assert (got.status, got.body) == (200, b"GET /x")
        said = (got.one(b"connection") or b"").lower()
        if not kept:
            assert said == b"close"
            client.assert_closed()
            return
        assert said == (b"keep-alive" if version == "1.0" else b""), got.head.raw
        assert client.ask(get("/y")).body == b"GET /y"


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_the_clients_wish_is_not_the_upstreams(pair: Pair, version: str) -> None:
    """Persistence is a matter of each connection: the upstream's is kept though the client's ends."""
    pair.upstream.forget()
    with pair.gateway.connect() as client:
        client.ask(get("/first", "Connection: close", version=version))
    with pair.gateway.connect() as client:
        client.ask(get("/second"))
    first, second = pair.upstream.requests[-2:]
    assert first.connection == second.connection
    assert (first.one(b"connection") or b"").lower() != b"close"
    assert first.head.start.endswith(b"HTTP/1.1")


def test_a_thousand_requests_on_one_connection(pair: Pair) -> None:
    pair.upstream.forget()
    with pair.gateway.connect() as client:
        for number in range(1_000):
            assert client.ask(get(f"/{number}")).body == b"GET /%d" % number
    assert len({request.connection for request in pair.upstream.requests[-1_000:]}) == 1


# -- pipelining --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 10, 100])
def test_pipelined_requests_are_answered_in_order(pair: Pair, count: int) -> None:
    pair.upstream.forget()
    with pair.gateway.connect() as client:
        client.send(b"".join(get(f"/{number}") for number in range(count)))
        assert [client.read_answer().body for _ in range(count)] == [b"GET /%d" % number for number in range(count)]


def test_pipelined_requests_with_bodies(pair: Pair) -> None:
    pair.upstream.forget()
    post = "POST /{} HTTP/1.1"
    sends = (
        lines(post.format(0), "Host: a.example", "Content-Length: 5") + b"hello"
        + lines(post.format(1), "Host: a.example", "Transfer-Encoding: chunked") + chunked(b"hello", b"again")
        + get("/2")
        + lines("HEAD /3 HTTP/1.1", "Host: a.example")
        + lines(post.format(4), "Host: a.example", "Content-Length: 0")
        + get("/5")
    )  # fmt: skip
    known = len(pair.upstream.requests)
    with pair.gateway.connect() as client:
        client.send(sends)
        methods = (b"POST", b"POST", b"GET", b"HEAD", b"POST", b"GET")
        bodies = [client.read_answer(method).body for method in methods]
    assert bodies == [b"POST /0", b"POST /1", b"GET /2", b"", b"POST /4", b"GET /5"]
    assert [request.body for request in pair.upstream.requests_since(known)] == [
        b"hello",
        b"helloagain",
        b"",
        b"",
        b"",
        b"",
    ]


def test_a_slow_first_answer_holds_the_others_back(pair: Pair) -> None:
    """RFC 9112, 9.3.2: answers come in the order of the requests."""
    pair.upstream.forget()
    go_on = threading.Event()
    pair.upstream.script(WaitFor(go_on), Echo())
    with pair.gateway.connect() as client:
        client.send(get("/slow") + get("/quick"))
        pair.upstream.wait_until(lambda: pair.upstream.requests[-1].target == b"/slow", "the first is asked")
        go_on.set()
        assert [client.read_answer().body for _ in range(2)] == [b"GET /slow", b"GET /quick"]


def test_nothing_behind_close_is_served(pair: Pair) -> None:
    """RFC 9112, 9.6: what comes behind `close` MUST NOT be processed."""
    pair.upstream.forget()
    known = len(pair.upstream.requests)
    with pair.gateway.connect() as client:
        client.send(get("/x", "Connection: close") + get("/y"))
        assert client.read_answer().body == b"GET /x"
        client.assert_closed()
    pair.upstream.rest()
    assert [request.target for request in pair.upstream.requests_since(known)] == [b"/x"]


def test_an_answer_is_not_lost_to_what_came_behind_close(pair: Pair) -> None:
    """A connection closed with bytes unread is reset, and the reset destroys what is on its way (RFC 9112, 9.6)."""
    pair.upstream.forget()
    pair.upstream.script(Send(answer(200, body=b"a" * 3_000_000)))
    with pair.gateway.connect(receive_buffer=16_384) as client:
        client.send(get("/x", "Connection: close") + get("/y") * 20_000)
        got = client.read_answer()
        assert (len(got.body), got.complete, got.was_reset) == (3_000_000, True, False)
        client.assert_closed()


def test_a_bad_request_in_a_pipeline(pair: Pair) -> None:
    """Those before it are answered, it is refused, and those behind it are not looked at."""
    pair.upstream.forget()
    known = len(pair.upstream.requests)
    with pair.gateway.connect() as client:
        client.send(get("/0") + get("/1", "Bad Name: x") + get("/2"))
        assert client.read_answer().body == b"GET /0"
        assert client.read_answer().status == 400
        client.assert_closed()
    pair.upstream.rest()
    assert [request.target for request in pair.upstream.requests_since(known)] == [b"/0"]


def test_a_refusal_of_the_gateways_own_in_a_pipeline() -> None:
    """404 and 401 end no connection: the next request is answered."""
    with (
        running_pair(routes=[route("/open"), route("/closed", auth="required")]) as pair,
        pair.gateway.connect() as client,
    ):
        body = lines("POST /closed HTTP/1.1", "Host: a.example", "Content-Length: 5") + b"hello"
        client.send(get("/closed") + get("/open/1") + body + get("/open/2"))
        assert [client.read_answer().status for _ in range(4)] == [401, 200, 401, 200]


def test_pipelined_requests_in_small_pieces(pair: Pair) -> None:
    pair.upstream.forget()
    sends = get("/0") + lines("POST /1 HTTP/1.1", "Host: a.example", "Content-Length: 5") + b"hello" + get("/2")
    for size in (1, 2, 3, 7, 50):
        with pair.gateway.connect() as client:
            client.send(*(sends[place : place + size] for place in range(0, len(sends), size)))
            assert [client.read_answer().body for _ in range(3)] == [b"GET /0", b"POST /1", b"GET /2"]


def test_a_pipeline_without_end_is_bounded(pair: Pair) -> None:
    """A client that sends and never reads is not buffered for ever: it is no longer read from."""
    pair.upstream.forget()
    go_on = threading.Event()
    pair.upstream.script(WaitFor(go_on), Echo())
    many = get("/pipelined") * 200
    with pair.gateway.connect() as client:
        client.send(get("/first"))
        client.stream.sock.settimeout(0.5)
        sent = 0
        try:
            while sent < 64 << 20:
                sent += client.stream.sock.send(many)
        except TimeoutError:
            pass
        else:
            raise AssertionError("64 MiB of requests were taken in")
        finally:
            go_on.set()
        assert client.read_answer().body == b"GET /first"
        assert client.read_answer().body == b"GET /pipelined"


# -- half-close and abort ----------------------------------------------------------------------------------------------


def test_a_half_closed_client_gets_its_answer(pair: Pair) -> None:
    """TCP allows it and `printf ... | nc` does it: no more requests will come, but the answer is waited for."""
    pair.upstream.forget()
    with pair.gateway.connect() as client:
        client.send(get("/x"))
        client.half_close()
        assert client.read_answer().body == b"GET /x"
        client.assert_closed()


def test_a_half_closed_client_gets_all_its_answers(pair: Pair) -> None:
    pair.upstream.forget()
    with pair.gateway.connect() as client:
        client.send(get("/x") + get("/y"))
        client.half_close()
        assert client.read_answer().body == b"GET /x"
        assert client.read_answer().body == b"GET /y"
        client.assert_closed()


def test_a_half_closed_client_gets_a_long_answer(pair: Pair) -> None:
    pair.upstream.forget()
    pair.upstream.script(Send(answer(200, body=b"a" * 2_000_000)))
    with pair.gateway.connect() as client:
        client.send(get("/x"))
        client.half_close()
        got = client.read_answer()
        assert (len(got.body), got.complete) == (2_000_000, True)


@pytest.mark.parametrize("part", [b"", b"G", b"GET /x HTTP/1.1\r\nHost: a.example\r\n"])
def test_a_half_close_before_the_end_of_a_head(pair: Pair, part: bytes) -> None:
    known = len(pair.upstream.requests)
    with pair.gateway.connect() as client:
        client.send(part)
        client.half_close()
        with contextlib.suppress(NoAnswerError):
            assert client.read_answer().status in (400, 408)
        client.assert_closed()
    assert len(pair.upstream.requests) == known


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_client_that_leaves_cancels_the_upstream(pair: Pair, leave: str) -> None:
    """http.md: at once, and its connection is not used again: what it still answers is nobody's."""
    pair.upstream.forget()
    known = len(pair.upstream.requests)
    pair.upstream.script(ReadToEnd(), Close())
    with pair.gateway.connect() as client:
        client.send(get("/abandoned"))
        pair.upstream.wait_for_requests(known + 1)
        client.reset() if leave == "reset" else client.stream.close()
    connection = pair.upstream.connections[pair.upstream.requests[-1].connection]
    pair.upstream.wait_until(lambda: connection.closed, "the upstream is told")
    with pair.gateway.connect() as other:
        assert other.ask(get("/other")).body == b"GET /other"


def test_a_client_that_leaves_in_the_middle_of_an_answer(pair: Pair) -> None:
    pair.upstream.forget()
    pair.upstream.script(Send(lines("HTTP/1.1 200 OK", "Content-Length: 1000") + b"half"), ReadToEnd(), Close())
    with pair.gateway.connect() as client:
        client.send(get("/abandoned"))
        client.stream.read_until(b"half")
        client.reset()
    connection = pair.upstream.connections[pair.upstream.requests[-1].connection]
    pair.upstream.wait_until(lambda: connection.closed, "the upstream is told")


def test_abandoned_requests_leave_nothing_behind(pair: Pair) -> None:
    """Connections on both sides are as many as before."""
    pair.upstream.forget()
    pair.upstream.usually(ReadToEnd(), Close())
    known = len(pair.upstream.requests)
    clients = [Client(pair.gateway.port) for _ in range(50)]
    for client in clients:
        client.send(get("/abandoned"))
    pair.upstream.wait_for_requests(known + 50)
    for client in clients:
        client.reset()
    pair.upstream.wait_until(lambda: pair.upstream.open_connections() == 0, "upstream connections are freed")
    pair.upstream.forget()
    with pair.gateway.connect() as client:
        assert client.ask(get("/x")).status == 200
        assert pair.gateway.call(lambda served: served.listener.connections) == 1
        assert pair.gateway.call(lambda served: served.listener.upstream_connections) == 1


# -- the upstream's side -----------------------------------------------------------------------------------------------


def warm(pair: Pair, *steps: object) -> int:
    """Puts a connection into the pool whose next request, or idleness, is scripted. Answers its number."""
    pair.upstream.forget()
    with pair.gateway.connect() as client:
        assert client.ask(get("/warm")).status == 200
    return pair.upstream.requests[-1].connection


@pytest.mark.parametrize("end", [Close(), Reset(), HalfClose()])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_a_stale_connection_costs_an_idempotent_request_nothing(end: Close | Reset | HalfClose, method: str) -> None:
    """http.md: retried once on a fresh one (RFC 9110, 9.2.2; RFC 9112, 9.3.1)."""
    with running_pair() as pair:
        stale = warm(pair)
        pair.upstream.script(end)
        with pair.gateway.connect() as client:
            body = ("Content-Length: 5",) if method == "PUT" else ()
            sends = lines(f"{method} /x HTTP/1.1", "Host: a.example", *body) + (b"hello" if body else b"")
            got = client.ask(sends, method.encode())
        assert got.status == 200
        last = pair.upstream.requests[-1]
        assert (last.target, last.connection != stale) == (b"/x", True)
        assert last.body == (b"hello" if body else b"")
        pair.upstream.violations.clear()


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_stale_connection_does_not_repeat_what_may_have_happened(method: str) -> None:
    """RFC 9110, 9.2.2: a proxy MUST NOT repeat a request that is not idempotent on its own."""
    with running_pair() as pair:
        warm(pair)
        pair.upstream.script(Close())
        with pair.gateway.connect() as client:
            got = client.ask(
                lines(f"{method} /x HTTP/1.1", "Host: a.example", "Content-Length: 5") + b"hello", method.encode()
            )
            assert got.status == 502
            got.problem()
        assert [request.target for request in pair.upstream.requests].count(b"/x") == 1


def test_a_stale_connection_is_retried_once_only() -> None:
    """A fresh connection that ends the same way is no longer stale: 502."""
    with running_pair() as pair:
        warm(pair)
        pair.upstream.usually(Close())
        with pair.gateway.connect() as client:
            assert client.ask(get("/x")).status == 502
        assert [request.target for request in pair.upstream.requests].count(b"/x") == 2


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_connection_closed_while_idle_is_not_used(method: str) -> None:
    """The gateway sees the end of an idle connection, and opens another: no request is lost, whatever its method."""
    with running_pair() as pair:
        pair.upstream.script(Echo(), Close())
        with pair.gateway.connect() as client:
            assert client.ask(get("/warm")).status == 200
            pair.upstream.wait_for_scripts()
            pair.gateway.settle()
            got = client.ask(lines(f"{method} /x HTTP/1.1", "Host: a.example", "Content-Length: 0"), method.encode())
        assert got.body == f"{method} /x".encode()


@pytest.mark.parametrize(
    "said",
    [
        answer(200, "Connection: close", body=b"ok"),
        answer("200 OK", "Connection: keep-alive, close", body=b"ok"),
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
)
def test_an_upstream_that_says_close_is_not_used_again(pair: Pair, said: bytes) -> None:
    pair.upstream.forget()
    pair.upstream.script(Send(said), ReadToEnd(), Close())
    with pair.gateway.connect() as client:
        assert client.ask(get("/x")).body == b"ok"
        first = pair.upstream.requests[-1].connection
        assert client.ask(get("/y")).body == b"GET /y"
    assert pair.upstream.requests[-1].connection != first


def test_an_upstreams_close_is_not_the_clients(pair: Pair) -> None:
    pair.upstream.forget()
    pair.upstream.script(Send(answer(200, "Connection: close", body=b"ok")), Close())
    with pair.gateway.connect() as client:
        got = client.ask(get("/x"))
        assert got.one(b"connection") is None
        assert client.ask(get("/y")).body == b"GET /y"


def test_connections_are_reused_and_shared(pair: Pair) -> None:
    pair.upstream.forget()
    known = len(pair.upstream.connections)
    for number in range(20):
        with pair.gateway.connect() as client:
            assert client.ask(get(f"/{number}")).status == 200
    assert len(pair.upstream.connections) - known <= 1


def test_two_requests_at_once_use_two_connections(pair: Pair) -> None:
    pair.upstream.forget()
    go_on, begun = threading.Event(), threading.Event()
    pair.upstream.script(Call(begun.set), WaitFor(go_on), Echo())
    with pair.gateway.connect() as slow, pair.gateway.connect() as quick:
        slow.send(get("/slow"))
        assert begun.wait(PATIENCE)
        assert quick.ask(get("/quick")).body == b"GET /quick"
        go_on.set()
        assert slow.read_answer().body == b"GET /slow"


def test_an_idle_upstream_connection_is_closed_in_time() -> None:
    clock = FakeClock()
    with running_pair(upstream_idle_timeout=60.0, clock=clock) as pair:
        warm(pair)
        pair.gateway.pass_time(clock, 59.0)
        assert pair.upstream.open_connections() == 1
        pair.gateway.pass_time(clock, 1.0)
        pair.upstream.wait_until(lambda: pair.upstream.open_connections() == 0, "it is closed")


def test_one_clients_bytes_never_reach_another(pair: Pair) -> None:
    """Twenty clients at once, each with answers of its own, of many sizes."""
    pair.upstream.forget()
    pair.upstream.usually(ReadBody(), Echo())
    wrong: list[str] = []

    def ask(name: int) -> None:
        with pair.gateway.connect() as client:
            for number in range(25):
                target = f"/{name}/{number}/" + "x" * (number * name % 500)
                got = client.ask(get(target))
                if got.body != b"GET " + target.encode():
                    wrong.append(f"{target}: {got.body[:80]!r}")

    threads = [threading.Thread(target=ask, args=(name,)) for name in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert wrong == []
