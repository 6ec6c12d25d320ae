"""/api/gateway: what the gateway does, or would do, with a request that an operator describes."""

from fastapi import APIRouter

from microgateway.control_plane.dependencies import Here
from microgateway.control_plane.gateway_requests import GatewayAnswer, GatewayRequest

router = APIRouter(prefix="/api/gateway", tags=["gateway"])


@router.post("/request")
async def ask_gateway(here: Here, asked: GatewayRequest) -> GatewayAnswer:
    """The answer to the request, and why.

    With `upstream` `none` nothing is sent, taken, counted or logged. Otherwise it goes the way of traffic, to the
    service or to a simulated one, and is marked in the log.
    """
    return await here.live.simulation.ask(asked)
