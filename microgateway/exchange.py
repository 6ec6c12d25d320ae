"""What the data plane tells everybody else: what became of each request, and whom it trusts no more, or again.

Here, too, are the things that a record names: the judgement, and the answers that the gateway makes itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from microgateway.core.circuit import Permit
from microgateway.core.limit_rules import LimitRule
from microgateway.snapshot import Destination, Principal

NO_CONTENT = 204
CLIENT_CLOSED_REQUEST = 499  # nginx's number for a client that left before its answer; never sent, only recorded


@dataclass(frozen=True, slots=True)
class Problem:
    """An answer of the gateway's own: RFC 9457's members, the `stage` that decided, and header lines that go with it.

    `code` is stable and documented. `fields` are complete lines, each with its line end. One answer is no problem: that
    to a browser's preflight, with status 204, no code and no body.
    """

    status: int
    title: str
    code: str
    stage: str
    detail: str
    fields: bytes = b""


@dataclass(frozen=True, slots=True)
class Event:
    """A service's circuit, or one of its targets, is in another state than before.

    `target` is the URL, empty for a circuit. `at` is seconds since the epoch. `reason` is for people; `by` is who made
    the change, empty where the gateway did. States of circuits are `closed`, `open` and `half_open`; those of targets
    `unknown`, `healthy`, `unhealthy` and `ejected`.
    """

    kind: Literal["circuit", "target"]
    service_id: str
    target: str
    before: str
    after: str
    at: float
    reason: str
    by: str = ""


EventListener = Callable[[Event], None]
"""Is told of every event, on the data plane's loop. It must neither block nor raise."""


class Postponed:
    """A judgement that can't be given yet, since the keys of a token's issuer are being fetched.

    `then` has something called once, when they are there or when that failed; `until` is monotonic seconds, and behind
    it nobody should wait any more.
    """

    __slots__ = ("then", "until")

    def __init__(self, until: float, then: Callable[[Callable[[], None]], None]) -> None:
        self.until = until
        self.then = then


def preflight_answer(fields: bytes) -> Problem:
    """The answer to a browser that asks what it may do, with these lines."""
    return Problem(NO_CONTENT, "No Content", "", "router", "", fields)


class Judgement:
    """What the pipeline decided: `outcome` is the leave to forward to `destination`, the problem to answer, or to ask
    again later.

    `principal` is None where nobody was asked who they are (a public route, or a request refused before). `limited_by`
    is whose limit the answer tells of: the key's own (the principal), or a rule's, and None where no limit was asked.
    `shadowed` are the rules that would have refused the request if they were enforced.

    Requests that were judged alike may share one.
    """

    __slots__ = ("destination", "limited_by", "outcome", "principal", "shadowed")

    def __init__(
        self,
        outcome: Permit | Problem | Postponed,
        principal: Principal | None = None,
        destination: Destination | None = None,
        limited_by: Principal | LimitRule | None = None,
        shadowed: tuple[LimitRule, ...] = (),
    ) -> None:
        self.outcome = outcome
        self.principal = principal
        self.destination = destination
        self.limited_by = limited_by
        self.shadowed = shadowed


Decision = tuple[Judgement, int]
"""A judgement, and the level, in parts of a token, that the bucket of its `limited_by` is left with."""

FailedAttempt = tuple[str, str, str, float]
"""How it failed, whether it was repeated and why, the target's host and port, and when, in monotonic seconds."""


class Exchange:
    """One request, from its head to its end, recorded exactly once, however it ended.

    `started`, `sent` (the last attempt was handed to its connection), `answered` (the answer's first byte) and `ended`
    are seconds on the monotonic clock, 0 for what did not happen; `timestamp` is seconds since the epoch. `status` is
    what the client got, 499 when it left before. `attempts` counts requests sent or tried upstream. `query` has its
    question mark, and its secrets. `level` is that of the decision on it. `parent_span` is the client's span, where
    spans are made. `configuration_version` is that of the snapshot by which it was judged, 0 where it was not.
    """

    simulated = False

    # Slots, and all of them set: with attributes that come later, Python would make a dictionary for every request
    __slots__ = (
        "answered",
        "attempts",
        "bytes_in",
        "bytes_out",
        "client_ip",
        "code",
        "configuration_version",
        "ended",
        "failed_attempts",
        "judgement",
        "level",
        "method",
        "parent_span",
        "path",
        "query",
        "request_id",
        "sent",
        "stage",
        "started",
        "status",
        "timestamp",
        "traceparent",
        "upstream",
        "upstream_status",
    )

    def __init__(
        self,
        method: bytes,
        path: bytes,
        client_ip: str,
        started: float,
        timestamp: float,
        query: bytes = b"",
        request_id: bytes = b"",
        traceparent: bytes = b"",
    ) -> None:
        self.method = method
        self.path = path
        self.client_ip = client_ip
        self.started = started
        self.timestamp = timestamp
        self.query = query
        self.request_id = request_id
        self.traceparent = traceparent
        self.parent_span = b""
        self.judgement: Judgement | None = None
        self.sent = self.answered = self.ended = 0.0
        self.status = self.upstream_status = self.attempts = self.bytes_in = self.bytes_out = self.level = 0
        self.configuration_version = 0
        self.upstream = self.stage = self.code = ""
        self.failed_attempts: list[FailedAttempt] | None = None

    @property
    def principal(self) -> Principal | None:
        """Who it was from, where that was asked and known."""
        return None if self.judgement is None else self.judgement.principal

    @property
    def destination(self) -> Destination | None:
        """The route that took it, if there was one."""
        return None if self.judgement is None else self.judgement.destination

    def note_attempt(self, fault: str, verdict: str, target: str, now: float) -> None:
        """One attempt failed like this at `now` (monotonic), and was repeated or not for that reason."""
        if self.failed_attempts is None:
            self.failed_attempts = []
        self.failed_attempts.append((fault, verdict, target, now))


class SimulatedExchange(Exchange):
    """One that an operator has made up, though it went the way of traffic. An exchange may become one."""

    __slots__ = ()

    simulated = True
