"""/api/live over real sockets: what is told, to whom, and what becomes of a listener that does not read."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from microgateway.exchange import Event
from microgateway.observability.happenings import Change
from microgateway.observability.live_hub import KEPT_EVENTS, MOST_WAITING, LiveHub
from tests.control_plane.control import TOKEN, Control
from tests.control_plane.test_real_server import client, listening
from tests.kit.waiting import PATIENCE
from tests.observability.exchanges import destination, exchange, principal, refused


def circuit(service_id: str = "users", after: str = "open") -> Event:
    return Event("circuit", service_id, "", "closed", after, 1_700_000_000.0, "5 failures in a row")


class Stream:
    """One listener, message by message. Comments and the retry line are counted, not told."""

    def __init__(self, answer: httpx2.Response) -> None:
        self.answer = answer
        self._lines = answer.aiter_lines()

    async def first_line(self) -> str:
        async with asyncio.timeout(PATIENCE):
            return await anext(self._lines)

    async def next(self) -> dict[str, str]:
        """The fields of the next message that has data. Raises `StopAsyncIteration` at the end."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(PATIENCE):
            while True:
                line = await anext(self._lines)
                name, _, value = line.partition(": ")
                if not line and "data" in fields:
                    return fields
                if not line:
                    fields.clear()
                elif name:
                    fields[name] = value

    async def told(self) -> tuple[str, Any]:
        """The next message's event and data."""
        fields = await self.next()
        return fields["event"], json.loads(fields["data"])


async def until(condition: Callable[[], bool]) -> None:
    """Everything happens on this loop, so each of its turns may bring it about."""
    async with asyncio.timeout(PATIENCE):
        while True:
            if condition():
                return
            await asyncio.sleep(0)


@asynccontextmanager
async def stream(url: str, *, last_id: str | None = None, **query: Any) -> AsyncIterator[Stream]:
    """A listener that has joined when this begins."""
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    async with client(url) as operator, operator.stream("GET", "/api/live", params=query, headers=headers) as answer:
        assert answer.status_code == 200
        listener = Stream(answer)
        assert await listener.first_line() == "retry: 2000"
        yield listener


async def test_events_and_figures_as_they_come(control: Control) -> None:
    async with listening(control) as url, stream(url) as listener:
        assert listener.answer.headers["content-type"].startswith("text/event-stream")
        assert listener.answer.headers["cache-control"] == "no-store"
        control.live.hub.note_event(circuit())
        control.live.hub.note_change(Change("applied", 7, "create", "service", "svc_1"))
        control.live.hub.tell("metrics", lambda: {"requests": 3})
        name, data = await listener.told()
        assert (name, data["service_id"], data["after"]) == ("circuit", "users", "open")
        assert data["reason"] == "5 failures in a row"
        name, data = await listener.told()
        assert (name, data["kind"], data["version"]) == ("configuration", "service", 7)
        assert await listener.told() == ("metrics", {"requests": 3})


async def test_a_change_made_by_the_api_is_told(control: Control) -> None:
    async with listening(control) as url, stream(url) as listener:
        service = await control.service()
        name, data = await listener.told()
        assert (name, data["action"], data["kind"], data["id"]) == ("configuration", "create", "service", service["id"])


async def test_who_comes_back_is_told_what_it_missed(control: Control) -> None:
    hub = control.live.hub
    async with listening(control) as url:
        async with stream(url) as listener:
            hub.note_event(circuit("first"))
            last_id = (await listener.next())["id"]
        hub.note_event(circuit("second"))
        hub.note_event(circuit("third"))
        async with stream(url, last_id=last_id) as listener:
            hub.note_event(circuit("fourth"))
            told = [(await listener.told())[1]["service_id"] for _ in range(3)]
        assert told == ["second", "third", "fourth"]
        async with stream(url) as listener:
            hub.note_event(circuit("fifth"))
            assert (await listener.told())[1]["service_id"] == "fifth"  # who is new is told nothing old


@pytest.mark.parametrize("last_id", ["another-process-7", "nonsense", "-", "boot-"])
async def test_ids_of_another_process_are_known_as_such(control: Control, last_id: str) -> None:
    control.live.hub.note_event(circuit())
    async with (
        listening(control) as url,
        stream(url, last_id=last_id) as listener,
    ):
        told = [(await listener.told())[0] for _ in range(3)]
        assert told == ["missed", "configuration", "circuit"]  # the second is the start's own


async def test_what_is_kept_is_bounded_and_a_gap_is_told() -> None:
    hub = LiveHub(boot="b", wall=lambda: 0.0)
    for number in range(KEPT_EVENTS + 10):
        hub.note_event(circuit(f"s{number}"))
    listener = hub.join(last_id="b-5")
    text = (await listener.take(0)).decode()
    assert text.startswith("event: missed\n")
    assert text.count("event: circuit\n") == KEPT_EVENTS
    assert '"s9"' not in text
    exactly = hub.join(last_id="b-10")
    assert (await exactly.take(0)).decode().count("event: ") == KEPT_EVENTS


