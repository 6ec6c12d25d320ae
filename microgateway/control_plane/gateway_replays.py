"""The log of a period under another configuration: `/api/gateway/replay`."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from microgateway.control_plane.gateway_batches import BatchAnswer, Patience, ProposedConfiguration
from microgateway.control_plane.gateway_requests import GatewayAnswer

Against = Literal["served", "in_force"]


class ReplayRequest(BaseModel):
    """From `since` to `until` (left out: now), by ISO 8601, seconds since the epoch, or so long ago: `24h`.

    Buckets begin full and circuits closed, `warm_up_seconds` before. `configuration` is a change to that in force,
    under which all are judged; or, `against` `served`, to the version that served each request.
    """

    model_config = ConfigDict(extra="forbid")

    since: Annotated[str, Field(min_length=1, max_length=64)] = "24h"
    until: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    warm_up_seconds: Annotated[float, Field(ge=0, le=86_400)] = 600.0
    configuration: ProposedConfiguration | None = None
    against: Against = "in_force"
    wait_seconds: Patience = 1.0


class ReplayExample(BaseModel):
    """A row of the log: its `status` is what the client got."""

    id: int
    timestamp: float
    method: str
    path: str
    status: int


class Changed(BaseModel):
    """Requests that come out otherwise, and alike.

    `before` and `after` are `forwarded`, `preflight`, or the code of the gateway's answer; `limit` is who would refuse.
    """

    before: str
    after: str
    key_id: str | None
    key: str | None
    route: str | None
    route_after: str | None
    limit: str | None
    requests: int
    first_at: float
    last_at: float
    examples: list[ReplayExample]


class KeyChange(BaseModel):
    """One key's requests, and how many of them are refused by limits; the first that was not before, at `first_at`."""

    id: str
    name: str
    requests: int
    limited_before: int
    limited_after: int
    first_at: float | None


class Unknown(BaseModel):
    """What the log does not say, and of how many requests, or rules, that is so."""

    requests: int
    what: str


class ServedVersion(BaseModel):
    """A version of the configuration, and how many rows it has served; `version` null: rows that name none."""

    version: int | None
    rows: int
    is_kept: bool


class ReplayAnswer(BaseModel):
    """What would change. Times are seconds since the epoch; the largest groups come first."""

    against: Against

    since: float
    until: float
    rows: int
    warm_up_rows: int
    changed: int
    changes: list[Changed]
    keys: list[KeyChange]
    unknown: list[Unknown]
    versions: list[ServedVersion]
    took_seconds: float
    is_complete: bool


class JobAnswer(BaseModel):
    """Something that takes a while. `progress` is a share; `result` is there once it is `done`."""

    id: str
    kind: Literal["batch", "replay"]
    state: Literal["running", "done", "cancelled", "failed"]
    progress: float
    error: str | None
    result: BatchAnswer | ReplayAnswer | None


class RowExplanation(BaseModel):
    """A request of the log, as it was, and what would become of it now. `assumed`: what the log does not say.

    `is_served`: whether it is judged under the version that served it.
    """

    is_served: bool
    row: dict[str, Any]
    answer: GatewayAnswer
    assumed: list[str]
