"""Tasks that run beside the traffic. Whoever starts one holds it; should it fail, that is told at once.

asyncio tells of a failed task that nobody waits for when nobody holds it any more. One that is held for as long as the
process lives would therefore end in silence, and what it did would just not be done any more.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def start_task(work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
    """Starts it on the running loop. `name` is what is said to have failed: `health checks`."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    task.add_done_callback(tell_failure)
    return task


def tell_failure(task: asyncio.Task[Any]) -> None:
    """Has the loop report what a task that has ended failed of, if it did: a line and a traceback in the log."""
    if not task.cancelled() and (error := task.exception()) is not None:
        task.get_loop().call_exception_handler(
            {"message": f"{task.get_name()} failed", "exception": error, "task": task}
        )
