"""What a scenario is given: how long, how much of everything, where it runs."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from soak.facts import Report
from soak.gateway import Cores

UPSTREAM_IDLE = 1.0  # seconds: how long the gateway keeps a connection to the upstream that nobody uses
WITH_SHORT_IDLE = {"MICROGATEWAY_UPSTREAM_IDLE_TIMEOUT": str(UPSTREAM_IDLE)}
MEMORY_SLACK = 10_000_000  # bytes that an allocator may keep for the next time
BLOCK_SLACK = 5_000  # Python's blocks of memory: less than one for each thing that is done here


@dataclass(frozen=True, slots=True)
class Setting:
    """`seconds` of load; `scale` 1 is the full number of everything; `folder` is for logs and databases."""

    seconds: float
    folder: Path
    scale: float = 1.0
    cores: Cores = field(default_factory=Cores)

    def many(self, number: int) -> int:
        """So many at full scale."""
        return max(1, round(number * self.scale))


Scenario = Callable[[Setting, Report], Awaitable[None]]
