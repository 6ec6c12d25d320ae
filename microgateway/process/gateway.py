"""The whole gateway in one process: database, configuration, proxy port, and the application of the control port.

Or, where there are workers, all of it but the proxy port, which is theirs: a `Fleet` then stands where the listener is,
and the listener, which never listens, knows the configuration and makes the connections of health checks.
"""

from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from fastapi import FastAPI

from microgateway.clock import SystemClock
from microgateway.control_plane.access import load_or_create_admin_token
from microgateway.control_plane.app import create_app
from microgateway.control_plane.configuration import Configuration
from microgateway.control_plane.dependencies import ProxyAddress
from microgateway.control_plane.live_view import Live, ProcessView
from microgateway.core.token_bucket import Limit
from microgateway.data_plane.health_checks import HealthChecker
from microgateway.data_plane.listener import Listener
from microgateway.data_plane.pipeline import State
from microgateway.exchange import Event, EventListener
from microgateway.observability.recorder import Recorder
from microgateway.observability.transfer import add_counts, add_usage
from microgateway.observability.usage import Usage
from microgateway.observability.usage_keeper import UsageKeeper
from microgateway.persistence.configuration_history import HistoryBounds
from microgateway.persistence.data_folder import prepare_data_folder
from microgateway.persistence.database import Database, locate_database
from microgateway.persistence.repository import Repository
from microgateway.persistence.usage_store import UsageStore
from microgateway.process.collector import spare_the_collector
from microgateway.process.composition import authentication, circuit_defaults, jwt_secret, proxy_options, verifier
from microgateway.process.fleet import Checked, Fleet, FleetEnds
from microgateway.process.observatory import Observatory
from microgateway.process.shared_state import CONTROL
from microgateway.process.worker_messages import Report, WorkerSetup
from microgateway.process.writing import Writing, writes_anything
from microgateway.settings import Settings
from microgateway.simulation.explaining import Running
from microgateway.simulation.simulation import Simulation
from microgateway.snapshot import Snapshot, SnapshotChange
from microgateway.state.interfaces import Circuits, Limiter
from microgateway.state.limits import MemoryLimiter
from microgateway.state.memory import MemoryCircuits
from microgateway.state.shared_circuits import SharedCircuits
from microgateway.state.shared_limits import SharedLimiter
from microgateway.state.targets import Ejection, MemoryTargets

DAY = 86_400.0  # seconds


@dataclass(frozen=True, slots=True)
class AdminToken:
    """The key to the control port. `is_new`: it was generated just now, and nobody has seen it yet."""

    text: str
    is_new: bool


