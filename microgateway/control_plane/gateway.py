"""/api/gateway: what the gateway does, or would do, with a request that an operator describes."""

from fastapi import APIRouter

from microgateway.control_plane.dependencies import Here
from microgateway.control_plane.gateway_requests import GatewayAnswer, GatewayRequest

router = APIRouter(prefix="/api/gateway", tags=["gateway"])


@router.post("/request")
async def ask_gateway(here: Here, asked: GatewayRequest) -> GatewayAnswer:
    """The answer that the request would get, and why. Nothing is sent, taken, counted or logged."""
    return here.live.simulation.explain(asked)
