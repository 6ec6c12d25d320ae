"""What watches the traffic, put together: metrics, events, and what tells of them."""

import secrets
from collections.abc import Collection, Mapping, Sequence

from microgateway.clock import Clock
from microgateway.data_plane.listener import Listener
from microgateway.observability.exposition import Source
from microgateway.observability.happenings import Happenings
from microgateway.observability.history import History
from microgateway.observability.live_figures import figures
from microgateway.observability.live_hub import LiveHub
from microgateway.observability.log_book import LogBook
from microgateway.observability.metrics import Bounds, Metrics
from microgateway.observability.monitoring import INTERVAL, Gauges, Monitoring, Ticker
from microgateway.observability.process_facts import ProcessFacts
from microgateway.observability.prometheus import Circuits, Configured, LogRows, Present, Targets, Traffic
from microgateway.observability.recorder import Counter, Recorder, Sink
from microgateway.observability.usage import Usage
from microgateway.persistence.database import Database
from microgateway.persistence.metric_history import MetricHistory
from microgateway.process.fleet import Fleet
from microgateway.settings import Settings
from microgateway.snapshot import Snapshot, Upstream
from microgateway.state.interfaces import Circuits as CircuitRooms
from microgateway.state.targets import MemoryTargets


class Observatory:
    """It is there before the data plane, whose recorder and circuits tell it, and looks at that from `open` on."""

    monitoring: Monitoring
    sources: Sequence[Source]  # of `/metrics`
    _ticker: Ticker
    _history: History

    def __init__(self, settings: Settings, clock: Clock, usage: Usage) -> None:
        self._settings = settings
        self._clock = clock
        self.metrics = Metrics(bounds=Bounds(series=settings.metrics_series), now=clock.wall(), usage=usage)
        self.hub = LiveHub(boot=secrets.token_hex(4), wall=clock.wall)
        self.happenings = Happenings(
            wall=clock.wall, listeners=[self.hub.note_event], change_listeners=[self.hub.note_change]
        )

    @property
    def sinks(self) -> Sequence[Sink]:
        """Who is to be handed every batch of exchanges."""
        return (self.hub.tail,)

    @property
    def counters(self) -> Sequence[Counter]:
        """Who is to be handed them in runs."""
        return (self.metrics.count,) if self._settings.metrics else ()

    async def load(self, database: Database, service_ids: Collection[str]) -> None:
        """Takes over what was before. Raises `StartupError`."""
        self._history = History(metrics=self.metrics, store=MetricHistory(database))
        await self._history.load(self._clock.wall(), service_ids)

    def open(
        self,
        *,
        listener: Listener,
        gauges: Listener | Fleet,
        recorder: Recorder,
        circuits: CircuitRooms,
        targets: MemoryTargets,
        log: LogBook,
    ) -> None:
        """Begins to look. `gauges` knows what is there now."""
        present = Gauges(
            in_flight=lambda: gauges.in_flight,
            connections=lambda: gauges.connections,
            upstream_connections=lambda: gauges.upstream_connections,
        )
        monitoring = Monitoring(metrics=self.metrics, gauges=present, flush=recorder.flush, wall=self._clock.wall)

        def upstreams() -> Collection[Upstream]:
            return listener.snapshot.upstreams.values()

        def service_names() -> Mapping[str, str]:
            return {upstream.id: upstream.name for upstream in upstreams()}

        self.sources = (
            Traffic(monitoring, key_labels=self._settings.metrics_key_labels),
            Present(monitoring),
            Circuits(circuits, self.happenings, service_names),
            Targets(targets, upstreams, self._clock.now),
            Configured(self.happenings),
            LogRows(lambda: log.counts),
            ProcessFacts(),
        )
        self.monitoring = monitoring
        self._ticker = Ticker(monitoring, [self._tell_figures, self._history.tick])
        self._ticker.start()

    async def close(self) -> None:
        """Counts what is left; called when the recorder has handed over all it had."""
        self.hub.close()
        self._ticker.stop()
        await self._history.stop(self._clock.wall())

    def _tell_figures(self, now: float) -> None:
        """Of the second that has just ended."""
        self.hub.tell("metrics", lambda: figures(self.monitoring, int(now - INTERVAL / 2)))

    def configuration_changes(self, before: Snapshot, after: Snapshot) -> None:
        """Forgets what is not configured any more."""
        if before.upstreams.keys() - after.upstreams.keys():
            self.metrics.keep_services(after.upstreams.keys(), self._clock.wall())
            self.happenings.keep_services(after.upstreams.keys())
