"""The real data plane, in a thread with an event loop of its own, for tests whose clients and upstreams block."""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeVar

import uvloop

from microgateway.clock import Clock
from microgateway.entities import ApiKey, Route, Service, TokenIssuer
from microgateway.observability.recorder import Sink
from microgateway.settings import Settings
from microgateway.snapshot import Snapshot
from microgateway.testing import FakeClock
from tests.kit.client import Client
from tests.kit.configuration import settings as usual_settings
from tests.kit.waiting import PATIENCE

T = TypeVar("T")
LONGEST_STOP = 30.0


def nothing(served: Any) -> None:
    """Asks for no more than a turn of the loop."""


class Gateway:
    """A data plane that runs. `served` is what `microgateway.testing.serve` gave, to be touched on its own loop
    only.
    """

    def __init__(self, served: Any, loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
        self.served = served
        self.port: int = served.port
        self._loop = loop
        self._stop = stop

    def connect(self, **options: Any) -> Client:
        return Client(self.port, settle=self.settle, **options)

    def settle(self) -> None:
        """Until the gateway has read all that had come when this was called.

        A loop takes up what its poll found readable before it runs a call that was handed in; twice, since the first
        call may have been handed in while a poll was being worked off.
        """
        self.call(nothing)
        self.call(nothing)

    def call(self, what: Callable[[Any], T]) -> T:
        """What this says of the served data plane, asked on its loop."""

        async def ask() -> T:
            return what(self.served)

        return asyncio.run_coroutine_threadsafe(ask(), self._loop).result(PATIENCE)

    def run(self, what: Callable[[Any], Awaitable[T]]) -> T:
        """The same for what takes its time there."""

        async def wait() -> T:
            return await what(self.served)

        return asyncio.run_coroutine_threadsafe(wait(), self._loop).result(PATIENCE)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Its loop stands still: what happens meanwhile waits for one round of it, in the order in which it came."""
        self.settle()
        stands, goes_on = threading.Event(), threading.Event()

        def stand_still() -> None:
            stands.set()
            goes_on.wait(PATIENCE)

        self._loop.call_soon_threadsafe(stand_still)
        try:
            assert stands.wait(PATIENCE), "the gateway's loop is busy"
            yield
        finally:
            goes_on.set()

    def pass_time(self, clock: FakeClock, seconds: float) -> None:
        """What has come by now came before; then the gateway's clock goes on, and what is overdue by it is ended."""

        def pass_by(served: Any) -> None:
            clock.advance(seconds)
            served.listener.sweep()

        for _ in range(2):  # one for a connection that is to be accepted, and one for what was sent on it
            self.settle()
        self.call(pass_by)

    def apply(self, snapshot: Snapshot) -> None:
        """Puts a configuration in force for every request that begins from now on."""
        self.call(lambda served: served.apply(snapshot))

    def begin_stop(self) -> None:
        """The way down begins: what is in flight is finished. Returns at once."""
        self._stop()


@contextlib.contextmanager
def running_gateway(
    *,
    services: Sequence[Service],
    routes: Sequence[Route],
    keys: Sequence[ApiKey] = (),
    issuers: Sequence[TokenIssuer] = (),
    settings: Settings | None = None,
    clock: Clock | None = None,
    health_checks: bool = False,
    sinks: Sequence[Sink] = (),
) -> Iterator[Gateway]:
    """A gateway until the block ends. An error of its own, at any time, is raised here."""
    runner = _Runner()
    arguments = {
        "services": services,
        "routes": routes,
        "keys": keys,
        "issuers": issuers,
        "settings": settings or usual_settings(),
        "clock": clock,
        "health_checks": health_checks,
        "sinks": sinks,
    }
    thread = threading.Thread(target=runner.run, args=(arguments,), name="gateway", daemon=True)
    thread.start()
    try:
        yield runner.gateway()
    finally:
        runner.stop()
        thread.join(LONGEST_STOP)
        assert not thread.is_alive(), "the gateway does not stop"
        runner.raise_error()


class _Runner:
    """Starts the data plane's loop, and carries its errors to the test."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._gateway: Gateway | None = None
        self._errors: list[BaseException] = []

    def run(self, arguments: dict[str, Any]) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve(arguments))
        except Exception as error:  # noqa: BLE001  whatever it is, the test must see it; a thread's own would only be printed
            self._errors.append(error)
        finally:
            self._ready.set()

    def gateway(self) -> Gateway:
        assert self._ready.wait(PATIENCE), "the gateway does not start"
        self.raise_error()
        assert self._gateway is not None
        return self._gateway

    def stop(self) -> None:
        if self._loop is not None and self._stopping is not None and not self._loop.is_closed():
            with contextlib.suppress(RuntimeError):  # the loop may close between the question and this
                self._loop.call_soon_threadsafe(self._stopping.set)

    def raise_error(self) -> None:
        if self._errors:
            raise self._errors[0]

    async def _serve(self, arguments: dict[str, Any]) -> None:
        from microgateway.testing import serve

        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self._loop.set_exception_handler(self._note)
        async with serve(**arguments) as served:
            self._gateway = Gateway(served, self._loop, self.stop)
            self._ready.set()
            await self._stopping.wait()

    def _note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception that reached the event loop is a bug, wherever the answer went."""
        self._errors.append(context.get("exception") or AssertionError(str(context)))
