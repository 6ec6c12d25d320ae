"""Many requests at once, as an operator describes them, and what came of them: `/api/gateway/batch`."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from microgateway.control_plane.gateway_requests import GatewayRequest, UpstreamScript

MOST_LISTED = 1_000
MOST_VIRTUAL = 1_000_000
MOST_REAL = 60_000
LONGEST_VIRTUAL = 86_400.0  # seconds
LONGEST_REAL = 600.0

Kind = Literal["services", "routes", "keys", "rate_limits"]
Patches = dict[str, dict[str, Any] | None]
_NAMED_BY = {"services": "name", "routes": "path", "keys": "name", "rate_limits": "name"}

Seconds = Annotated[float, Field(ge=0, le=LONGEST_VIRTUAL, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)]
Patience = Annotated[
    float,
    Field(ge=0, le=10, description="So long the answer waits for the end; then it is 202, with an id."),
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Arrivals(_Part):
    """When requests come, for so many `seconds`.

    `constant` and `poisson` come `per_second`; a `ramp` goes from there to `to_per_second`; `bursts` are of
    `burst_size` at once, every `every_seconds`. With `count` it ends after so many.
    """

    kind: Literal["constant", "poisson", "ramp", "bursts"] = "constant"
    seconds: Annotated[float, Field(gt=0, le=LONGEST_VIRTUAL, allow_inf_nan=False)] = 60.0
    per_second: Rate = 10.0
    to_per_second: Rate | None = None
    burst_size: Annotated[int, Field(ge=1, le=100_000)] = 10
    every_seconds: Annotated[float, Field(gt=0, le=LONGEST_VIRTUAL, allow_inf_nan=False)] = 1.0
    count: Annotated[int, Field(ge=1, le=MOST_VIRTUAL)] | None = None

    def most(self) -> float:
        """More requests than this won't come."""
        if self.kind == "bursts":
            expected = (self.seconds / self.every_seconds + 1) * self.burst_size
        else:
            expected = self.seconds * max(self.per_second, (self.to_per_second or 0) if self.kind == "ramp" else 0)
        return expected if self.count is None else min(expected, self.count)


class ProposedConfiguration(_Part):
    """Another configuration than the one in force: what is to change of it, by id, or by a name that is the only one.

    Each is a merge patch (RFC 7396); null takes it away; an unknown name makes a new one. A route's name is its path.
    Of a kind in `whole` all is named: what is not is gone, a key switched off. In place of an object a kind may be a
    list, as in a seed file; then it is whole, and what a list names by `service`, `services` and `route` is meant.
    """

    services: Patches = {}
    routes: Patches = {}
    keys: Patches = {}
    rate_limits: Patches = {}
    whole: list[Kind] = []

    @model_validator(mode="before")
    @classmethod
    def read_lists(cls, document: object) -> object:
        """Lists as objects, by name."""
        if not isinstance(document, dict):
            return document
        lists = {kind: entries for kind in _NAMED_BY if isinstance(entries := document.get(kind), list)}
        read = {kind: _by_name(entries, _NAMED_BY[kind]) for kind, entries in lists.items()}
        return {**document, **read, "whole": [*document.get("whole", ()), *lists]} if lists else document


def _by_name(entries: list[Any], name: str) -> dict[str, Any]:
    """Each entry by its name; of several with the same, as routes of one path may be, each is a new one."""
    found: dict[str, Any] = {}
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get(name), str):
            raise ValueError(f"entry {number} of a list has no {name}")
        alone = sum(isinstance(other, dict) and other.get(name) == entry[name] for other in entries) == 1
        found[entry[name] if alone else f"{entry[name]} ({number})"] = entry
    return found


class BatchRequest(_Part):
    """`requests` come in turn, again and again, as `arrivals` says; without arrivals each once, all at the same moment.

    `state`: where buckets and circuits begin: `fresh`, or as a `copy` of the present ones; or they are those of
    `traffic`, which is for the real clock. `concurrency` is how many may be under way at once; others wait.
    """

    requests: Annotated[list[GatewayRequest], Field(min_length=1, max_length=MOST_LISTED)]
    arrivals: Arrivals | None = None
    clock: Literal["virtual", "real"] = "virtual"
    state: Literal["fresh", "copy", "traffic"] = "fresh"
    concurrency: Annotated[int, Field(ge=1, le=10_000)] | None = None
    upstream: UpstreamScript = UpstreamScript()
    services: dict[str, UpstreamScript] = Field(
        {}, max_length=1_000, description="By id or name, instead of `upstream`."
    )
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    configuration: ProposedConfiguration | None = None
    wait_seconds: Patience = 1.0

    @model_validator(mode="after")
    def refuse_too_much(self) -> Self:
        most = float(len(self.requests)) if self.arrivals is None else self.arrivals.most()
        bound = MOST_REAL if self.clock == "real" else MOST_VIRTUAL
        if most > bound:
            raise ValueError(f"that would be {most:.0f} requests, and on the {self.clock} clock {bound} are the most")
        if self.clock == "real" and self.arrivals is not None and self.arrivals.seconds > LONGEST_REAL:
            raise ValueError(f"on the real clock {LONGEST_REAL:g} seconds are the longest")
        if self.state == "traffic" and (self.clock != "real" or self.configuration is not None):
            raise ValueError("the state of traffic is for the real clock and the configuration in force")
        return self


class Counted(BaseModel):
    """How often something came. `code` null: the service's own answer."""

    status: int
    stage: str
    code: str | None
    requests: int


class Group(BaseModel):
    """The requests of one key, or to one service; `answered` went to the service."""

    id: str
    name: str
    requests: int
    answered: int
    limited: int
    errors: int


class Percentiles(BaseModel):
    """Milliseconds from a request's head to the end of its answer, within 1.6 %."""

    p50: float
    p95: float
    p99: float
    mean: float
    longest: float


class Happening(BaseModel):
    """At so many seconds from the beginning: a circuit or a target changed, or an answer came for the first time."""

    at: float
    what: Literal["circuit", "target", "first"]
    name: str
    before: str | None
    after: str
    reason: str


class TokenSeries(BaseModel):
    """What one bucket held over time: `[seconds, tokens]`."""

    limit: str
    subject: str
    tokens: list[tuple[float, float]]


class OutcomeSlot(BaseModel):
    """How many requests ended how in the slot that begins `at` so many seconds."""

    at: float
    outcomes: dict[str, int]


class BatchAnswer(BaseModel):
    """What came of it. `seconds` is how long it was in its own time, and `took_seconds` how long that took here.

    `history` has no gaps; each of its slots is `slot_seconds` long.
    """

    clock: Literal["virtual", "real"]
    state: Literal["fresh", "copy", "traffic"]
    configuration_version: int
    requests: int
    admitted: int
    retries: int
    seconds: float
    took_seconds: float
    counts: list[Counted]
    latency_ms: Percentiles
    timeline: list[Happening]
    slot_seconds: float
    history: list[OutcomeSlot]
    tokens: list[TokenSeries]
    keys: list[Group]
    services: list[Group]
    is_complete: bool = Field(description="Otherwise it was cancelled, and this is what came until then.")
