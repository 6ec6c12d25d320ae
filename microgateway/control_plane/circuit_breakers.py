"""/api/circuit-breakers: which services are trusted at the moment, and a way to trust one again at once."""

from itertools import islice
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from microgateway.control_plane.dependencies import ControlPlane, EntityId, Here, Listing, WhichPart
from microgateway.control_plane.problems import documented
from microgateway.entities import Service

router = APIRouter(prefix="/api/circuit-breakers", tags=["circuit breakers"])


class CircuitAnswer(BaseModel):
    """A service's circuit. `id` and `name` are the service's; times are seconds."""

    id: str
    name: str
    state: Literal["closed", "open", "half_open"]
    failures: int
    trips: int
    retry_after_seconds: float
    failure_threshold: int
    recovery_timeout: float
    half_open_max_calls: int

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
            failure_threshold=policy.failure_threshold,
            recovery_timeout=policy.recovery_timeout,
            half_open_max_calls=policy.half_open_max_calls,
        )


@router.get("")
async def list_circuit_breakers(here: Here, part: WhichPart) -> Listing[CircuitAnswer]:
    """One for each service, in the order of the services."""
    services = here.configuration.services
    shown = islice(services.values(), part.offset, part.offset + part.limit)
    return Listing(items=[CircuitAnswer.of(service, here) for service in shown], total=len(services))


@router.post("/{service_id}/reset", responses=documented(404))
async def reset_circuit_breaker(here: Here, service_id: EntityId) -> CircuitAnswer:
    """Closes it, whatever it knows of the service."""
    service = here.configuration.service(service_id)
    here.live.circuits.reset(service_id, here.clock.now())
    return CircuitAnswer.of(service, here)
