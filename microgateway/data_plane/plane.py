"""What all connections of one data plane share: the snapshot in force, the state, the limits, and who is connected."""

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from microgateway.core.answers import AnswerReader
from microgateway.core.field_sections import request_fields
from microgateway.core.http_date import DateLine
from microgateway.data_plane.options import Options
from microgateway.data_plane.pipeline import State
from microgateway.data_plane.request_ids import request_ids
from microgateway.data_plane.tracing import Tracer
from microgateway.exchange import Exchange
from microgateway.snapshot import Snapshot

if TYPE_CHECKING:
    from microgateway.data_plane.downstream import Downstream
    from microgateway.data_plane.pool import Pools
    from microgateway.data_plane.upstream import UpstreamConnection

Now = Callable[[], float]


class Recorder(Protocol):
    """Who is told of every exchange, once, when it has ended. It must neither block nor raise."""

    def record(self, exchange: Exchange) -> None: ...


class Plane:
    """The data plane's shared belongings. `snapshot` is replaced whole; a request keeps the one that it began with."""

    __slots__ = (
        "answers",
        "date",
        "downstreams",
        "draining",
        "idle_timeout",
        "ids",
        "now",
        "options",
        "pools",
        "random",
        "record",
        "request_fields",
        "snapshot",
        "state",
        "tracer",
        "undated",
        "wall",
    )

    pools: "Pools"

    def __init__(
        self,
        *,
        options: Options,
        snapshot: Snapshot,
        state: State,
        recorder: Recorder,
        now: Now = time.monotonic,
        wall: Now = time.time,
    ) -> None:
        self.options = options
        self.snapshot = snapshot
        self.state = state
        self.record = recorder.record
        self.now = now
        self.wall = wall
        self.random = random.Random()  # noqa: S311  request ids need to differ, not to be unguessable
        self.tracer = None if options.trace_ratio is None else Tracer(options.trace_ratio, self.random)
        self.ids = request_ids(self.random)
        self.request_fields = request_fields(options.api_key_header.lower().encode())
        self.answers = AnswerReader()
        self.date = DateLine()
        self.undated: set[UpstreamConnection] = set()  # that remember a head which we have dated
        self.downstreams: set[Downstream] = set()
        self.draining = False
        self.idle_timeout = options.client_idle_timeout  # seconds until a client's next request

    def forget_dates(self) -> None:
        """Called at short intervals, so that no answer is dated much earlier than it came."""
        for connection in self.undated:
            connection.forget_head()
        self.undated.clear()
