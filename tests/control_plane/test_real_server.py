"""The control plane behind a real uvicorn, over a real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import uvicorn

from tests.control_plane.control import TOKEN, Control
from tests.kit.waiting import PATIENCE


@asynccontextmanager
async def listening(control: Control) -> AsyncIterator[str]:
    """The base URL at which the application is served."""
    config = uvicorn.Config(control.app, host="127.0.0.1", port=0, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    listener = config.bind_socket()
    listener.listen()  # from now on whoever connects is served, sooner or later
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await asyncio.wait_for(serving, PATIENCE)
        listener.close()


def client(base_url: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=base_url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=PATIENCE)


async def test_a_story_over_the_wire(control: Control) -> None:
    async with listening(control) as url, client(url) as operator:
        service = (
            await operator.post("/api/services", json={"name": "users", "base_url": "http://127.0.0.1:1"})
        ).json()
        created = await operator.post("/api/routes", json={"path": "/users", "service_id": service["id"]})
        assert (await operator.get(created.headers["location"])).json() == created.json()
        assert (await operator.delete(f"/api/services/{service['id']}")).status_code == 409
        assert (await operator.delete(created.headers["location"])).status_code == 204
        assert (await operator.delete(f"/api/services/{service['id']}")).status_code == 204


async def test_many_operators_at_once(control: Control) -> None:
    async with listening(control) as url, client(url) as operator:
        answers = await asyncio.gather(
            *(operator.post("/api/keys", json={"name": f"k{number}"}) for number in range(40))
        )
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["key"] for answer in answers}) == 40
    assert len(control.published[-1].keys) == 40


async def test_an_operator_who_hangs_up_leaves_a_whole_change_or_none(control: Control) -> None:
    """The connection is cut after the request has gone out, at a moment that nobody chooses."""
    async with listening(control) as url:
        port = int(url.rpartition(":")[2])
        for number in range(10):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            body = b'{"name": "k%d"}' % number
            head = (
                f"POST /api/keys HTTP/1.1\r\nHost: control\r\nAuthorization: Bearer {TOKEN}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            writer.write(head.encode() + body)
            await writer.drain()
            writer.transport.abort()
        async with client(url) as operator:
            await operator.post("/api/keys", json={"name": "last"})
    await control.configuration.settle()
    assert await control.configuration.repository.keys.count() == len(control.published[-1].keys) >= 1


async def test_a_body_without_end_is_cut_off(control: Control) -> None:
    async with listening(control) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(
            b"POST /api/keys HTTP/1.1\r\nHost: control\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: application/json\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n\r\n"
        )
        writer.write((b"2710\r\n" + b" " * 10_000 + b"\r\n") * 11)
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), PATIENCE)
        assert answer == b"HTTP/1.1 413 Content Too Large\r\n" or answer.startswith(b"HTTP/1.1 413 ")
        writer.transport.abort()
