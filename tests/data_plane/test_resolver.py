"""Names of upstreams: how often they are looked up, which of their addresses are tried, and what comes of new ones."""

import asyncio
import contextlib
import functools
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from microgateway.data_plane.listener import Listener
from microgateway.data_plane.resolver import NameNotResolvedError, Resolver
from microgateway.testing import FakeClock
from tests.kit.client import Answer, Client
from tests.kit.configuration import route, service, settings
from tests.kit.gateway import Gateway, running_gateway
from tests.kit.messages import answer, lines
from tests.kit.upstream import Upstream, running_upstream
from tests.kit.waiting import until

GET = lines("GET /x HTTP/1.1", "Host: a.example")
NAME = "shop.example"


class Names:
    """A name server that answers what the test says, and counts who asks. `held` answers are waited for."""

    def __init__(self, *addresses: str) -> None:
        self.addresses: Sequence[str] = addresses
        self.failure: Exception | None = None
        self.asked: list[str] = []
        self.held: asyncio.Event | None = None

    async def look_up(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        if self.held is not None:
            await self.held.wait()
        if self.failure is not None:
            raise self.failure
        return self.addresses


class TestResolver:
    """The sans-socket part, under a clock that one sets."""

    def resolver(self, names: Names) -> tuple[Resolver, FakeClock]:
        clock = FakeClock()
        return Resolver(now=clock.now, ttl=30.0, look_up=names.look_up), clock

    async def test_an_address_is_not_looked_up(self) -> None:
        names = Names()
        resolver, _ = self.resolver(names)
        assert await resolver.resolve("127.0.0.9") == ("127.0.0.9",)
        assert await resolver.resolve("::1") == ("::1",)
        assert names.asked == []

    async def test_what_was_found_is_remembered_for_the_ttl(self) -> None:
        names = Names("127.0.0.2", "127.0.0.3")
        resolver, clock = self.resolver(names)
        for _ in range(3):
            assert await resolver.resolve(NAME) == ("127.0.0.2", "127.0.0.3")
        clock.advance(29.9)
        await resolver.resolve(NAME)
        assert len(names.asked) == 1
        clock.advance(0.1)
        names.addresses = ["127.0.0.4"]
        assert await resolver.resolve(NAME) == ("127.0.0.4",)
        assert len(names.asked) == 2

    @pytest.mark.parametrize("failure", [socket.gaierror(-2, "Name or service not known"), UnicodeError("label"), None])
    async def test_a_failure_is_remembered_for_a_second(self, failure: Exception | None) -> None:
        names = Names()
        names.failure = failure
        resolver, clock = self.resolver(names)
        for _ in range(3):
            with pytest.raises(NameNotResolvedError, match=f"^'{NAME}' can't be resolved: "):
                await resolver.resolve(NAME)
        assert len(names.asked) == 1
        clock.advance(1.0)
        names.failure, names.addresses = None, ["127.0.0.2"]
        assert await resolver.resolve(NAME) == ("127.0.0.2",)

    async def test_one_look_up_at_a_time_which_nobody_ends_for_the_others(self) -> None:
        names = Names("127.0.0.2")
        names.held = asyncio.Event()
        resolver, _ = self.resolver(names)
        waiting = [asyncio.ensure_future(resolver.resolve(NAME)) for _ in range(5)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        names.held.set()
        assert await asyncio.gather(*waiting[1:]) == [("127.0.0.2",)] * 4
        assert len(names.asked) == 1
        assert waiting[0].cancelled()

    async def test_old_addresses_are_known_while_new_ones_are_looked_up(self) -> None:
        names = Names("127.0.0.2")
        resolver, clock = self.resolver(names)
        assert resolver.known(NAME) == ()
        await resolver.resolve(NAME)
        clock.advance(31.0)
        names.failure = socket.gaierror(-3, "Temporary failure in name resolution")
        for _ in range(5):
            assert resolver.known(NAME) == ("127.0.0.2",)
            await asyncio.sleep(0)
        assert len(names.asked) == 2
        with pytest.raises(NameNotResolvedError):
            await resolver.resolve(NAME)

    async def test_names_that_nobody_asks_for_are_forgotten(self) -> None:
        names = Names("127.0.0.2")
        resolver, _ = self.resolver(names)
        await resolver.resolve(NAME)
        await resolver.resolve("other.example")
        resolver.keep_only([NAME])
        assert (resolver.known(NAME), resolver.known("other.example")) == (("127.0.0.2",), ())

    async def test_the_system_is_asked_when_nobody_else_is_named(self) -> None:
        resolver = Resolver(now=FakeClock().now, ttl=30.0)
        assert set(await resolver.resolve("localhost")) & {"127.0.0.1", "::1"}


@contextlib.contextmanager
def answering_at(address: str, port: int, body: bytes) -> Iterator[list[socket.socket]]:
    """An upstream at this address that answers every read with `body`; yields the connections that came."""
    with socket.create_server((address, port)) as listener:
        came: list[socket.socket] = []

        def converse(talk: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while talk.recv(65_536):
                    talk.sendall(answer(200, body=body))

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    came.append(listener.accept()[0])
                    threading.Thread(target=converse, args=(came[-1],), daemon=True).start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield came
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            accepting.join(5.0)
            for talk in came:
                with contextlib.suppress(OSError):
                    talk.shutdown(socket.SHUT_RDWR)
                talk.close()


@contextlib.contextmanager
def named(
    monkeypatch: pytest.MonkeyPatch, names: Names, port: int, clock: FakeClock | None = None, **overrides: Any
) -> Iterator[Gateway]:
    """A gateway before `http://shop.example:port`, which these names lead to."""
    monkeypatch.setattr("microgateway.testing.Listener", functools.partial(Listener, look_up=names.look_up))
    with running_gateway(
        services=[service(f"http://{NAME}:{port}")],
        routes=[route("/")],
        settings=settings(client_idle_timeout=10_000, upstream_idle_timeout=10_000, **overrides),
        clock=clock,
    ) as gateway:
        yield gateway


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """At 127.0.0.1."""
    with running_upstream() as upstream:
        yield upstream


def ask(client: Client) -> tuple[int, str]:
    return told_by(client.ask(GET))


def told_by(told: Answer) -> tuple[int, str]:
    return told.status, told.body.decode() if told.status == 200 else told.problem()["code"]


def test_addresses_are_tried_in_order(monkeypatch: pytest.MonkeyPatch, upstream: Upstream) -> None:
    names = Names("127.0.0.77", "127.0.0.78", "127.0.0.1")
    with named(monkeypatch, names, upstream.port) as gateway, gateway.connect() as client:
        assert ask(client) == (200, "GET /x")
        assert upstream.requests[0].one(b"host") == f"{NAME}:{upstream.port}".encode()
        with answering_at("127.0.0.78", upstream.port, b"second") as came:
            gateway.call(lambda served: [pool.close_idle(float("inf")) for pool in served.listener._plane.pools])  # noqa: SLF001
            assert ask(client) == (200, "second")
            assert len(came) == 1


def test_an_address_that_does_not_answer_is_passed_over(monkeypatch: pytest.MonkeyPatch, upstream: Upstream) -> None:
    with socket.socket() as deaf, contextlib.ExitStack() as fillers:
        deaf.bind(("127.0.0.77", upstream.port))
        deaf.listen(0)
        for _ in range(4):  # its queue is full: it neither accepts nor refuses
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
        names = Names("127.0.0.77", "127.0.0.1")
        with (
            named(monkeypatch, names, upstream.port, upstream_connect_timeout=2.0) as gateway,
            gateway.connect() as client,
        ):
            assert ask(client) == (200, "GET /x")
            assert gateway.call(lambda served: served.listener.upstream_connections) == 1


def test_where_no_address_answers_the_service_is_unreachable(
    monkeypatch: pytest.MonkeyPatch, upstream: Upstream
) -> None:
    with (
        named(monkeypatch, Names("127.0.0.77", "127.0.0.78"), upstream.port) as gateway,
        gateway.connect() as client,
    ):
        assert ask(client) == (502, "upstream_unreachable")
        assert gateway.call(lambda served: served.listener.upstream_connections) == 0


def test_a_name_that_is_not_found_counts_for_the_circuit(monkeypatch: pytest.MonkeyPatch, upstream: Upstream) -> None:
    names = Names()
    names.failure = socket.gaierror(-2, "Name or service not known")
    with (
        named(monkeypatch, names, upstream.port, FakeClock(), circuit_failure_threshold=3) as gateway,
        gateway.connect() as client,
    ):
        missing = (502, "upstream_name_not_resolved")
        assert [ask(client) for _ in range(4)] == [missing, missing, missing, (503, "circuit_open")]
        assert len(names.asked) == 1
        assert gateway.call(lambda served: served.listener.upstream_connections) == 0


def test_a_look_up_without_end_is_a_connect_without_end(monkeypatch: pytest.MonkeyPatch, upstream: Upstream) -> None:
    names, clock = Names("127.0.0.1"), FakeClock()
    names.held = asyncio.Event()
    with (
        named(monkeypatch, names, upstream.port, clock, upstream_connect_timeout=5.0) as gateway,
        gateway.connect() as client,
    ):
        client.send(GET)
        until(lambda: names.asked != [], "the look-up")
        gateway.pass_time(clock, 5.0)
        assert told_by(client.read_answer()) == (504, "upstream_connect_timeout")
        gateway.call(lambda served: names.held.set() if names.held else None)
        assert ask(client) == (200, "GET /x")
        assert len(names.asked) == 1


def test_many_requests_at_once_cost_one_look_up(monkeypatch: pytest.MonkeyPatch, upstream: Upstream) -> None:
    names = Names("127.0.0.1")
    names.held = asyncio.Event()
    with named(monkeypatch, names, upstream.port) as gateway:
        clients = [gateway.connect() for _ in range(20)]
        for client in clients:
            client.send(GET)
        until(lambda: gateway.call(lambda served: int(served.listener.upstream_connections)) == 20, "all wait")
        gateway.call(lambda served: names.held.set() if names.held else None)
        for client in clients:
            assert client.read_answer().status == 200
            client.stream.close()
    assert len(names.asked) == 1


def test_a_name_that_moves_takes_its_requests_along(monkeypatch: pytest.MonkeyPatch, upstream: Upstream) -> None:
    """Though the old connection is open, and nothing but it was ever needed."""
    names, clock = Names("127.0.0.1"), FakeClock()
    with (
        answering_at("127.0.0.77", upstream.port, b"moved"),
        named(monkeypatch, names, upstream.port, clock) as gateway,
        gateway.connect() as client,
    ):
        for _ in range(3):
            assert ask(client) == (200, "GET /x")
        names.addresses = ["127.0.0.77"]
        clock.advance(29.0)
        assert ask(client) == (200, "GET /x")
        clock.advance(2.0)
        upstream.wait_until(lambda: upstream.open_connections() == 0, "the old connection is closed")
        assert ask(client) == (200, "moved")
    assert (len(upstream.connections), len(names.asked)) == (1, 2)


def test_a_name_server_that_is_away_stops_nobody_who_is_connected(
    monkeypatch: pytest.MonkeyPatch, upstream: Upstream
) -> None:
    names, clock = Names("127.0.0.1"), FakeClock()
    with named(monkeypatch, names, upstream.port, clock) as gateway, gateway.connect() as client:
        assert ask(client) == (200, "GET /x")
        names.failure = socket.gaierror(-3, "Temporary failure in name resolution")
        clock.advance(31.0)
        until(lambda: len(names.asked) == 2, "it is asked again")
        for _ in range(3):
            assert ask(client) == (200, "GET /x")
        assert len(upstream.connections) == 1
