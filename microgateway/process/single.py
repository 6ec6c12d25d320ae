"""`microgateway run`: both ports from one process, with a clean end on SIGTERM.

The order of an end: readiness turns 503 and the proxy port drains while the control port still answers; then the
control port closes. SIGHUP has the files of certificates read anew, and the access log's opened anew.
"""

import asyncio
import signal
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from types import FrameType

import uvicorn
import uvloop

from microgateway.background import start_task
from microgateway.demo import DemoUpstreams, banner, start_demo_upstreams
from microgateway.process.application import announce, dashboard_url, proxy_url
from microgateway.process.demonstration import prepare
from microgateway.process.fleet import FleetEnds
from microgateway.process.gateway import Gateway
from microgateway.process.listening import listen_control
from microgateway.process.pid_file import held
from microgateway.settings import Settings


class _ControlServer(uvicorn.Server):
    """uvicorn, but a signal drains the proxy port first, and the exit code is then ours.

    A second signal ends at once. `serves` is called when it answers, and when signals mean that: whoever is told may
    send one at once.
    """

    def __init__(self, config: uvicorn.Config, gateway: Gateway, *, alone: bool, serves: Callable[[], None]) -> None:
        super().__init__(config)
        self._gateway = gateway
        self._alone = alone
        self._serves = serves
        self._loop = asyncio.get_running_loop()
        self._ending: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._serves()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGINT and not self._alone:
            return  # a terminal's, which the supervisor has got too
        self._loop.call_soon_threadsafe(self.begin_to_end)

    def begin_to_end(self) -> None:
        if self._ending is None:
            self._ending = start_task(self._end(), "the drain")
        else:
            self.should_exit = self.force_exit = True

    async def _end(self) -> None:
        try:
            await self._gateway.drain()
        finally:
            self.should_exit = True


def run_single(settings: Settings, *, demo: bool) -> int:
    """Runs until a signal comes; the exit code. Raises `StartupError`."""
    control = listen_control(settings.host, settings.port)
    with held(settings.data_dir, reloads=False):
        return uvloop.run(serve_control(settings, control, demo=demo))


async def serve_control(
    settings: Settings, control: socket.socket, *, demo: bool, ends: FleetEnds | None = None
) -> int:
    """The control port, and, unless there are workers for it, the proxy port. `ends` are what those are reached by."""
    async with AsyncExitStack() as running:
        upstreams = None
        if demo:
            upstreams = await start_demo_upstreams()
            running.push_async_callback(upstreams.close)
        gateway = Gateway(settings, ends)
        await gateway.open()
        running.push_async_callback(gateway.close)
        if (
            gateway.has_files and ends is None
        ):  # without any a closed terminal ends the gateway, as it ends any other command
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, gateway.renew_files)
        tell = partial(announce, gateway, _port_of(control))
        if upstreams is not None:
            key = await prepare(gateway.configuration, settings.data_dir, upstreams.base_urls)
            tell = partial(print, _demo_banner(gateway, _port_of(control), key, upstreams), flush=True)
        config = uvicorn.Config(
            gateway.app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=5
        )
        server = _ControlServer(config, gateway, alone=ends is None, serves=partial(_now_serves, tell, ends))
        if ends is not None:
            ends.on_lost(server.begin_to_end)
        await server.serve(sockets=[control])
    return 0


def _now_serves(tell: Callable[[], None], ends: FleetEnds | None) -> None:
    """Says so: to whoever started it, and to the supervisor, where there is one."""
    tell()
    if ends is not None:
        ends.leash.send({"ready": True})


def _port_of(listening: socket.socket) -> int:
    return int(listening.getsockname()[1])


def _demo_banner(gateway: Gateway, control_port: int, key: str, upstreams: DemoUpstreams) -> str:
    return banner(
        dashboard_url=dashboard_url(gateway, control_port),
        proxy_url=proxy_url(gateway),
        api_key=key,
        base_urls=upstreams.base_urls,
    )
