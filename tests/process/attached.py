"""A fleet in this process here: the test holds the supervisor's end of its leash, and is its one worker."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from microgateway.process.fleet import Fleet, FleetEnds
from microgateway.process.leash import Leash
from microgateway.process.link import Kind
from microgateway.process.shared_state import SharedState
from microgateway.process.worker_messages import WorkerSetup
from microgateway.settings import Settings
from microgateway.snapshot import Snapshot
from tests.process.working import Peer

PID = 4_711


@dataclass
class Attached:
    """A fleet, its worker, and what it is held by."""

    fleet: Fleet
    worker: Peer
    leash: Leash


@asynccontextmanager
async def attached(snapshot: Snapshot | None = None) -> AsyncIterator[Attached]:
    """The worker, whose process id is `PID`, has this configuration, as version 2."""
    state, (ours, theirs) = SharedState.create(), Leash.pair()
    fleet = Fleet(
        FleetEnds(leash=Leash(theirs), state=state, workers=1, proxy_port=0, ears=()),
        setup=WorkerSetup(Settings(), "s" * 32, writes=False),
        count=lambda report: None,
        hear=lambda event: None,
        show=lambda rows: None,
        checks=lambda: (),
        ejections=lambda: (),
        eject=lambda ejection: False,
    )
    await fleet.publish(snapshot or Snapshot())
    worker, (here, there) = Peer(), socket.socketpair()
    ours.send({"attach": 1}, there)
    there.close()
    await worker.link.open(here)
    worker.link.send(Kind.HELLO, PID)
    worker.link.send(Kind.APPLIED, 2)
    await fleet.start("", 0)
    await worker.has_told(Kind.SNAPSHOT)
    try:
        yield Attached(fleet, worker, ours)
    finally:
        asyncio.get_running_loop().remove_reader(theirs.fileno())
        worker.link.abort()
        ours.close()
        theirs.close()
        state.close()
