"""`microgateway run`: both ports from one process, with a clean end on SIGTERM.

The order of an end: readiness turns 503 and the proxy port drains while the control port still answers; then the
control port closes. SIGHUP has the files of certificates read anew, and the access log's opened anew.
"""

import asyncio
import signal
import socket
from contextlib import AsyncExitStack
from types import FrameType

import uvicorn
import uvloop

from microgateway.demo import DemoUpstreams, banner, start_demo_upstreams
from microgateway.errors import StartupError
from microgateway.process.application import announce, dashboard_url, proxy_url
from microgateway.process.demonstration import prepare
from microgateway.process.gateway import Gateway
from microgateway.settings import Settings

BACKLOG = 128


class _ControlServer(uvicorn.Server):
    """uvicorn, but a signal drains the proxy port first, and the exit code is then ours.

    A second signal ends at once.
    """

    def __init__(self, config: uvicorn.Config, gateway: Gateway) -> None:
        super().__init__(config)
        self._gateway = gateway
        self._loop = asyncio.get_running_loop()
        self._ending: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._loop.call_soon_threadsafe(self._begin_to_end)

    def _begin_to_end(self) -> None:
        if self._ending is None:
            self._ending = self._loop.create_task(self._end())
        else:
            self.should_exit = self.force_exit = True

    async def _end(self) -> None:
        await self._gateway.drain()
        self.should_exit = True


def run_single(settings: Settings, *, demo: bool) -> int:
    """Runs until a signal comes; the exit code. Raises `StartupError`."""
    control = _listen(settings.host, settings.port)
    return uvloop.run(_serve(settings, control, demo=demo))


async def _serve(settings: Settings, control: socket.socket, *, demo: bool) -> int:
    async with AsyncExitStack() as running:
        upstreams = None
        if demo:
            upstreams = await start_demo_upstreams()
            running.push_async_callback(upstreams.close)
        gateway = Gateway(settings)
        await gateway.open()
        running.push_async_callback(gateway.close)
        if gateway.has_files:  # without any a closed terminal ends the gateway, as it ends any other command
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, gateway.renew_files)
        if upstreams is None:
            announce(gateway, _port_of(control))
        else:
            key = await prepare(gateway.configuration, settings.data_dir, upstreams.base_urls)
            print(_demo_banner(gateway, _port_of(control), key, upstreams), flush=True)
        config = uvicorn.Config(
            gateway.app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=5
        )
        await _ControlServer(config, gateway).serve(sockets=[control])
    return 0


def _port_of(listening: socket.socket) -> int:
    return int(listening.getsockname()[1])


def _demo_banner(gateway: Gateway, control_port: int, key: str, upstreams: DemoUpstreams) -> str:
    return banner(
        dashboard_url=dashboard_url(gateway, control_port),
        proxy_url=proxy_url(gateway),
        api_key=key,
        base_urls=upstreams.base_urls,
    )


def _listen(host: str, port: int) -> socket.socket:
    """The control port's socket. Opened before anything else, so that a taken port is told before anything is done.

    It listens at once: until then another socket, such as the proxy port's, could still be bound to the same port. Who
    connects before the gateway is up waits for an answer.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise StartupError(f"MICROGATEWAY_PORT: can't listen on {host}:{port}: {error.strerror or error}") from None
    listening.set_inheritable(True)
    return listening
