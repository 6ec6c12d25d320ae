"""Connections to an upstream, on real sockets: none is leaked, none is counted that isn't there, and a stale one costs
nobody an answer where it need not.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

import pytest
import uvloop

from fuzzing.configuration import NEVER_TRIPS, configuration
from fuzzing.configuration import route as bare_route
from fuzzing.configuration import service as bare_service
from fuzzing.wires import Workbench
from microgateway.data_plane.pool import Pools
from microgateway.data_plane.upstream import UpstreamConnection
from microgateway.snapshot import Snapshot
from microgateway.testing import FakeClock
from tests.kit.client import Client
from tests.kit.configuration import route, service, settings
from tests.kit.fixtures import Pair, running_pair
from tests.kit.gateway import Gateway, running_gateway
from tests.kit.messages import answer, lines
from tests.kit.steps import Close, Reset, Send
from tests.kit.upstream import running_upstream
from tests.kit.waiting import until

GET = lines("GET /x HTTP/1.1", "Host: a.example")
POST = lines("POST /x HTTP/1.1", "Host: a.example", "Content-Length: 2") + b"ok"


def opened(gateway: Gateway) -> int:
    return gateway.call(lambda served: int(served.listener.upstream_connections))


def connected(gateway: Gateway) -> int:
    return gateway.call(lambda served: int(served.listener.connections))


def recorded(gateway: Gateway) -> tuple[int, int]:
    """Requests and errors of the one service."""
    usage = gateway.call(lambda served: served.usage.services.get("upstream"))
    return (usage.total_requests, usage.total_errors) if usage else (0, 0)


@contextlib.contextmanager
def deaf_port() -> Iterator[int]:
    """A port that neither accepts nor refuses: its queue is full, so a connection is never made."""
    with socket.socket() as listener, contextlib.ExitStack() as fillers:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@contextlib.contextmanager
def before_a_deaf_port(**overrides: float) -> Iterator[Gateway]:
    with (
        deaf_port() as port,
        running_gateway(
            services=[service(f"http://127.0.0.1:{port}")], routes=[route("/")], settings=settings(**overrides)
        ) as gateway,
    ):
        yield gateway


@pytest.fixture
def pair() -> Iterator[Pair]:
    with running_pair() as pair:
        yield pair


def test_a_refused_connection_is_counted_no_longer(pair: Pair) -> None:
    pair.upstream.stop_listening()
    with pair.gateway.connect() as client:
        for _ in range(5):
            assert client.ask(GET).status == 502
    assert opened(pair.gateway) == 0
    assert recorded(pair.gateway) == (5, 5)


def test_a_body_in_two_pieces_for_a_refused_connection_leaves_the_client_served(pair: Pair) -> None:
    pair.upstream.stop_listening()
    with pair.gateway.connect() as client:
        for _ in range(20):
            client.send(POST[:-1])
            client.send(POST[-1:])
            answered = client.read_answer(b"POST")
            assert answered.status == 502
            if answered.one(b"connection") == b"close":  # it was answered before the second piece
                return


def test_a_connect_whose_client_leaves_is_given_up() -> None:
    with before_a_deaf_port() as gateway:
        clients = [Client(gateway.port) for _ in range(5)]
        for client in clients:
            client.send(GET)
        until(lambda: opened(gateway) == 5, "five connections are being opened")
        for client in clients:
            client.reset()
        until(lambda: opened(gateway) == 0, "none is being opened any more")
        assert connected(gateway) == 0
        assert recorded(gateway)[0] == 5


def test_a_connect_that_takes_too_long_is_given_up() -> None:
    with before_a_deaf_port(upstream_connect_timeout=0.2) as gateway, gateway.connect() as client:
        told = client.ask(GET)
        assert (told.status, told.problem()["code"]) == (504, "upstream_connect_timeout")
        until(lambda: opened(gateway) == 0, "none is being opened any more")


async def test_a_connect_that_is_given_up_before_it_began_is_counted_no_longer() -> None:
    """Two reads in one round of the loop: the first asks for a connection, the second makes it pointless."""
    bench = Workbench(configuration())
    bench.plane.pools = pools = Pools(bench.plane)
    client = bench.connect()
    client.send_now(b"POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
    client.send_now(b"no chunk\r\n")
    for _ in range(10):
        await asyncio.sleep(0)
    assert [exchange.status for exchange in bench.exchanges] == [400]
    assert [pool.opened for pool in pools] == [0]
    assert [pool.connecting() for pool in pools] == [0]


def test_a_second_connect_of_a_request_is_given_up_too() -> None:
    """The first handshake fails, the second never ends, and then the client leaves."""
    with running_upstream() as upstream:
        upstream.script_connection(Close())
        with running_gateway(
            services=[service(upstream.url.replace("http", "https"))],
            routes=[route("/", retries=1)],
            settings=settings(),
        ) as gateway:
            with gateway.connect() as client:
                client.send(GET)
                upstream.wait_until(lambda: len(upstream.connections) == 2, "the second attempt")
                assert opened(gateway) == 1
                client.reset()
            until(lambda: opened(gateway) == 0, "none is being opened any more")


@pytest.mark.parametrize("loop_factory", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def test_a_connect_that_is_given_up_at_its_very_end_is_counted_no_longer(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client leaves when the connection is made, and the pool has not been told of it yet.

    uvloop never tells such a connection that it is lost.
    """

    async def leave_when_it_is_made(url: str) -> None:
        snapshot = Snapshot().with_table([bare_service("plain", base_url=url)], [bare_route("/", "plain")], NEVER_TRIPS)
        bench = Workbench(snapshot)
        bench.plane.pools = pools = Pools(bench.plane)
        client = bench.connect()
        made = UpstreamConnection.connection_made

        def made_and_left(connection: UpstreamConnection, transport: asyncio.BaseTransport) -> None:
            made(connection, transport)
            client.reset()
            bench.run()

        monkeypatch.setattr(UpstreamConnection, "connection_made", made_and_left)
        client.send_now(GET)
        (pool,) = pools
        for _ in range(1_000):  # rounds of the loop: the connection is made in one of the first
            await asyncio.sleep(0)
        assert ([exchange.status for exchange in bench.exchanges], pool.opened) == ([499], 0)

    with running_upstream() as upstream, asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(leave_when_it_is_made(upstream.url))


