"""What the control plane asks: the one object that knows the running gateway."""

from dataclasses import replace

from microgateway.control_plane.gateway_batches import BatchAnswer, BatchRequest
from microgateway.control_plane.gateway_replays import Against, ReplayAnswer, ReplayRequest, RowExplanation
from microgateway.control_plane.gateway_requests import GatewayAnswer, GatewayRequest
from microgateway.control_plane.jobs import Progress
from microgateway.control_plane.judging import Judging
from microgateway.control_plane.logs import moment_of
from microgateway.errors import ConfigurationError
from microgateway.persistence.log_stream import LoggedRequest, LogStream
from microgateway.simulation.batch import run_batch
from microgateway.simulation.conducting import conduct
from microgateway.simulation.explaining import Running, explain
from microgateway.simulation.logged import LoggedHeads
from microgateway.simulation.replaying import Period, replay
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

    def explain_row(self, row: LoggedRequest, served: Snapshot | None, against: Against = "served") -> RowExplanation:
        """What would become of a request of the log under what `served` it, or under what is in force.

        Raises `ConfigurationError` for one that made no sense.
        """
        snapshot = self._running.snapshot() if served is None or against == "in_force" else served
        heads = LoggedHeads((served or snapshot).routes, snapshot.routes)
        if heads.of(row) is None:
            raise ConfigurationError("This request made no sense, so nothing was judged.", field="row_id")
        answer = told(explain(heads.asked(row), replace(self._running, snapshot=lambda: snapshot), row))
        assumed = ["Its body, and header fields that no condition asks for, are not in the log."]
        if served is None:
            assumed.insert(0, _not_kept(row, snapshot))
        if heads.has_conditions(row):
            assumed.append("Host and header fields are made up to meet its route's conditions, as they did then.")
        is_served = served is not None and snapshot.version == served.version
        return RowExplanation(is_served=is_served, row=row._asdict(), answer=answer, assumed=assumed)

    async def batch(self, request: BatchRequest, snapshot: Snapshot, progress: Progress) -> BatchAnswer:
        """What comes of many, under this configuration."""
        return await run_batch(request, self._running, snapshot, progress)

    async def replay(
        self, request: ReplayRequest, log: LogStream, judging: Judging, progress: Progress
    ) -> ReplayAnswer:
        """What of the log would come out otherwise, judged like this. Raises `ConfigurationError`."""
        now = self._running.clock.wall()
        until = now if request.until is None else moment_of("until", request.until, now)
        since = moment_of("since", request.since, now)
        period = Period(since=since or 0.0, until=now if until is None else until, warm_up=request.warm_up_seconds)
        return await replay(log, period, judging=judging, against=request.against, progress=progress)


def _not_kept(row: LoggedRequest, snapshot: Snapshot) -> str:
    was = f"Version {row.configuration_version}, which served it, is no longer kept"
    if row.configuration_version is None:
        was = "No version of the configuration is known to have served it"
    return f"{was}: this is under version {snapshot.version}, which is in force."
