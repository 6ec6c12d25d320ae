"""What an endpoint may ask for: the parts of the control plane, an id, and a span of a list."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Generic, Literal, TypeVar

from fastapi import Depends, Path, Query, Request
from pydantic import BaseModel

from microgateway.clock import Clock
from microgateway.control_plane.configuration import Configuration
from microgateway.control_plane.failed_attempts import FailedAttempts
from microgateway.control_plane.jobs import Jobs
from microgateway.control_plane.live_view import Live
from microgateway.control_plane.sessions import Sessions
from microgateway.observability.log_book import LogBook
from microgateway.persistence.repository import Repository
from microgateway.tokens.verifying import Verifier

T = TypeVar("T")
LONGEST_LIST = 1_000
LARGEST_OFFSET = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ProxyAddress:
    """How clients speak to the proxy port, at whatever host they reach it."""

    scheme: Literal["http", "https"]
    port: int


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """All that the endpoints work with. `readiness` says why no traffic should be sent here, or None.

    `verifier` judges tokens as the proxy port does.
    """

    configuration: Configuration
    live: Live
    log: LogBook
    clock: Clock
    started_at: float
    readiness: Callable[[], str | None]
    verifier: Verifier
    sessions: Sessions
    proxy: Callable[[], "ProxyAddress | None"]
    jobs: Jobs = field(default_factory=Jobs)
    failed_attempts: FailedAttempts = field(default_factory=FailedAttempts)
    failed_sign_ins: FailedAttempts = field(default_factory=FailedAttempts)

    @property
    def repository(self) -> Repository:
        return self.configuration.repository


class Listing(BaseModel, Generic[T]):
    """A part of a list, and how long the whole list is."""

    items: list[T]
    total: int


@dataclass(frozen=True, slots=True)
class Span:
    """Which part of a list is asked for."""

    limit: Annotated[int, Query(ge=1, le=LONGEST_LIST)] = LONGEST_LIST
    offset: Annotated[int, Query(ge=0, le=LARGEST_OFFSET)] = 0


def _control_plane(request: Request) -> ControlPlane:
    plane: ControlPlane = request.app.state.control_plane
    return plane


Here = Annotated[ControlPlane, Depends(_control_plane)]
WhichPart = Annotated[Span, Depends()]
EntityId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Filter = Annotated[str | None, Query(max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$", description="Equal to this.")]
