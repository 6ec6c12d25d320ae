"""Requests as an operator describes them, and what is told of them: the bodies of `/api/gateway`."""

import re
from ipaddress import ip_address
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

LONGEST_TARGET = 65_536
LARGEST_BODY = 1_048_576
MOST_FIELDS = 1_000
_BREAKS = re.compile(r"[\r\n]")

StageName = Literal["normalise", "guards", "authenticate", "rate_limit", "route", "circuit", "target", "attempt"]
StageVerdict = Literal["passed", "refused", "postponed", "skipped", "not_reached"]


def _one_line(text: str) -> str:
    """Of a text with a line break two requests could be made. What else is wrong with it, the gateway will say."""
    if _BREAKS.search(text):
        raise ValueError("a line break is not allowed here")
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError("this can't be written into a request's head; encode it, a path with %-escapes") from None
    return text


def _address(text: str) -> str:
    return str(ip_address(text))


Line = Annotated[str, Field(max_length=LONGEST_TARGET), AfterValidator(_one_line)]
Name = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_one_line)]
Share = Annotated[float, Field(ge=0, le=1)]
Milliseconds = Annotated[float, Field(ge=0, le=3_600_000)]


class Behaviour(BaseModel):
    """How a simulated service answers: after a while, or with an error, or not at all.

    `latency`: `constant` is `latency_ms`; `uniform` is from there up to `to_ms`; `exponential` has it for its mean; of
    a `lognormal` it is the median, and `sigma` how far it strays. Of all requests the shares that are hung (no answer
    ever), reset (the connection breaks instead) and answered with `error_status`; all others get 200.
    """

    model_config = ConfigDict(extra="forbid")

    latency: Literal["constant", "uniform", "exponential", "lognormal"] = "constant"
    latency_ms: Milliseconds = 5.0
    to_ms: Milliseconds = 0.0
    sigma: Annotated[float, Field(ge=0, le=5)] = 0.5
    error_rate: Share = 0.0
    error_status: Annotated[int, Field(ge=400, le=599)] = 500
    hang_rate: Share = 0.0
    reset_rate: Share = 0.0


class Phase(Behaviour):
    """How it answers for a while instead, from and to so many seconds after the beginning."""

    from_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    to_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class UpstreamScript(Behaviour):
    """A simulated service. Of phases that overlap the last one counts."""

    phases: Annotated[list[Phase], Field(max_length=1_000)] = []


class GatewayRequest(BaseModel):
    """One request, as it would come over a connection from `client_ip`."""

    model_config = ConfigDict(extra="forbid")

    method: Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_one_line)] = "GET"
    path: Annotated[str, Field(min_length=1, max_length=LONGEST_TARGET), AfterValidator(_one_line)]
    query: Line | None = Field(None, description="Without its question mark; a query in `path` goes before it.")
    host: Name | None = None
    headers: dict[Name, Line | list[Line]] = Field({}, max_length=MOST_FIELDS)
    body: Annotated[str, Field(max_length=LARGEST_BODY)] | None = None
    api_key: Line | None = Field(None, repr=False)
    token: Line | None = Field(None, repr=False)
    client_ip: Annotated[str, Field(max_length=64), AfterValidator(_address)] = "127.0.0.1"
    upstream: Literal["none", "simulated", "live"] = "none"
    script: UpstreamScript = Field(UpstreamScript(), description="How a `simulated` upstream answers.")
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0


class LimitReading(BaseModel):
    """One bucket. `rule_id` null is the key's own limit. Tokens are fractions; `next_token_seconds` null: it is full.

    `admitted` false of a rule that is not `enforced` hinders nobody.
    """

    rule_id: str | None
    name: str
    counted_as: str
    enforced: bool
    before_auth: bool
    requests_per_minute: int
    burst_size: int
    admitted: bool
    tokens_before: float
    tokens_after: float
    next_token_seconds: float | None
    retry_after_seconds: float


class RouteCandidate(BaseModel):
    """A route whose path takes the request; `failed` says why it was not chosen. `preflight`: it answers browsers."""

    route_id: str
    path: str
    match: Literal["prefix", "exact"]
    methods: list[str]
    hosts: list[str]
    priority: int
    service_id: str
    preflight: bool
    chosen: bool
    failed: list[str]


class CircuitReading(BaseModel):
    """A service's circuit as it stands. `failures` are those in a row; `retry_after_seconds` is 0 unless it is open."""

    service_id: str
    state: Literal["closed", "open", "half_open"]
    failures: int
    retry_after_seconds: float


HeaderLine = tuple[str, str]


class UpstreamRequest(BaseModel):
    """What the service would get, and what of it is not as the client sent it. `changed`: name, before, after."""

    method: str
    url: str
    headers: list[HeaderLine]
    added: list[HeaderLine]
    removed: list[HeaderLine]
    changed: list[tuple[str, str, str]]


class NormalisedRequest(BaseModel):
    """What the judgement is about: the path in its normal form, and whom the request is believed to come from."""

    method: str
    path: str
    query: str
    host: str
    client_ip: str


class Stage(BaseModel):
    """One step of the judgement. `took_us` is microseconds, null where it was not asked."""

    stage: StageName
    verdict: StageVerdict
    why: str
    code: str | None = None
    took_us: float | None = None
    request: NormalisedRequest | None = None
    limits: list[LimitReading] | None = None
    candidates: list[RouteCandidate] | None = None
    circuit: CircuitReading | None = None
    upstream_request: UpstreamRequest | None = None


class GatewayAnswer(BaseModel):
    """What a client would get. `status` null: the request would go to the service, whose answer nobody knows.

    `headers` are then those that the gateway adds to it. `stage` and `code` say who decided, and why.
    """

    upstream: Literal["none", "simulated", "live"]
    status: int | None
    headers: list[HeaderLine]
    body: str | None
    body_is_whole: bool = True
    latency_ms: float | None = None
    request_id: str | None = None
    stage: str
    code: str | None
    key_id: str | None
    route_id: str | None
    service_id: str | None
    configuration_version: int
    stages: list[Stage]
