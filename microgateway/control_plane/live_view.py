"""What the control plane sees of the traffic. It looks, and acts on it only when an operator says so: it resets a
circuit, and has targets asked how they are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from microgateway.control_plane.gateway_batches import BatchAnswer, BatchRequest
from microgateway.control_plane.gateway_replays import Against, ReplayAnswer, ReplayRequest, RowExplanation
from microgateway.control_plane.gateway_requests import GatewayAnswer, GatewayRequest
from microgateway.control_plane.jobs import Progress
from microgateway.control_plane.judging import Judging
from microgateway.observability.exposition import Source
from microgateway.observability.live_hub import LiveHub
from microgateway.observability.monitoring import Monitoring
from microgateway.observability.usage import Usage
from microgateway.persistence.log_stream import LoggedRequest, LogStream
from microgateway.snapshot import Snapshot
from microgateway.state.interfaces import Circuits, Limiter
from microgateway.state.targets import MemoryTargets


class Checks(Protocol):
    """Has targets asked; returns when what they answered can be seen."""

    async def check(self, service_id: str) -> None: ...

    async def check_all(self) -> None: ...


class Simulator(Protocol):
    """Says what the gateway does, or would do."""

    async def ask(self, request: GatewayRequest) -> GatewayAnswer: ...

    def explain_row(self, row: LoggedRequest, served: Snapshot | None, against: Against) -> RowExplanation: ...

    async def batch(self, request: BatchRequest, snapshot: Snapshot, progress: Progress) -> BatchAnswer: ...

    async def replay(
        self, request: ReplayRequest, log: LogStream, judging: Judging, progress: Progress
    ) -> ReplayAnswer: ...


@dataclass(frozen=True, slots=True)
class ProcessView:
    """One process of a gateway of several. `restarts` counts those before it that ended unasked; `started_at` is since
    the epoch.
    """

    kind: str
    place: int
    pid: int
    state: str
    restarts: int
    started_at: float


@dataclass(frozen=True, slots=True)
class Live:
    """The counters, circuits, metrics, limits and targets of the running data plane, and who knows what it would do."""

    usage: Usage
    circuits: Circuits
    monitoring: Monitoring
    limiter: Limiter
    targets: MemoryTargets
    checks: Checks
    simulation: Simulator
    hub: LiveHub
    sources: Sequence[Source] = ()  # of `/metrics`
    processes: Callable[[], Sequence[ProcessView]] = lambda: ()
    """Those of the gateway, where it is more than this one."""
