"""The larger things that a worker is told, and tells."""

from dataclasses import dataclass

from microgateway.observability.transfer import Counts
from microgateway.settings import Settings


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """What a worker is made of. `writes`: whether what has ended is written down anywhere."""

    settings: Settings
    secret: str
    writes: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What has been counted since the last one, and what there is now. `log` are rows dropped, and rows that wait."""

    counts: Counts
    usage: Counts
    connections: int
    in_flight: int
    upstream_connections: int
    log: tuple[int, int]