async def test_rows_of_the_log_for_who_asked_and_as_filtered(control: Control) -> None:
    hub = control.live.hub
    users, ada = destination("/users", "users"), principal("ada")
    async with (
        listening(control) as url,
        stream(url, log="true", status="4xx,502", service="users") as filtered,
        stream(url, log="true") as every,
        stream(url) as without,
    ):
        hub.tail(
            [
                exchange(200, to=users, by=ada, milliseconds=12.5),
                exchange(404, to=users, by=ada),
                refused(404, "router", "route_not_found"),
                exchange(502, to=users, stage="proxy", code="upstream_unreachable"),
            ]
        )
        hub.note_event(circuit())
        rows = [await filtered.told() for _ in range(3)]
        assert [(name, data.get("status"), data.get("service")) for name, data in rows] == [
            ("log", 404, "users"),
            ("log", 502, "users"),
            ("circuit", None, None),
        ]
        first = (await every.told())[1]
        assert (first["key"], first["route"], first["latency_ms"], first["attempts"]) == ("Ada", "/users", 12.5, [])
        assert [(await every.told())[0] for _ in range(4)] == ["log", "log", "log", "circuit"]
        assert (await without.told())[0] == "circuit"


async def test_it_is_told_when_somebody_begins_to_follow_the_log_and_when_nobody_does_any_more() -> None:
    hub, told = LiveHub(boot="b", wall=lambda: 0.0), list[bool]()
    hub.tailing.append(told.append)
    hub.join()
    assert not told, "who only wants figures does not count"
    one, other = hub.join(wants=lambda _: True), hub.join(wants=lambda _: True)
    assert told == [True]
    hub.leave(one)
    assert told == [True]
    hub.leave(other)
    assert told == [True, False]
    hub.join(wants=lambda _: True)
    hub.close()
    assert told == [True, False, True, False]


async def test_nothing_is_made_while_nobody_listens() -> None:
    hub = LiveHub(boot="b", wall=lambda: 0.0)

    def figures() -> dict[str, Any]:
        raise AssertionError("nobody asked")

    hub.tell("metrics", figures)
    nothing: Any = object()
    hub.tail([nothing])  # it is not even looked at
    hub.join()
    hub.tail([nothing])  # nor for a listener that wants no rows


async def test_a_listener_that_does_not_read_is_dropped_and_told_so(control: Control) -> None:
    """Its memory is bounded, it holds nobody up, and its place is free at once."""
    hub = control.live.hub
    async with listening(control) as url, stream(url) as reading:
        host, port = url.removeprefix("http://").split(":")
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        slow.connect((host, int(port)))
        reader, writer = await asyncio.open_connection(sock=slow, limit=1_024)
        writer.write(f"GET /api/live HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
        await until(lambda: hub.listeners == 2)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        told = 0
        async with asyncio.timeout(PATIENCE):
            while hub.listeners == 2:
                hub.tell("metrics", lambda: {"filling": "x" * 4_000})
                assert (await reading.told())[0] == "metrics"  # the other one is told every one
                told += 1
        assert hub.dropped == 1
        assert told > MOST_WAITING
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        received = b""
        async with asyncio.timeout(PATIENCE):
            while piece := await reader.read(65_536):
                received += piece
        assert b"event: dropped\n" in received[-400:]
        writer.close()


async def test_as_many_listen_as_may(control: Control) -> None:
    control.live.hub.most_listeners = 2
    async with (
        listening(control) as url,
        stream(url),
        stream(url),
        client(url) as operator,
    ):
        answer = await operator.get("/api/live")
        assert (answer.status_code, answer.json()["code"]) == (503, "too_many_listeners")
    assert control.live.hub.listeners == 0


async def test_who_hangs_up_has_left(control: Control) -> None:
    async with listening(control) as url:
        async with stream(url):
            assert control.live.hub.listeners == 1
        await until(lambda: control.live.hub.listeners == 0)


async def test_a_stop_ends_every_stream(control: Control) -> None:
    async with listening(control) as url:
        async with stream(url) as listener:
            control.live.hub.close()
            with pytest.raises(StopAsyncIteration):
                await listener.next()
        async with client(url) as operator:
            assert (await operator.get("/api/live")).status_code == 200  # and is over at once


async def test_a_quiet_stream_shows_that_it_is_alive() -> None:
    listener = LiveHub(boot="b", wall=lambda: 0.0).join()
    assert await listener.take(0.01) == b""
    listener.offer(b"a")
    listener.offer(b"b")
    assert await listener.take(0.01) == b"ab"


async def test_it_needs_the_token(control: Control) -> None:
    async with listening(control) as url, httpx2.AsyncClient(base_url=url) as stranger:
        assert (await stranger.get("/api/live")).status_code == 401