class Gateway:
    """Everything that runs, opened in order and closed in reverse.

    `admin_token` and `app` are there once it is open. `event_listeners` may be added to before that.
    """

    admin_token: AdminToken
    app: FastAPI

    def __init__(self, settings: Settings, ends: FleetEnds | None = None) -> None:
        """`ends` are what the workers are reached by, where there are any."""
        self.settings = settings
        self._clock = SystemClock()
        usage = Usage()
        self._observatory = Observatory(settings, self._clock, usage)
        self.event_listeners: list[EventListener] = [self._observatory.happenings.note_event]
        self._limiter: Limiter = MemoryLimiter()
        self._circuits: Circuits = MemoryCircuits(listeners=self.event_listeners)
        if ends is not None:
            self._limiter = ends.state.limiter(CONTROL)
            self._circuits = ends.state.circuits(CONTROL, self.event_listeners)
        self._targets = MemoryTargets(listeners=self.event_listeners)
        options = proxy_options(settings)
        prepare_data_folder(settings.data_dir)
        secret = jwt_secret(settings)
        self._verifier = verifier(settings, secret, self._clock)
        database = locate_database(settings.database_url, settings.data_dir)
        self._database = Database(database)
        self._writing = Writing(settings, database, ears=() if ends is None else ends.ears)
        self._recorder = Recorder(
            usage, [*self._observatory.sinks, *self._writing.sinks], counters=self._observatory.counters
        )
        state = State(self._limiter, self._circuits, authentication(settings, self._verifier), self._targets)
        self._listener = Listener(options=options, snapshot=Snapshot(), state=state, recorder=self._recorder)
        self._running = Running(
            options=options,
            state=state,
            recorder=self._recorder,
            snapshot=lambda: self._listener.snapshot,
            verifier=self._verifier,
            clock=self._clock,
            port=lambda: self.proxy_port,
        )
        self._front: Listener | Fleet = self._listener if ends is None else self._fleet(ends, secret)
        self._checker = HealthChecker(
            connector=self._listener.connector,
            targets=self._targets,
            told=self._front.checked if isinstance(self._front, Fleet) else None,
        )
        self._issued: list[tuple[str, str]] = []
        self._usage_keeper = UsageKeeper(usage=usage, store=UsageStore(self._database))
        self.configuration = Configuration(
            repository=Repository(self._database, history=_history_bounds(settings)),
            publish=self._publish,
            clock=self._clock,
            default_limit=Limit(settings.default_rate_limit, settings.default_burst_size),
            circuit_defaults=circuit_defaults(settings),
            told=self._observatory.happenings.note_change,
        )

    @property
    def proxy_port(self) -> int:
        return self._front.port

    async def open(self) -> None:
        """Migrates, loads, listens. Raises `StartupError`; what was opened by then is closed again.

        Secrets are made last: each is shown by the start that makes it and never again, so that start must not fail.
        """
        settings = self.settings
        async with AsyncExitStack() as opened:
            await self._database.open()
            opened.push_async_callback(self._database.close)
            await self._writing.open()
            opened.push_async_callback(self._writing.close)
            await self.configuration.load()
            await self._usage_keeper.load()
            await self._observatory.load(self._database, self.configuration.services.keys())
            await self._front.start(settings.proxy_host, settings.proxy_port)
            opened.push_async_callback(self._front.drain, 0.0)
            if settings.seed is not None:
                seeded = await self.configuration.seed(settings.seed)
                self._issued = [(issued.key.name, issued.text) for issued in seeded.keys if issued.is_generated]
            self.admin_token = AdminToken(*load_or_create_admin_token(settings.admin_token, settings.data_dir))
            self._observatory.open(
                listener=self._listener,
                gauges=self._front,
                recorder=self._recorder,
                circuits=self._circuits,
                targets=self._targets,
                log=self._writing.book(self._flush),
            )
            self.app = self._control_plane()
            opened.pop_all()
        self._recorder.start()
        self._usage_keeper.start()
        if settings.health_checks:
            self._checker.start()
        spare_the_collector()

    def issued_keys(self) -> list[tuple[str, str]]:
        """Name and text of the keys that the seed made, for one showing: they are forgotten with this call."""
        issued, self._issued = self._issued, []
        return issued

    def renew_files(self) -> None:
        """Reads the files of certificates and keys anew, for connections to come, and opens the access log's anew."""
        self._front.renew_files()
        self._writing.reopen()

    @property
    def has_files(self) -> bool:
        """Whether `renew_files` has anything to do."""
        return bool(self.settings.tls_cert) or self._writing.has_file

    async def drain(self) -> None:
        """Lets requests in flight finish; from now on the gateway is not ready."""
        if not self._front.is_draining:
            await self._front.drain(self.settings.drain_timeout)
        self.end_streams()

    def end_streams(self) -> None:
        """Ends the live streams of the control port, which would have no end of their own."""
        self._observatory.hub.close()

    async def close(self) -> None:
        await self._checker.stop()
        await self.drain()
        await self.configuration.settle()
        self._recorder.stop()
        await self._observatory.close()
        await self._usage_keeper.stop()
        await self._writing.close()
        await self._database.close()

    def why_not_ready(self) -> str | None:
        """The reason why traffic should go elsewhere, None when it need not."""
        if self._front.is_draining:
            return "The gateway is draining."
        return None if self._front.is_listening else "The proxy port is not open."

    def _proxy_address(self) -> ProxyAddress:
        return ProxyAddress("https" if self.settings.tls_cert else "http", self.proxy_port)

    def _control_plane(self) -> FastAPI:
        return create_app(
            configuration=self.configuration,
            live=Live(
                usage=self._recorder.usage,
                circuits=self._circuits,
                monitoring=self._observatory.monitoring,
                limiter=self._limiter,
                targets=self._targets,
                checks=self._checker,
                simulation=Simulation(self._running),
                hub=self._observatory.hub,
                sources=self._observatory.sources,
                processes=self._processes,
            ),
            log=self._writing.book(self._flush),
            clock=self._clock,
            admin_token=self.admin_token.text,
            metrics_token=self.settings.metrics_token,
            verifier=self._verifier,
            readiness=self.why_not_ready,
            proxy=self._proxy_address,
        )

    def _processes(self) -> Sequence[ProcessView]:
        return self._front.processes if isinstance(self._front, Fleet) else ()

    async def _publish(self, snapshot: Snapshot, change: SnapshotChange | None) -> None:
        before = self._listener.snapshot.limits.keys()
        self._observatory.configuration_changes(self._listener.snapshot, snapshot)
        self._listener.apply(snapshot)
        if isinstance(self._front, Fleet):
            await self._front.publish(snapshot, change)
        if isinstance(self._limiter, SharedLimiter) and before - snapshot.limits.keys():
            self._limiter.reclaim(snapshot.limits.keys())  # now that no worker asks them any more
        self._checker.apply(snapshot.upstreams)

    async def _flush(self) -> None:
        """Has what has ended handed to the log."""
        self._recorder.flush()
        if isinstance(self._front, Fleet):
            await self._front.flush()

    def _fleet(self, ends: FleetEnds, secret: str) -> Fleet:
        """The workers, whose counts and events are this process's to show."""
        setup = WorkerSetup(self.settings, secret, writes_anything(self.settings))
        hub = self._observatory.hub
        fleet = Fleet(
            ends,
            setup=setup,
            count=self._count,
            hear=self._hear,
            show=hub.show,
            checks=self._checks,
            ejections=lambda: self._targets.ejections(self._clock.now()),
            eject=self._eject,
        )
        hub.tailing.append(fleet.tail)
        self._writing.count_elsewhere(lambda: fleet.log)
        return fleet

    def _checks(self) -> Iterator[Checked]:
        """What is known of every target, in the order in which it was found out: a new worker is told that."""
        for upstream in self._listener.snapshot.upstreams.values():
            for name, member in self._targets.of(upstream).members.items():
                for result in member.checks:
                    yield upstream.id, name, result, self._clock.now()

    def _eject(self, ejection: Ejection) -> bool:
        upstream = self._listener.snapshot.upstreams.get(ejection.service_id)
        return upstream is not None and self._targets.follow(upstream, ejection, self._clock.now())

    def _count(self, report: Report) -> None:
        add_counts(self._observatory.metrics.counting, report.counts)
        add_usage(self._recorder.usage, report.usage)

    def _hear(self, event: Event) -> None:
        if event.kind == "circuit" and isinstance(self._circuits, SharedCircuits):
            self._circuits.hear(event)
        else:
            for listener in self.event_listeners:
                listener(event)


def _history_bounds(settings: Settings) -> HistoryBounds:
    return HistoryBounds(settings.configuration_history_days * DAY, settings.configuration_history_changes)