def test_a_client_that_was_gone_before_it_was_accepted_harms_nobody(pair: Pair) -> None:
    """Its socket has no peer any more, so nothing can be asked of it."""

    def come_and_go(served: object) -> None:
        for _ in range(5):
            Client(pair.gateway.port).reset()

    pair.gateway.call(come_and_go)  # on the gateway's own loop, so that it can't accept meanwhile
    with pair.gateway.connect() as client:
        assert client.ask(GET).status == 200
    until(lambda: connected(pair.gateway) == 0, "nobody is connected")


def test_a_kept_connection_is_used_again(pair: Pair) -> None:
    with pair.gateway.connect() as client:
        for _ in range(10):
            assert client.ask(GET).status == 200
    assert len(pair.upstream.connections) == 1
    assert opened(pair.gateway) == 1


@pytest.mark.parametrize(
    "kept",
    [
        answer("204 No Content", length=False),
        answer("304 Not Modified", "ETag: x", length=False),
        answer("200 OK", "Transfer-Encoding: chunked", length=False, body=b"0\r\n\r\n"),
        answer("200 OK", body=b"abc"),
    ],
    ids=["204", "304", "chunked", "length"],
)
def test_a_connection_is_kept_behind_every_answer_whose_end_is_known(pair: Pair, kept: bytes) -> None:
    for _ in range(3):
        pair.upstream.script(Send(kept))
    with pair.gateway.connect() as client:
        for _ in range(3):
            client.ask(GET)
    assert len(pair.upstream.connections) == 1


