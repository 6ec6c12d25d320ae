"""Tasks that nobody waits for: one that fails is told of while it is still held, one that is cancelled is not."""

import asyncio
from typing import Any

from microgateway.background import start_task


class Reports:
    """What the loop is told, in place of its log."""

    def __init__(self) -> None:
        self.contexts: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: self.contexts.append(context))


async def ended(task: "asyncio.Task[Any]") -> None:
    await asyncio.wait([task])
    await asyncio.sleep(0)  # what is called when a task is done is called in the loop's next turn


async def fail(error: Exception) -> None:
    raise error


async def test_one_that_fails_is_told_of_by_its_name_though_it_is_held() -> None:
    reports, error = Reports(), ValueError("a mistake")
    task = start_task(fail(error), "the health checks")
    await ended(task)
    (context,) = reports.contexts
    assert (context["message"], context["exception"]) == ("the health checks failed", error)


async def test_one_that_is_cancelled_or_ends_well_is_not() -> None:
    reports = Reports()
    waiting = start_task(asyncio.Event().wait(), "waiting")
    waiting.cancel()
    await ended(waiting)
    await ended(start_task(asyncio.sleep(0), "a moment"))
    assert reports.contexts == []
