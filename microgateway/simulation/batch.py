"""Many requests through a data plane of their own, or through the running gateway's state, in either time.

In virtual time everything is the data plane's own but the sockets and the services: minutes pass in as long as their
events take to be worked off, a few milliseconds at a time, so that traffic on the same loop is not held up.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from random import Random

from microgateway.control_plane.gateway_batches import BatchAnswer, BatchRequest, Happening
from microgateway.control_plane.jobs import Progress
from microgateway.data_plane.authentication import Authentication
from microgateway.data_plane.pipeline import State
from microgateway.exchange import Exchange
from microgateway.simulation.arrivals import moments
from microgateway.simulation.copies import CopiedCircuits, CopiedLimiter, CopiedTargets, copied_verifier
from microgateway.simulation.explaining import Running
from microgateway.simulation.scene import Scene, Setting
from microgateway.simulation.scripts import ScriptedServices
from microgateway.simulation.tally import Tally, TokenWatch
from microgateway.simulation.telling import asked_of
from microgateway.simulation.upstream_wires import WirePools
from microgateway.simulation.worlds import RealWorld, VirtualWorld, World
from microgateway.snapshot import Snapshot
from microgateway.state.limits import MemoryLimiter
from microgateway.state.memory import MemoryCircuits
from microgateway.state.targets import MemoryTargets

SLICE = 0.002  # seconds of this machine's time, after which traffic has its turn
LOOKS = 60  # at the buckets, over the whole time
FRESH = 1_000.0  # when virtual time begins where nothing is copied, in monotonic seconds
LOOKED_AGAIN = 0.02  # seconds, on the real clock, until a cancelling is noticed


@dataclass(frozen=True, slots=True)
class _Both:
    """A recorder that is two."""

    tally: Tally
    other: Callable[[Exchange], None]

    def record(self, exchange: Exchange) -> None:
        self.tally.record(exchange)
        self.other(exchange)


class Batch:
    """One batch, run once. `snapshot` is the configuration that it runs under."""

    def __init__(self, request: BatchRequest, running: Running, snapshot: Snapshot, world: World) -> None:
        self._request = request
        self._snapshot = snapshot = snapshot.apart()
        self._world = world
        self._began = world.now()
        arrivals = request.arrivals
        self._seconds = 0.0 if arrivals is None else arrivals.seconds
        self._tally = Tally(began=world.now(), wall_began=world.wall(), seconds=self._seconds)
        self._running = running
        state = self._state()
        traffic = request.state == "traffic"
        setting = Setting(
            world=world,
            options=running.options,
            state=state,
            snapshot=snapshot,
            recorder=_Both(self._tally, running.recorder.record) if traffic else self._tally,
            port=running.port(),
        )
        self._scene = Scene(setting)
        services = ScriptedServices(snapshot, world, request.upstream, request.services, request.seed)
        self._scene.plane.pools = WirePools(self._scene.plane, world, services.of)
        self._tokens = TokenWatch(state.limiter, began=world.now())
        header = running.options.api_key_header
        self._asked = [(asked.octets(header), asked.client_ip) for asked in map(asked_of, request.requests)]
        random = Random(request.seed)  # noqa: S311  a simulation is to be repeatable
        self._moments = iter([0.0] * len(self._asked)) if arrivals is None else moments(arrivals, random)
        self._next = 0
        self._waiting: deque[int] = deque()
        self._is_over = False
        self._done = asyncio.Event()

    @property
    def is_done(self) -> bool:
        return self._is_over and not self._scene.under_way and not self._waiting

    async def run(self, progress: Progress) -> BatchAnswer:
        """To its end, or until it is cancelled."""
        began = time.perf_counter()
        self._look()
        self._expect_next()
        if isinstance(self._world, VirtualWorld):
            await self._run_virtually(self._world, progress)
        else:
            await self._run_really(progress)
        complete = self.is_done
        seconds = self._world.now() - self._began
        self._tokens.look(self._world.now())
        self._scene.close()
        self._scene.plane.pools.close()
        return self._answer(seconds=seconds, took=time.perf_counter() - began, complete=complete)

    # -- time ----------------------------------------------------------------------------------------------------------

    async def _run_virtually(self, world: VirtualWorld, progress: Progress) -> None:
        while not self.is_done and not progress.is_cancelled:
            if not world.run_for(SLICE, lambda: self.is_done):
                return  # nothing is to come, and nothing ever ends what is under way
            progress.share = self._share()
            await asyncio.sleep(0)

    async def _run_really(self, progress: Progress) -> None:
        while not self.is_done and not progress.is_cancelled:
            try:
                await asyncio.wait_for(self._done.wait(), LOOKED_AGAIN)
            except TimeoutError:
                progress.share = self._share()

    def _share(self) -> float:
        return min(1.0, (self._world.now() - self._began) / self._seconds) if self._seconds else 0.0

    # -- requests ------------------------------------------------------------------------------------------------------

    def _expect_next(self) -> None:
        moment = next(self._moments, None)
        if moment is None:
            self._is_over = True
            self._note_done()
            return
        self._world.later(max(0.0, self._began + moment - self._world.now()), self._arrive)

    def _arrive(self) -> None:
        number, self._next = self._next, self._next + 1
        most = self._request.concurrency
        if most is not None and self._scene.under_way >= most:
            self._waiting.append(number)
        else:
            self._send(number)
        self._expect_next()

    def _send(self, number: int) -> None:
        octets, client_ip = self._asked[number % len(self._asked)]
        self._scene.send(octets, client_ip, self._ended)

    def _ended(self, exchange: Exchange, answer: bytes) -> None:
        self._tokens.meet(exchange)
        if self._waiting:
            self._world.later(0.0, self._send_waiting)
        self._note_done()

    def _send_waiting(self) -> None:
        if self._waiting and self._scene.under_way < (self._request.concurrency or 1):
            self._send(self._waiting.popleft())

    def _note_done(self) -> None:
        if self.is_done:
            self._done.set()

    def _look(self) -> None:
        """At the buckets, as long as requests come."""
        self._tokens.look(self._world.now())
        if self._seconds and self._world.now() - self._began < self._seconds:
            self._world.later(self._seconds / LOOKS, self._look)

    # -- state and answer ----------------------------------------------------------------------------------------------

    def _state(self) -> State:
        live, kind, world, listeners = self._running.state, self._request.state, self._world, (self._tally.note,)
        if kind == "traffic":
            return live
        verifier = None if self._running.verifier is None else copied_verifier(self._running.verifier)
        authentication = Authentication(api_key_header=self._running.options.api_key_header, verifier=verifier)
        random = Random(self._request.seed)  # noqa: S311  a simulation is to be repeatable
        if kind == "copy":
            return State(
                CopiedLimiter(live.limiter),
                CopiedCircuits(live.circuits, wall=world.wall, listeners=listeners),
                authentication,
                CopiedTargets(live.targets, wall=world.wall, listeners=listeners),
            )
        return State(
            MemoryLimiter(),
            MemoryCircuits(wall=world.wall, listeners=listeners),
            authentication,
            MemoryTargets(wall=world.wall, random=random, listeners=listeners),
        )

    def _answer(self, *, seconds: float, took: float, complete: bool) -> BatchAnswer:
        tally = self._tally
        return BatchAnswer(
            clock=self._request.clock,
            state=self._request.state,
            configuration_version=self._snapshot.version,
            requests=tally.requests,
            admitted=tally.admitted,
            retries=tally.retries,
            seconds=round(seconds, 3),
            took_seconds=round(took, 3),
            counts=tally.counts(),
            latency_ms=tally.latency(),
            timeline=tally.timeline(self._events_of_traffic()),
            slot_seconds=tally.over_time.slot_seconds,
            history=tally.over_time.slots(),
            tokens=self._tokens.series(),
            keys=tally.keys(),
            services=tally.services(),
            is_complete=complete,
        )

    def _events_of_traffic(self) -> list[Happening]:
        """What the circuits of the running gateway went through meanwhile; others tell the tally themselves."""
        if self._request.state != "traffic":
            return []
        circuits = self._running.state.circuits
        events = [event for service_id in self._snapshot.upstreams for event in circuits.history_of(service_id)]
        return [told for event in events if (told := self._tally.happening(event)).at >= 0.0]


async def run_batch(request: BatchRequest, running: Running, snapshot: Snapshot, progress: Progress) -> BatchAnswer:
    """On the clock that it asks for."""
    clock = running.clock
    if request.clock == "virtual":
        # Buckets that are made anew know nothing of a time before: so the same batch is the same to the nanosecond
        began = clock.now() if request.state == "copy" else FRESH
        virtual = VirtualWorld(now=began, wall=clock.wall())
        return await Batch(request, running, snapshot, virtual).run(progress)
    with closing(RealWorld(clock=clock, loop=asyncio.get_running_loop())) as world:
        return await Batch(request, running, snapshot, world).run(progress)