@pytest.mark.parametrize(
    "last",
    [
        answer(200, "Connection: close", body=b"abc"),
        answer(200, body=b"abc") + b"and more",
        answer("204 No Content", length=False) + b"x",
        answer("200 OK", "Transfer-Encoding: chunked", length=False, body=b"0\r\n\r\nHTTP/1.1 200 OK\r\n"),
        answer(200, body=b"abc").replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
    ids=["close", "extra bytes", "extra bytes behind no body", "extra bytes behind chunks", "HTTP/1.0"],
)
def test_a_connection_is_not_kept_where_something_could_still_come(pair: Pair, last: bytes) -> None:
    pair.upstream.script(Send(last))
    with pair.gateway.connect() as client:
        client.ask(GET)
        until(lambda: opened(pair.gateway) == 0, "it is closed")
        assert client.ask(GET).body == b"GET /x"


def test_idle_connections_are_closed_when_nobody_needs_them() -> None:
    clock = FakeClock()
    with (
        running_upstream() as upstream,
        running_gateway(
            services=[service(upstream.url)],
            routes=[route("/")],
            settings=settings(client_idle_timeout=1_000),
            clock=clock,
        ) as gateway,
    ):
        clients = [Client(gateway.port) for _ in range(4)]
        for client in clients:
            client.send(GET)
        for client in clients:
            assert client.read_answer().status == 200
        assert 1 <= opened(gateway) <= 4
        clock.advance(61.0)
        until(lambda: opened(gateway) == 0, "they are closed")
        assert clients[0].ask(GET).status == 200
        for client in clients:
            client.stream.close()


def test_connections_to_where_no_service_is_any_more_are_closed(pair: Pair) -> None:
    def pools() -> set[str]:
        plane = pair.gateway.call(lambda served: served.listener._plane)  # noqa: SLF001  nobody else knows of them
        return {pool.url.text for pool in plane.pools}

    with running_upstream() as other, pair.gateway.connect() as client:
        assert client.ask(GET).status == 200
        for name in ("moved", "named anew"):  # what is still open is forgotten with the next change
            moved = service(other.url, name=name)
            pair.gateway.apply(Snapshot().with_table([moved], [route("/")], NEVER_TRIPS))
            assert client.ask(GET).status == 200
            until(lambda: opened(pair.gateway) == 1, "those to the old place are closed")
        assert pools() == {other.url}


def test_an_upstream_that_closes_idle_connections_is_not_counted(pair: Pair) -> None:
    pair.upstream.script(Send(answer(200, body=b"ok")), Close())
    with pair.gateway.connect() as client:
        assert client.ask(GET).status == 200
        until(lambda: opened(pair.gateway) == 0, "the gateway noticed")


def test_a_stale_connection_costs_an_idempotent_request_nothing(pair: Pair) -> None:
    """The upstream hangs up when the second request comes: that one may not have been seen, and is sent again."""
    with pair.gateway.connect() as client:
        assert client.ask(GET).status == 200
        for end in (Close(), Reset()):
            pair.upstream.script(end)
            assert client.ask(GET).body == b"GET /x"
    assert len(pair.upstream.connections) == 3
    assert opened(pair.gateway) == 1
    assert recorded(pair.gateway) == (3, 0)


def test_a_stale_connection_is_not_an_excuse_to_repeat_a_post(pair: Pair) -> None:
    with pair.gateway.connect() as client:
        assert client.ask(POST, b"POST").status == 200
        pair.upstream.script(Close())
        assert client.ask(POST, b"POST").status == 502
    assert len(pair.upstream.requests) == 2


def test_a_fresh_connection_that_breaks_is_not_stale(pair: Pair) -> None:
    pair.upstream.script(Close())
    with pair.gateway.connect() as client:
        told = client.ask(GET)
    assert (told.status, told.problem()["code"]) == (502, "upstream_connection_lost")
    assert len(pair.upstream.requests) == 1


def test_no_more_connections_than_allowed() -> None:
    with running_pair(upstream_max_connections=2) as pair:
        pair.upstream.usually()  # silence
        waiting = [pair.gateway.connect() for _ in range(2)]
        for client in waiting:
            client.send(GET)
        pair.upstream.wait_for_requests(2)
        with pair.gateway.connect() as client:
            told = client.ask(GET * 400)
            assert (told.status, told.problem()["code"]) == (503, "upstream_overloaded")
            for _ in range(399):
                assert client.read_answer().status == 503
        for client in waiting:
            client.reset()
        until(lambda: opened(pair.gateway) == 0, "both are closed")


@pytest.mark.parametrize("begun", [False, True], ids=["before the answer", "within it"])
def test_clients_that_leave_leave_nothing_behind(pair: Pair, begun: bool) -> None:
    pair.upstream.usually(*([Send(answer(200, "Content-Length: 1000", length=False) + b"some")] if begun else []))
    for round_number in range(5):
        clients = [pair.gateway.connect() for _ in range(20)]
        for client in clients:
            client.send(GET)
        pair.upstream.wait_for_requests(20 * (round_number + 1))
        for client in clients if begun else ():
            client.stream.read_until(b"some")
        for client in clients:
            client.reset()
    until(lambda: opened(pair.gateway) == 0, "no upstream connection is left")
    assert connected(pair.gateway) == 0
    assert recorded(pair.gateway)[0] == 100
