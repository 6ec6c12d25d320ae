"""The demo upstream's own process: one server that listens on a port for each service."""

import asyncio
import errno
import json
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from microgateway.demo.shop import Flakiness, orders_service, payments_service, users_service

BACKLOG = 1_024


class ByPort:
    """The port that a request came in by decides which service answers it."""

    def __init__(self, services: Mapping[int, ASGIApp]) -> None:
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._services[scope["server"][1]](scope, receive, send)


async def serve(*, host: str, ports: Mapping[str, int], until_stdin_ends: bool) -> None:
    """Once the ports are open, prints one line of JSON (service name to base URL); then serves until told to stop."""
    services = {"users": users_service(), "orders": orders_service(), "payments": payments_service(Flakiness())}
    with ExitStack() as stack:
        listeners = {name: stack.enter_context(listen(host, ports[name])) for name in services}
        app = ByPort({_port(listener): services[name] for name, listener in listeners.items()})
        server = uvicorn.Server(
            uvicorn.Config(app, lifespan="off", log_level="warning", access_log=False, timeout_graceful_shutdown=1)
        )
        if until_stdin_ends:
            await _on_end_of_stdin(lambda: setattr(server, "should_exit", True))
        print(json.dumps({name: _url(host, listener) for name, listener in listeners.items()}), flush=True)
        await server.serve(sockets=list(listeners.values()))


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on `port`, or on any free port when that one is taken.

    Its connections send at once. asyncio sees to that for sockets that it makes itself only; otherwise the body waits
    until the client has acknowledged the head: 40 ms.
    """
    listener = _listen_somewhere(host, port)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _listen_somewhere(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return socket.create_server((host, 0), family=family, backlog=BACKLOG)


def _port(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


def _url(host: str, listener: socket.socket) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{_port(listener)}"


async def _on_end_of_stdin(then: Callable[[], None]) -> None:
    class Watcher(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            then()

    await asyncio.get_running_loop().connect_read_pipe(Watcher, sys.stdin)
