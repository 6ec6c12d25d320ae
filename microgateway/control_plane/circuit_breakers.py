"""/api/circuit-breakers: which services are trusted at the moment, why, and a way to trust one again at once.

There is no call to force a circuit open or to switch it off: that is configuration, the `mode` of the service's
`circuit_breaker`, so it survives a restart.
"""

from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from microgateway.clock import utc
from microgateway.control_plane.dependencies import ControlPlane, EntityId, Here, Listing, WhichPart
from microgateway.control_plane.problems import documented
from microgateway.core.circuit import CircuitPolicy
from microgateway.entities import Service
from microgateway.errors import ConflictError
from microgateway.exchange import Event

router = APIRouter(prefix="/api/circuit-breakers", tags=["circuit breakers"])
State = Literal["closed", "open", "half_open"]


class WindowAnswer(BaseModel):
    """What is in a rate's window now. Rates are between 0 and 1."""

    calls: int
    failures: int
    slow_calls: int
    failure_rate: float
    slow_call_rate: float


class TransitionAnswer(BaseModel):
    """`by` is empty where the circuit changed by itself."""

    before: str
    after: str
    at: datetime
    reason: str
    by: str

    @classmethod
    def of(cls, event: Event) -> "TransitionAnswer":
        return cls(before=event.before, after=event.after, at=utc(event.at), reason=event.reason, by=event.by)


class CircuitAnswer(BaseModel):
    """A service's circuit. `id` and `name` are the service's; times are seconds.

    `failures` are those in a row; `window` is there with `trip` `rate`. `history` has the latest transitions, the
    newest first.
    """

    id: str
    name: str
    state: State
    mode: Literal["auto", "forced_open", "disabled"]
    failures: int
    trips: int
    retry_after_seconds: float
    window: WindowAnswer | None
    trip: Literal["consecutive", "rate"]
    failure_threshold: int
    recovery_timeout: float
    half_open_max_calls: int
    window_seconds: float
    minimum_calls: int
    failure_rate: float
    failure_statuses: list[int | str]
    slow_call_seconds: float
    slow_call_rate: float
    history: list[TransitionAnswer]

    @classmethod
    def of(cls, service: Service, here: ControlPlane) -> "CircuitAnswer":
        policy = here.configuration.snapshot.upstreams[service.id].circuit
        circuit = here.live.circuits.snapshot().get(service.id)
        return cls(
            id=service.id,
            name=service.name,
            state="closed" if circuit is None else circuit.state.value,
            failures=0 if circuit is None else circuit.failures,
            trips=0 if circuit is None else circuit.trips,
            retry_after_seconds=0.0 if circuit is None else circuit.retry_after(here.clock.now()),
            window=_window(service.id, policy, here),
            history=[TransitionAnswer.of(event) for event in reversed(here.live.circuits.history_of(service.id))],
            failure_statuses=_in_ranges(sorted(policy.failure_statuses)),
            mode=policy.mode,
            trip=policy.trip,
            failure_threshold=policy.failure_threshold,
            recovery_timeout=policy.recovery_timeout,
            half_open_max_calls=policy.half_open_max_calls,
            window_seconds=policy.window_seconds,
            minimum_calls=policy.minimum_calls,
            failure_rate=policy.failure_rate,
            slow_call_seconds=policy.slow_call_seconds,
            slow_call_rate=policy.slow_call_rate,
        )


@router.get("")
async def list_circuit_breakers(here: Here, part: WhichPart) -> Listing[CircuitAnswer]:
    """One for each service, in the order of the services."""
    services = here.configuration.services
    shown = islice(services.values(), part.offset, part.offset + part.limit)
    return Listing(items=[CircuitAnswer.of(service, here) for service in shown], total=len(services))


@router.get("/{service_id}", responses=documented(404))
async def get_circuit_breaker(here: Here, service_id: EntityId) -> CircuitAnswer:
    return CircuitAnswer.of(here.configuration.service(service_id), here)


@router.post("/{service_id}/reset", responses=documented(404, 409))
async def reset_circuit_breaker(here: Here, service_id: EntityId) -> CircuitAnswer:
    """Closes it, whatever it knows of the service. 409 for one that is forced open or disabled: its mode decides."""
    service = here.configuration.service(service_id)
    mode = service.circuit_breaker.mode
    if mode != "auto":
        raise ConflictError(
            f"This circuit breaker is {mode.replace('_', ' ')}; set its mode to auto instead.",
            field="circuit_breaker.mode",
        )
    here.live.circuits.reset(service_id, here.clock.now())
    return CircuitAnswer.of(service, here)


def _window(service_id: str, policy: CircuitPolicy, here: ControlPlane) -> WindowAnswer | None:
    circuit = here.live.circuits.snapshot().get(service_id)
    if policy.trip != "rate":
        return None
    if circuit is None:
        return WindowAnswer(calls=0, failures=0, slow_calls=0, failure_rate=0.0, slow_call_rate=0.0)
    window = circuit.window
    window.forget(here.clock.now())
    return WindowAnswer(
        calls=window.calls,
        failures=window.failures,
        slow_calls=window.slow,
        failure_rate=window.failure_rate,
        slow_call_rate=window.slow_rate,
    )


def _in_ranges(statuses: Iterable[int]) -> list[int | str]:
    """Neighbours together: 500 to 599 is one entry."""
    ranges: list[tuple[int, int]] = []
    for status in statuses:
        if ranges and ranges[-1][1] == status - 1:
            ranges[-1] = (ranges[-1][0], status)
        else:
            ranges.append((status, status))
    return [first if first == last else f"{first}-{last}" for first, last in ranges]
