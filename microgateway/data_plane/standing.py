"""What the judgement on a request has found out that holds for the next one too, where it is like the last.

A connection keeps the head of a request that it gets once more, and the header section of its last one
(`downstream.py`, `head_reader.py`): most clients that ask often send the same fields again, and many ask the same. Who
has sent a request, that its address may come in and which limits apply is then known, as long as the snapshot is the
same and the credential has not expired. What is left to ask is where it goes, whether there are tokens, and whether the
service is trusted. It is an abbreviation, never another judgement: whatever is not plain goes the whole way again.
"""

from collections.abc import Sequence
from math import inf
from typing import Any

from microgateway.core.circuit import Breaker, Permit
from microgateway.core.limit_rules import CountBy, LimitRule
from microgateway.core.requests import RequestHead
from microgateway.exchange import Judgement
from microgateway.snapshot import Destination, Principal, Snapshot

MOST_JUDGEMENTS = 4_096


class Judgements:
    """Those that let a request pass, one for all that are judged alike: who counts them sees at a glance that they are.

    They are told apart by the objects that they name, which they keep, so that an id stays theirs.
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, int, int], Judgement] = {}

    def of(
        self,
        permit: Permit,
        principal: Principal | None,
        destination: Destination,
        limited_by: Principal | LimitRule | None,
    ) -> Judgement:
        """The judgement that names these, made where there is none."""
        names = (id(permit), id(principal), id(destination), id(limited_by))
        known = self._known.get(names)
        if known is None:
            if len(self._known) >= MOST_JUDGEMENTS:
                self._known.clear()
            known = self._known[names] = Judgement(permit, principal, destination, limited_by)
        return known


class Standing:
    """The findings on requests with the same fields under one snapshot, good until `until`, seconds since the epoch.

    `claims` are as the limiter holds them, `circuit` is the one that has to be asked, and `judgement` the latest.
    `asks_for_fields`: it holds for no other fields, be the client the same.
    """

    __slots__ = (
        "_method",
        "_path",
        "asks_for_fields",
        "circuit",
        "claims",
        "destination",
        "judgement",
        "snapshot",
        "until",
    )

    def __init__(
        self,
        head: RequestHead,
        snapshot: Snapshot,
        destination: Destination,
        judgement: Judgement,
        claims: Sequence[Any],
        circuit: Breaker,
    ) -> None:
        self._method = head.method
        rules = () if destination.rules is None else (*destination.rules.guards, *destination.rules.others)
        self._path = head.path if any(rule.when is not None for rule in rules) else None
        self.asks_for_fields = any(rule.count_by is CountBy.HEADER for rule in rules)
        self.snapshot = snapshot
        self.destination = destination
        self.judgement = judgement
        self.claims = claims
        self.circuit = circuit
        self.until = inf if judgement.principal is None else judgement.principal.expires_at

    def is_for(self, head: RequestHead, destination: Destination) -> bool:
        """Whether it holds for another request with the same fields, which goes there.

        Which limits apply may depend on the path, where rules ask for it.
        """
        return (
            self.destination is destination
            and self._method == head.method
            and (self._path is None or self._path == head.path)
        )
