"""The demo upstream: three small services for the gateway to stand in front of, as real HTTP on loopback ports.

They run in one child process, so that a gateway under load and an upstream under load don't wait for each other. The
child stops when its standard input ends: however the parent goes, even killed, the child goes too.
"""

import asyncio
import contextlib
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from pathlib import Path

from microgateway.child_environment import child_environment
from microgateway.errors import StartupError

PORTS: Mapping[str, int] = {"users": 9101, "orders": 9102, "payments": 9103}
START_SECONDS = 30.0
STOP_SECONDS = 5.0

_PACKAGE = Path(__file__).resolve().parent.parent


class DemoUpstreams:
    """The child process, and where its services listen."""

    def __init__(self, *, process: Process, base_urls: dict[str, str]) -> None:
        self._process = process
        self.base_urls = base_urls

    async def close(self) -> None:
        """Ends the child and waits until it is gone. May be called again, and leaves no child behind when cancelled."""
        await _end(self._process)


async def start_demo_upstreams(host: str = "127.0.0.1", ports: Mapping[str, int] | None = None) -> DemoUpstreams:
    """Starts the three services and returns when they accept connections.

    `ports` replaces some or all of `PORTS`; a port that is taken gives way to a free one, so read `base_urls` rather
    than trusting a number. Raises `StartupError` when the child does not come up; it has told why on standard error.
    """
    process = await _spawn(host, {**PORTS, **(ports or {})})
    try:
        async with asyncio.timeout(START_SECONDS):
            line = await process.stdout.readline() if process.stdout else b""
    except TimeoutError:
        await _end(process)
        raise StartupError(f"The demo upstream did not start within {START_SECONDS:.0f} seconds.") from None
    except BaseException:
        await _end(process)
        raise
    if not line:
        await _end(process)
        raise StartupError("The demo upstream did not start; the lines above tell why.")
    return DemoUpstreams(process=process, base_urls=json.loads(line))


def seed_file() -> Path:
    """The sample data: inside the package when it was installed from a wheel, otherwise in the repository."""
    installed = _PACKAGE / "seed_data" / "data.json"
    return installed if installed.is_file() else _PACKAGE.parent / "seed_data" / "data.json"


def banner(*, dashboard_url: str, proxy_url: str, api_key: str, base_urls: Mapping[str, str]) -> str:
    """What `run --demo` prints once everything is up; the `curl` lines work as they stand when pasted."""
    width = max(len(name) for name in base_urls)
    upstreams = "\n".join(f"    {name:<{width}}  {url}" for name, url in base_urls.items())
    call = f"curl -i -H 'X-API-Key: {api_key}' {proxy_url}"
    return f"""
MicroGateway is up, in front of a demo upstream of three services (payments is flaky on purpose):
{upstreams}

Dashboard:
    {dashboard_url}

Through the gateway, with a key; without it the answer is 401, and the eleventh call in a hurry gets 429:
    {call}/users/1

More to try:
    curl -i {proxy_url}/public/products
    {call}/payments

Ctrl-C stops everything.
"""


async def _spawn(host: str, ports: Mapping[str, int]) -> Process:
    options = [part for name, port in ports.items() for part in (f"--{name}", str(port))]
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "microgateway.demo", "--until-stdin-ends", "--host", host, *options),
        stdin=PIPE,
        stdout=PIPE,
        env=child_environment(),
        start_new_session=True,  # a Ctrl-C is for the gateway, which still has requests in flight to these services
    )


async def _end(process: Process) -> None:
    """Asks, waits for a while, then insists; a cancelled caller does not wait, but the child ends all the same."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
    await process.wait()
