"""The configuration and the log of a gateway that does not run, for the operator's commands.

Nothing is changed, but that tables of an older version are brought up to date, as a start would.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from microgateway.clock import SystemClock
from microgateway.control_plane.configuration import Configuration
from microgateway.control_plane.gateway_replays import Against, RowExplanation
from microgateway.control_plane.judging import served_by
from microgateway.core.token_bucket import Limit
from microgateway.data_plane.pipeline import State
from microgateway.errors import StartupError
from microgateway.observability.recorder import Recorder
from microgateway.observability.usage import Usage
from microgateway.persistence.database import SQLITE_FILE, Database, locate_database, locate_log
from microgateway.persistence.log_stream import LoggedRequest
from microgateway.persistence.migration import REQUEST_LOG
from microgateway.persistence.repository import Repository
from microgateway.persistence.request_log import RequestLog
from microgateway.process.composition import authentication, circuit_defaults, jwt_secret, proxy_options, verifier
from microgateway.settings import Settings
from microgateway.simulation.explaining import Running
from microgateway.simulation.simulation import Simulation
from microgateway.snapshot import Snapshot, SnapshotChange
from microgateway.state.limits import MemoryLimiter
from microgateway.state.memory import MemoryCircuits


@dataclass(frozen=True, slots=True)
class Offline:
    """As after a start: full buckets, closed circuits."""

    configuration: Configuration
    simulation: Simulation
    log: RequestLog

    async def explain_row(self, row_id: str, against: Against) -> RowExplanation:
        """Raises `NotFoundError`."""
        row = LoggedRequest.of(await self.log.get(row_id))
        served = await served_by(self.configuration.editions(), row.configuration_version)
        return self.simulation.explain_row(row, served, against)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Offline]:
    """Raises `StartupError`."""
    _refuse_nothing(settings)
    clock, located = SystemClock(), locate_database(settings.database_url, settings.data_dir)
    tokens = verifier(settings, jwt_secret(settings), clock)
    async with AsyncExitStack() as stack:
        database, log = Database(located), Database(locate_log(located, settings.data_dir), REQUEST_LOG)
        for each in (database, log):
            await each.open()
            stack.push_async_callback(each.close)
        configuration = Configuration(
            repository=Repository(database),
            publish=_nobody,
            clock=clock,
            default_limit=Limit(settings.default_rate_limit, settings.default_burst_size),
            circuit_defaults=circuit_defaults(settings),
        )
        await configuration.load()
        running = Running(
            options=proxy_options(settings),
            state=State(MemoryLimiter(), MemoryCircuits(), authentication(settings, tokens)),
            recorder=Recorder(Usage()),
            snapshot=lambda: configuration.snapshot,
            verifier=tokens,
            clock=clock,
            port=lambda: settings.proxy_port,
        )
        yield Offline(configuration, Simulation(running), RequestLog(log))


async def _nobody(snapshot: Snapshot, change: SnapshotChange | None) -> None:
    """Nothing runs that it could be in force for."""


def _refuse_nothing(settings: Settings) -> None:
    """A database that is not there would be made."""
    file = settings.data_dir / SQLITE_FILE
    if settings.database_url is None and not file.is_file():
        raise StartupError(f"there is no {str(file)!r}: no gateway has run with these settings")
