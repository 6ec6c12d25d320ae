"""What the judgement on a request has found out that holds for the next one too, where the same head comes again.

A connection keeps the head of a request that it gets once more (`downstream.py`), and most clients that ask often ask
the same. Which route takes such a head, who sent it and which limits apply is then known, as long as the snapshot is
the same and the credential has not expired. What is left to ask is whether there are tokens, and whether the service is
trusted. It is an abbreviation, never another judgement: whatever is not plain goes the whole way again.
"""

from collections.abc import Sequence
from typing import Any

from microgateway.core.requests import RequestHead
from microgateway.snapshot import Destination, Principal, Snapshot
from microgateway.state.interfaces import Limiter
from microgateway.state.limits import Claim


class Standing:
    """The findings on one head under one snapshot. They are good until `until`, in seconds since the epoch."""

    __slots__ = ("claims", "destination", "principal", "snapshot", "until")

    def __init__(
        self, snapshot: Snapshot, destination: Destination, principal: Principal | None, claims: Sequence[Any]
    ) -> None:
        self.snapshot = snapshot
        self.destination = destination
        self.principal = principal
        self.claims = claims
        self.until = float("inf") if principal is None else principal.expires_at


def note_standing(
    head: RequestHead,
    snapshot: Snapshot,
    destination: Destination,
    principal: Principal | None,
    claims: Sequence[Claim],
    limiter: Limiter,
) -> None:
    """Keeps what let a request pass with its head, from the second time on: most come once only."""
    if head.has_come_before:
        head.standing = Standing(snapshot, destination, principal, limiter.hold(claims))
    head.has_come_before = True
