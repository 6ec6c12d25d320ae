"""/api/gateway: what the gateway does, or would do, with requests that an operator describes."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from microgateway.control_plane.dependencies import Here
from microgateway.control_plane.gateway_batches import BatchAnswer, BatchRequest
from microgateway.control_plane.gateway_replays import Against, JobAnswer, ReplayAnswer, ReplayRequest, RowExplanation
from microgateway.control_plane.gateway_requests import GatewayAnswer, GatewayRequest
from microgateway.control_plane.jobs import Job
from microgateway.control_plane.judging import judging, served_by
from microgateway.control_plane.logs import SETTLING, RowId, moment_of
from microgateway.control_plane.problems import documented
from microgateway.persistence.log_stream import LoggedRequest

router = APIRouter(prefix="/api/gateway", tags=["gateway"])

OF_JOBS: dict[int | str, dict[str, Any]] = {
    202: {"model": JobAnswer, "description": "It runs on."},
    **documented(404, 409, 429),
}
JobId = Annotated[str, Path(pattern=r"^job_[0-9a-f]{16}$")]


@router.post("/request")
async def ask_gateway(here: Here, asked: GatewayRequest) -> GatewayAnswer:
    """The answer to the request, and why.

    With `upstream` `none` nothing is sent, taken, counted or logged. Otherwise it goes the way of traffic, to the
    service or to a simulated one, and is marked in the log.
    """
    return await here.live.simulation.ask(asked)


@router.get("/rows/{row_id}", responses=documented(404, 422))
async def explain_row(here: Here, row_id: RowId, against: Against = "served") -> RowExplanation:
    """A request of the log, by its row or by its own id, and the decision on it, with the tokens that there are now.

    It is made under the version of the configuration that served it, or, where that is no longer kept or the one in
    force is asked for, under that. Nothing is sent, taken, counted or logged.
    """
    await here.log.settle(SETTLING)
    row = LoggedRequest.of(await here.log.reader.get(row_id))
    served = await served_by(here.configuration.editions(), row.configuration_version)
    return here.live.simulation.explain_row(row, served, against)


@router.post("/batch", responses=OF_JOBS)
async def ask_for_many(here: Here, batch: BatchRequest, response: Response) -> JobAnswer:
    """Many requests, in virtual time or in real, under the configuration in force or another one."""
    snapshot = await here.configuration.proposed(batch.configuration)
    job = here.jobs.start("batch", lambda progress: here.live.simulation.batch(batch, snapshot, progress))
    return await _answer_soon(here, job, batch.wait_seconds, response)


@router.post(
    "/replay", responses={202: {"model": JobAnswer, "description": "It runs on."}, **documented(404, 409, 429)}
)
async def replay_log(here: Here, asked: ReplayRequest, response: Response) -> JobAnswer:
    """The request log of a period, judged again under another configuration: what would come out otherwise."""
    for name, text in (("since", asked.since), ("until", asked.until)):
        moment_of(name, text, here.clock.wall())
    snapshot = await here.configuration.proposed(asked.configuration)
    await here.log.settle(SETTLING)
    log = here.log.reader.forward()
    judged = judging(here.configuration.editions(), asked.against, asked.configuration, snapshot)
    job = here.jobs.start("replay", lambda progress: here.live.simulation.replay(asked, log, judged, progress))
    return await _answer_soon(here, job, asked.wait_seconds, response)


@router.get("/jobs/{job_id}", responses=documented(404))
async def get_job(here: Here, job_id: JobId) -> JobAnswer:
    """How far it is, and its result once it has ended. The last 32 are kept."""
    return _answer(here.jobs.find(job_id))


@router.delete("/jobs/{job_id}", responses=documented(404))
async def cancel_job(here: Here, job_id: JobId) -> JobAnswer:
    """Ends it with what it has come to. One that has ended stays as it is."""
    job = here.jobs.find(job_id)
    await here.jobs.cancel(job)
    return _answer(job)


async def _answer_soon(here: Here, job: Job, patience: float, response: Response) -> JobAnswer:
    await here.jobs.wait(job, patience)
    if job.state == "running":
        response.status_code = 202
        response.headers["Location"] = f"{router.prefix}/jobs/{job.id}"
    return _answer(job)


def _answer(job: Job) -> JobAnswer:
    result = job.result if isinstance(job.result, BatchAnswer | ReplayAnswer) else None
    return JobAnswer(
        id=job.id, kind=job.kind, state=job.state, progress=round(job.progress.share, 4), error=job.error, result=result
    )
