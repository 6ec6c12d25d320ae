"""/metrics: for Prometheus. `AdminAccess` lets through whoever holds the admin token or the one for metrics."""

from fastapi import APIRouter
from starlette.responses import PlainTextResponse, Response

from microgateway.control_plane.dependencies import Here
from microgateway.observability.exposition import MEDIA_TYPE, page

router = APIRouter(tags=["metrics"])


@router.get("/metrics", response_class=PlainTextResponse)
async def prometheus_metrics(here: Here) -> Response:
    """In Prometheus's text format, version 0.0.4."""
    return Response(page(here.live.sources), media_type=MEDIA_TYPE)
