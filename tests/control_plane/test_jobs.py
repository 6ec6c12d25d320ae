"""Work that takes longer than a call: how it ends when the gateway itself makes a mistake."""

import asyncio

import pytest
from pydantic import BaseModel

from microgateway.control_plane.jobs import Jobs, Progress


async def test_a_mistake_is_a_failure_that_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def work(progress: Progress) -> BaseModel:
        raise ZeroDivisionError

    jobs = Jobs()
    job = jobs.start("batch", work)
    await jobs.wait(job, 5)
    await asyncio.sleep(0)  # what is called when a task is done is called in the loop's next turn
    assert (job.state, job.result) == ("failed", None)
    assert job.error is not None
    (record,) = caplog.records
    assert record.message.startswith("a batch failed")
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
