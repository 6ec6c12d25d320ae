"""/api/live: the gateway as it runs, as a stream of server-sent events.

The framework could encode them, but would do so anew for every listener.
"""

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Query
from starlette.responses import StreamingResponse

from microgateway.clock import Clock
from microgateway.control_plane.dependencies import Here
from microgateway.control_plane.logs import Wanted
from microgateway.observability.live_hub import Listener, LiveHub
from microgateway.observability.log_match import matches

LONGEST_STREAM = 3_600.0  # seconds; then a client comes back, and shows again that it may
HEARTBEAT = 15.0  # seconds without anything else, after which a comment shows that the stream is alive
COMES_BACK_AFTER = 2_000  # milliseconds, which a listener is asked to wait
FIRST = f"retry: {COMES_BACK_AFTER}\n\n".encode()
STILL_THERE = b": \n\n"

router = APIRouter(prefix="/api/live", tags=["live"])


@router.get("", response_class=StreamingResponse, responses={200: {"content": {"text/event-stream": {}}}})
async def live(
    here: Here,
    wanted: Wanted,
    log: Annotated[bool, Query(description="Also the rows of the request log that the filters let through.")] = False,
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
) -> StreamingResponse:
    """`metrics` every second; `circuit`, `target` and `configuration` when they happen; `log` if asked for."""
    hub = here.live.hub
    hub.check_room()
    wants = partial(matches, wanted) if log else None
    pieces = _stream(hub, lambda: hub.join(last_id=last_event_id, wants=wants), here.clock)
    return StreamingResponse(pieces, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


async def _stream(hub: LiveHub, join: Callable[[], Listener], clock: Clock) -> AsyncIterator[bytes]:
    """Joins only here: a client that goes away before the first byte would never leave."""
    listener, ends_at = join(), clock.now() + LONGEST_STREAM
    try:
        yield FIRST
        while clock.now() < ends_at:
            taken = await listener.take(HEARTBEAT)
            if taken or not listener.is_over:
                yield taken or STILL_THERE
            if listener.is_over and not listener.waiting:
                return
    finally:
        hub.leave(listener)
