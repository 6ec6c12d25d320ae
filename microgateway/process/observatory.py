"""What watches the traffic, put together: metrics, events, and what tells of them."""

from collections.abc import Mapping, Sequence

from microgateway.clock import Clock
from microgateway.data_plane.listener import Listener
from microgateway.observability.exposition import Source
from microgateway.observability.happenings import Happenings
from microgateway.observability.metrics import Bounds, Metrics
from microgateway.observability.monitoring import Gauges, Monitoring, Ticker
from microgateway.observability.process_facts import ProcessFacts
from microgateway.observability.prometheus import Circuits, Configured, Present, Traffic
from microgateway.observability.recorder import Recorder, Sink
from microgateway.settings import Settings
from microgateway.snapshot import Snapshot
from microgateway.state.memory import MemoryCircuits


class Observatory:
    """It is there before the data plane, whose recorder and circuits tell it, and looks at that from `open` on."""

    monitoring: Monitoring
    sources: Sequence[Source]  # of `/metrics`
    _ticker: Ticker

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self.metrics = Metrics(bounds=Bounds(series=settings.metrics_series), now=clock.wall())
        self.happenings = Happenings(wall=clock.wall)

    @property
    def sinks(self) -> Sequence[Sink]:
        """Who is to be handed every batch of exchanges."""
        return (self.metrics.count,) if self._settings.metrics else ()

    def open(
        self, *, listener: Listener, recorder: Recorder, circuits: MemoryCircuits, sources: Sequence[Source] = ()
    ) -> None:
        """Begins to look. `sources` are more families for `/metrics`."""
        gauges = Gauges(
            in_flight=lambda: listener.in_flight,
            connections=lambda: listener.connections,
            upstream_connections=lambda: listener.upstream_connections,
        )
        monitoring = Monitoring(metrics=self.metrics, gauges=gauges, flush=recorder.flush, wall=self._clock.wall)

        def service_names() -> Mapping[str, str]:
            return {upstream.id: upstream.name for upstream in listener.snapshot.upstreams.values()}

        of_gateway = (
            Traffic(monitoring, key_labels=self._settings.metrics_key_labels),
            Present(monitoring),
            Circuits(circuits, self.happenings, service_names),
            Configured(self.happenings),
            ProcessFacts(),
        )
        self.monitoring = monitoring
        self.sources = (*of_gateway, *sources)
        self._ticker = Ticker(monitoring)
        self._ticker.start()

    def close(self) -> None:
        """Counts what is left; called when the recorder has handed over all it had."""
        self._ticker.stop()

    def configuration_changes(self, before: Snapshot, after: Snapshot) -> None:
        """Forgets what is not configured any more."""
        if before.upstreams.keys() - after.upstreams.keys():
            self.metrics.keep_services(after.upstreams.keys(), self._clock.wall())
            self.happenings.keep_services(after.upstreams.keys())
