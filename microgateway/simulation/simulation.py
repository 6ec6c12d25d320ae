"""What the control plane asks: the one object that knows the running gateway."""

from microgateway.control_plane.gateway_batches import BatchAnswer, BatchRequest
from microgateway.control_plane.gateway_requests import GatewayAnswer, GatewayRequest
from microgateway.control_plane.jobs import Progress
from microgateway.simulation.batch import run_batch
from microgateway.simulation.conducting import conduct
from microgateway.simulation.explaining import Running, explain
from microgateway.simulation.telling import asked_of, told
from microgateway.snapshot import Snapshot


class Simulation:
    """Answers about the gateway that is `running`. It is called on the event loop that carries traffic."""

    def __init__(self, running: Running) -> None:
        self._running = running

    async def ask(self, request: GatewayRequest) -> GatewayAnswer:
        """What the request gets, and why: for a service that is asked or simulated it goes the way of traffic."""
        return self.explain(request) if request.upstream == "none" else await conduct(request, self._running)

    def explain(self, request: GatewayRequest) -> GatewayAnswer:
        """What the request would get now, and why."""
        return told(explain(asked_of(request), self._running))

    async def batch(self, request: BatchRequest, snapshot: Snapshot, progress: Progress) -> BatchAnswer:
        """What comes of many, under this configuration."""
        return await run_batch(request, self._running, snapshot, progress)
