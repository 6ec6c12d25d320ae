"""What the control plane sees of the traffic. It looks, and resets a circuit when an operator says so; nothing more."""

from dataclasses import dataclass

from microgateway.observability.monitoring import Monitoring
from microgateway.observability.usage import Usage
from microgateway.state.limits import MemoryLimiter
from microgateway.state.memory import MemoryCircuits


@dataclass(frozen=True, slots=True)
class Live:
    """The counters, the circuits, the metrics and the limits of the running data plane."""

    usage: Usage
    circuits: MemoryCircuits
    monitoring: Monitoring
    limiter: MemoryLimiter
