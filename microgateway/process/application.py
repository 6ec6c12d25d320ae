"""What `uvicorn app:app` runs: an ASGI application whose start opens the whole gateway, and whose end drains it."""

import asyncio
import functools
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import ExitStack
from types import FrameType
from typing import Any, NoReturn

from microgateway.errors import StartupError
from microgateway.process.addresses import reachable
from microgateway.process.gateway import Gateway
from microgateway.process.pid_file import held
from microgateway.settings import read_settings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Application:
    """Opens a `Gateway` at the ASGI server's start-up, and hands every request to its control plane."""

    def __init__(self) -> None:
        self._gateway: Gateway | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._gateway is not None:
            await self._gateway.app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()  # lifespan.startup
        with ExitStack() as running:
            try:
                settings = read_settings()
                running.enter_context(held(settings.data_dir, reloads=False))
                self._gateway = Gateway(settings)
                await self._gateway.open()
            except StartupError as error:
                _give_up(error)
            _on_stop(self._gateway.end_streams)
            announce(self._gateway, settings.port)
            await send({"type": "lifespan.startup.complete"})
            await receive()  # lifespan.shutdown
            await self._gateway.close()
        await send({"type": "lifespan.shutdown.complete"})


def _on_stop(tell: Callable[[], None]) -> None:
    """Has this called by the signals that end the ASGI server, before the server hears of them.

    It waits until every answer is finished, and tells the application of the stop only then.
    """
    if threading.current_thread() is not threading.main_thread():
        return  # whoever runs a server in a thread stops it without signals
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.getsignal(number)
        if callable(before):
            signal.signal(number, functools.partial(_tell_first, loop, tell, before))


def _tell_first(
    loop: asyncio.AbstractEventLoop,
    tell: Callable[[], None],
    before: Callable[[int, FrameType | None], Any],
    number: int,
    frame: FrameType | None,
) -> None:
    loop.call_soon_threadsafe(tell)
    before(number, frame)


def announce(gateway: Gateway, control_port: int) -> None:
    """Where things are, for whoever started the gateway. A new admin token is shown here and never again."""
    settings = gateway.settings
    print(f"Proxy port:   {proxy_url(gateway)}", file=sys.stderr)
    print(f"Control port: http://{reachable(settings.host)}:{control_port}", file=sys.stderr)
    if gateway.admin_token.is_new:
        print(f"Dashboard:    {dashboard_url(gateway, control_port)}", file=sys.stderr)
    for name, text in gateway.issued_keys():
        print(f"API key {name!r}, shown this once: {text}", file=sys.stderr)


def proxy_url(gateway: Gateway) -> str:
    scheme = "https" if gateway.settings.tls_cert else "http"
    return f"{scheme}://{reachable(gateway.settings.proxy_host)}:{gateway.proxy_port}"


def dashboard_url(gateway: Gateway, control_port: int) -> str:
    """With the admin token behind the #, which a browser sends to nobody."""
    return f"http://{reachable(gateway.settings.host)}:{control_port}/#token={gateway.admin_token.text}"


def _give_up(error: StartupError) -> NoReturn:
    """One line and exit code 1. An ASGI server would print a traceback and choose its own code; nothing is open yet."""
    print(f"microgateway: {error}", file=sys.stderr, flush=True)
    os._exit(1)
