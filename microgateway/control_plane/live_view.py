"""What the control plane sees of the traffic. It looks, and acts on it only when an operator says so: it resets a
circuit, and has targets asked how they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from microgateway.observability.exposition import Source
from microgateway.observability.monitoring import Monitoring
from microgateway.observability.usage import Usage
from microgateway.state.interfaces import Circuits, Limiter
from microgateway.state.targets import MemoryTargets


class Checks(Protocol):
    """Has targets asked; returns when what they answered can be seen."""

    async def check(self, service_id: str) -> None: ...

    async def check_all(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Live:
    """The counters, circuits, metrics, limits and targets of the running data plane."""

    usage: Usage
    circuits: Circuits
    monitoring: Monitoring
    limiter: Limiter
    targets: MemoryTargets
    checks: Checks
    sources: Sequence[Source] = ()  # of `/metrics`
