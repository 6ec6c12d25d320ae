"""What takes longer than a call should: it runs on, says how far it is, and can be cancelled; its result is kept."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel

from microgateway.background import start_task
from microgateway.errors import MicroGatewayError, NotFoundError

MOST_RUNNING = 4
MOST_KEPT = 32
MISTAKE = "The gateway made a mistake, which its log tells of."

Kind = Literal["batch", "replay"]


class TooManyJobsError(MicroGatewayError):
    """As many run as may; one has to end or be cancelled first."""


@dataclass(slots=True)
class Progress:
    """How far it is, and whether it shall go on. `share` is between 0 and 1."""

    share: float = 0.0
    is_cancelled: bool = False


@dataclass(slots=True)
class Job:
    """One of them. `result` is there when it has ended well, `error` when it has not."""

    id: str
    kind: Kind
    progress: Progress = field(default_factory=Progress)
    result: BaseModel | None = None
    error: str | None = None
    task: asyncio.Task[None] | None = None

    @property
    def state(self) -> Literal["running", "done", "cancelled", "failed"]:
        if self.task is not None and not self.task.done():
            return "running"
        if self.error is not None:
            return "failed"
        return "cancelled" if self.progress.is_cancelled else "done"


class Jobs:
    """All that run, and the last that have ended."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    def start(self, kind: Kind, work: Callable[[Progress], Awaitable[BaseModel]]) -> Job:
        """Begins one. Raises `TooManyJobsError`."""
        if sum(job.state == "running" for job in self._jobs.values()) >= MOST_RUNNING:
            raise TooManyJobsError(f"{MOST_RUNNING} run already; wait for one to end, or cancel one.")
        job = Job(f"job_{secrets.token_hex(8)}", kind)
        job.task = start_task(_run(job, work), f"a {kind}")
        self._jobs[job.id] = job
        for old in [old for old in self._jobs.values() if old.state != "running"][: len(self._jobs) - MOST_KEPT]:
            del self._jobs[old.id]
        return job

    def find(self, job_id: str) -> Job:
        """Raises `NotFoundError`, also for one that ended long ago."""
        if job_id not in self._jobs:
            raise NotFoundError("job", job_id)
        return self._jobs[job_id]

    async def wait(self, job: Job, seconds: float) -> None:
        """Until it ends, at most so long; it runs on in any case."""
        if job.task is not None:
            await asyncio.wait([job.task], timeout=seconds)

    async def cancel(self, job: Job) -> None:
        """Has it end at its next pause, with what it has come to."""
        job.progress.is_cancelled = True
        if job.task is not None:
            await asyncio.wait([job.task], timeout=1.0)


async def _run(job: Job, work: Callable[[Progress], Awaitable[BaseModel]]) -> None:
    try:
        job.result = await work(job.progress)
        job.progress.share = 1.0
    except MicroGatewayError as error:
        job.error = str(error)
    except Exception:
        job.error = MISTAKE
        raise
