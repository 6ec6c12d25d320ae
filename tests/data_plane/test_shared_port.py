"""A socket that several accept from: each gets its share, and nobody waits for one that does not come."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from microgateway.data_plane.shared_port import SharedPort
from microgateway.process.shared_state import SharedState
from microgateway.state.shared_turns import SharedTurns
from tests.kit.certificates import Authority
from tests.kit.tls import unverified
from tests.kit.waiting import PATIENCE

CLIENTS = 32


@pytest.fixture
def state() -> Iterator[SharedState]:
    state = SharedState.create()
    yield state
    state.close()


class Taker:
    """What a worker is to the port: its connections, and its word in the shared memory."""

    def __init__(self, turns: SharedTurns, listening: socket.socket, **how: Any) -> None:
        self.turns = turns
        self.connections: list[asyncio.BaseTransport] = []
        self.news = asyncio.Event()
        self.port = SharedPort(
            listening, make=self.make, connections=lambda: len(self.connections), excess=turns.excess, **how
        )

    def make(self) -> asyncio.Protocol:
        taker = self

        class Connection(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                taker.connections.append(transport)
                taker.news.set()

        return Connection()

    def close(self) -> None:
        self.port.close()
        for transport in self.connections:
            transport.close()


@asynccontextmanager
async def taking(state: SharedState, *numbers: int) -> AsyncIterator[tuple[list[Taker], int]]:
    """Takers with these numbers on one socket, and its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=CLIENTS) as listening:
        takers = [Taker(state.turns(number), listening.dup()) for number in numbers]
        yield takers, listening.getsockname()[1]
        for taker in takers:
            taker.close()


async def connect(port: int, takers: list[Taker], count: int = CLIENTS) -> list[int]:
    """So many clients at once; how many each has once all are taken."""
    before = sum(len(taker.connections) for taker in takers)
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    async with asyncio.timeout(PATIENCE):
        while sum(len(taker.connections) for taker in takers) < before + count:
            await news(takers)
    for client in clients:
        client.close()
    return [len(taker.connections) for taker in takers]


async def news(takers: list[Taker]) -> None:
    """One of them has another connection."""
    waiting = [asyncio.create_task(taker.news.wait()) for taker in takers]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for taker, task in zip(takers, waiting, strict=True):
        taker.news.clear()
        task.cancel()


async def test_each_gets_its_share_of_those_that_come_at_once(state: SharedState) -> None:
    async with taking(state, 1, 2) as (takers, port):
        assert max(await connect(port, takers)) <= CLIENTS / 2 + 2


async def test_who_has_none_yet_gets_all_until_it_has_as_many(state: SharedState) -> None:
    async with taking(state, 1) as (first, port):
        assert await connect(port, first) == [CLIENTS]
        second = Taker(state.turns(2), first[0].port.sockets[0].dup())
        state.turns(2).note(0)
        old, new = await connect(port, [*first, second])
        assert old <= CLIENTS + 2
        assert new >= CLIENTS - 2
        second.close()


async def test_what_another_does_not_come_for_is_taken_after_all(state: SharedState) -> None:
    state.turns(2).note(0)  # it takes connections, it says, but it is stuck
    async with taking(state, 1) as (takers, port):
        assert await connect(port, takers) == [CLIENTS]


async def test_who_has_left_or_died_counts_for_nothing(state: SharedState) -> None:
    for number in (2, 3):
        state.turns(number).note(0)
    assert state.turns(1).excess(5) == 5
    state.turns(2).leave()
    state.forget_process(3)
    assert state.turns(1).excess(5) == 0
    assert state.turns(4).excess(5) == 0


async def test_a_few_more_among_many_do_not_matter(state: SharedState) -> None:
    state.turns(2).note(800)
    assert state.turns(1).excess(900) <= 0
    assert state.turns(1).excess(901) > 0


async def test_nothing_is_taken_once_it_is_closed(state: SharedState) -> None:
    async with taking(state, 1) as (takers, port):
        assert takers[0].port.is_serving()
        takers[0].port.close()
        assert not takers[0].port.is_serving()
        with socket.create_connection(("127.0.0.1", port)):  # the kernel takes it, for who listens next
            for _ in range(10):  # each turn of the loop would find it
                await asyncio.sleep(0)
            assert not takers[0].connections


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_with_tls_and_a_client_that_speaks_none(loop: str, state: SharedState, tmp_path: Path) -> None:
    issued = Authority(tmp_path).issue("gateway.example")

    async def scene() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            taker = Taker(state.turns(1), listening.dup(), ssl=issued.server_context(), ssl_handshake_timeout=5.0)
            with socket.create_connection(listening.getsockname()) as plain:
                plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
                _, writer = await asyncio.open_connection(*listening.getsockname(), ssl=unverified())
                await news([taker])
                assert len(taker.connections) == 1
                writer.close()
            taker.close()

    asyncio.run(scene()) if loop == "asyncio" else uvloop.run(scene())
