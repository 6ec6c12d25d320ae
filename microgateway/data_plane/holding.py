"""What one request holds while it is under way, and how it is given back.

A request holds a permit of its service's circuit, a place at the target that was chosen, and for a time the attention
of two connections. This is the lowest part of a `Forwarding`; above it are its answer (`answering.py`) and its attempts
(`forwarding.py`).
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from microgateway.core.circuit import Permit
from microgateway.core.framing import Piece
from microgateway.core.requests import RequestHead
from microgateway.data_plane.pool import Pool
from microgateway.data_plane.tunnel import Tunnel
from microgateway.exchange import Exchange
from microgateway.snapshot import Destination, Target
from microgateway.state.targets import Member

if TYPE_CHECKING:
    from microgateway.data_plane.downstream import Downstream
    from microgateway.data_plane.plane import Plane
    from microgateway.data_plane.upstream import UpstreamConnection


class Holding:
    """The state of one request.

    `active_at`: when either side last moved, in monotonic seconds; the sweep compares it with the limits.
    """

    # Slots, and all of them set: with attributes that come later, Python would make a dictionary for every request
    __slots__ = (
        "_answer_is_chunked",
        "_body",
        "_client_keeps_alive",
        "_destination",
        "_downstream",
        "_exchange",
        "_is_plain",
        "_member",
        "_permit",
        "_plane",
        "_pool",
        "_replayable",
        "_request_done",
        "_target",
        "_tried",
        "_tunnel",
        "_upstream",
        "_waited",
        "_was_stale",
        "active_at",
        "answer_begun",
        "ended",
        "head",
    )

    head: RequestHead
    _destination: Destination
    _exchange: Exchange
    _permit: Permit | None
    _target: Target

    def __init__(self, plane: "Plane", downstream: "Downstream") -> None:
        self._plane = plane
        self._downstream = downstream
        self._upstream: UpstreamConnection | None = None
        self._pool: Pool | None = None
        self._body: Sequence[Piece] = ()  # what has come of the body and may have to be sent (again)
        self._tried: tuple[Target, ...] = ()
        self._tunnel: Tunnel | None = None
        self._member: Member | None = None  # the target in the service's group, where there is one to choose
        self._waited = 0.0  # seconds that the service took to begin its answer
        self._request_done = self._replayable = True
        self._answer_is_chunked = self._client_keeps_alive = False
        self._was_stale = False  # if so, the next attempt is on a fresh connection
        self._is_plain = True  # so far: what is above was not touched

    @abstractmethod
    def _end(self, now: float) -> None:
        """Ends the request: gives back what is left, and has it recorded."""

    # -- backpressure --------------------------------------------------------------------------------------------------

    def upstream_is_slow(self) -> None:
        """It takes no more for now, so the client is not read from."""
        self._downstream.pause_reading()

    def upstream_caught_up(self) -> None:
        """It takes more again."""
        self.active_at = self._plane.now()
        self._downstream.resume_reading()

    def client_is_slow(self) -> None:
        """It takes no more for now, so the upstream is not read from."""
        if self._upstream is not None:
            self._upstream.transport.pause_reading()

    def client_caught_up(self) -> None:
        """It takes more again."""
        self.active_at = self._plane.now()
        if self._upstream is not None:
            self._upstream.transport.resume_reading()

    # -- giving back, exactly once -------------------------------------------------------------------------------------

    def _settle_by_status(self, status: int, now: float) -> None:
        permit = self._permit
        if permit is not None:
            self._permit = None
            permit.circuit.answered(permit, status, now, self._waited)
            if self._member is not None:
                self._member.answered(status, now)

    def _settle_as_failed(self, now: float, cause: str) -> None:
        permit, self._permit = self._permit, None
        if permit is not None:
            permit.circuit.failed(permit, now, cause)
            if self._member is not None:
                self._member.failed(cause, now)

    def _settle_as_abandoned(self) -> None:
        permit, self._permit = self._permit, None
        if permit is not None:
            permit.circuit.abandoned(permit)

    def _leave_member(self) -> None:
        """The request is no longer under way at the target that was chosen."""
        member, self._member = self._member, None
        if member is not None:
            member.in_flight -= 1
