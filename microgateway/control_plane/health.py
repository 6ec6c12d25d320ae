"""/livez, /readyz and /health: for orchestrators and load balancers, open to everybody."""

import asyncio
from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from microgateway import __version__
from microgateway.control_plane.dependencies import ControlPlane, Here
from microgateway.control_plane.live_view import ProcessView
from microgateway.control_plane.problems import NotReadyError, documented
from microgateway.persistence.database import DatabaseUnavailableError

LONGEST_PING = 2.0  # seconds; a database that takes longer counts as away

router = APIRouter(tags=["health"])


class Liveness(BaseModel):
    """The process lives, or there would be no answer."""

    status: Literal["alive"]


class Readiness(BaseModel):
    """Traffic may be sent here; otherwise the answer is a problem."""

    status: Literal["ready"]


class Check(BaseModel):
    """How one part is; `detail` says what is wrong with it."""

    status: Literal["ok", "failed"]
    detail: str | None = None


class Process(BaseModel):
    """One of a gateway's processes. `restarts` counts those before it in its place that ended unasked."""

    kind: Literal["control", "worker"]
    place: int
    state: Literal["running", "draining"]
    restarts: int
    uptime_seconds: float


class HealthAnswer(BaseModel):
    """`degraded`: traffic flows, but nothing can be configured. `down`: no traffic should be sent here.

    `processes` is empty where the gateway is one process.
    """

    status: Literal["ok", "degraded", "down"]
    version: str
    uptime_seconds: float
    checks: dict[Literal["database", "proxy"], Check]
    processes: list[Process]


@router.head("/livez", include_in_schema=False)
@router.get("/livez")
async def livez() -> Liveness:
    """The process answers. That depends on nothing outside of it, so nothing outside can have it restarted."""
    return Liveness(status="alive")


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", responses=documented(503))
async def readyz(here: Here) -> Readiness:
    """503 until the proxy port listens, and again as soon as the gateway is being stopped."""
    reason = here.readiness()
    if reason is not None:
        raise NotReadyError(reason)
    return Readiness(status="ready")


@router.head("/health", include_in_schema=False)
@router.get("/health", responses={503: {"model": HealthAnswer, "description": "`status` is `down`."}})
async def health(here: Here, response: Response) -> HealthAnswer:
    """How the gateway and its parts are. 503 where no traffic should be sent here."""
    reason = here.readiness()
    proxy = Check(status="ok") if reason is None else Check(status="failed", detail=reason)
    database = await _check_database(here)
    status: Literal["ok", "degraded", "down"] = "ok" if database.status == "ok" else "degraded"
    if proxy.status == "failed":
        status, response.status_code = "down", 503
    return HealthAnswer(
        status=status,
        version=__version__,
        uptime_seconds=round(here.clock.now() - here.started_at, 3),
        checks={"database": database, "proxy": proxy},
        processes=[_process(view, here.clock.wall()) for view in here.live.processes()],
    )


def _process(view: ProcessView, wall: float) -> Process:
    return Process.model_validate(
        {
            "kind": view.kind,
            "place": view.place,
            "state": view.state,
            "restarts": view.restarts,
            "uptime_seconds": round(max(0.0, wall - view.started_at), 3),
        }
    )


async def _check_database(here: ControlPlane) -> Check:
    try:
        async with asyncio.timeout(LONGEST_PING):
            await here.repository.ping()
    except (DatabaseUnavailableError, TimeoutError):
        return Check(status="failed", detail="The database does not answer.")
    return Check(status="ok")
