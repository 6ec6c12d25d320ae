"""One change of the configuration after the other, each to its end; those who want to know are told.

A change that has been written can't be taken back, so it does not stop when whoever asked for it goes away. And a write
that got no answer from the database may have been done: the next change looks first.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeVar

from microgateway.background import tell_failure
from microgateway.control_plane.mint import IssuedKey
from microgateway.errors import MicroGatewayError
from microgateway.observability.happenings import Change, ChangeListener
from microgateway.persistence.database import DatabaseUnavailableError

T = TypeVar("T")


class ChangeQueue:
    """`version` says which configuration is in force, and `reload` takes over what the database holds.

    `told` hears of every change that has led to another version, and of every one that the database failed.
    """

    def __init__(
        self, *, version: Callable[[], int], reload: Callable[[], Awaitable[None]], told: ChangeListener
    ) -> None:
        self._version = version
        self._reload = reload
        self._told = told
        self._turn = asyncio.Lock()
        self._running: set[asyncio.Task[Any]] = set()
        self._is_in_doubt = False

    async def run(self, change: Callable[[], Coroutine[Any, Any, T]], name: str, about: str) -> T:
        """Runs one change when those before it are done; who stops waiting for it does not stop it.

        For those who are told, `name` is an action and a kind, such as `delete_service`, and `about` whose id it names.
        Raises what the change raises, and `DatabaseUnavailableError`.
        """
        task = asyncio.get_running_loop().create_task(self._run_alone(change, name, about), name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_tell_mistake)  # nobody else hears of it any more
            raise

    @asynccontextmanager
    async def pause(self) -> AsyncIterator[None]:
        """Nothing is changed meanwhile: for who reads more than one answer of the database tells."""
        async with self._turn:
            yield

    async def settle(self) -> None:
        """Returns when no change is under way."""
        while self._running:
            await asyncio.wait(self._running)

    async def _run_alone(self, change: Callable[[], Coroutine[Any, Any, T]], name: str, about: str) -> T:
        async with self._turn:
            version = self._version()
            try:
                if self._is_in_doubt:
                    await self._reload()
                    self._is_in_doubt = False
                result = await change()
            except DatabaseUnavailableError:
                self._is_in_doubt = True
                self._tell("failed", name, about)
                raise
            if self._version() != version:
                self._tell("applied", name, about or _id_of(result))
            return result

    def _tell(self, outcome: Literal["applied", "failed"], name: str, about: str) -> None:
        action, _, kind = name.partition("_")
        self._told(Change(outcome, self._version(), action, kind or "configuration", about))


def _tell_mistake(task: asyncio.Task[Any]) -> None:
    """A refusal was the answer to somebody who has left."""
    if not task.cancelled() and not isinstance(task.exception(), MicroGatewayError):
        tell_failure(task)


def _id_of(created: object) -> str:
    """The id of what a change has made, empty where it has made nothing."""
    entity = created.key if isinstance(created, IssuedKey) else created
    return str(getattr(entity, "id", ""))
