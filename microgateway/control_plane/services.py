"""/api/services: the upstreams, and how they are doing."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Response
from pydantic import BaseModel, model_validator

from microgateway.control_plane.dependencies import ControlPlane, EntityId, Filter, Here, Listing, WhichPart
from microgateway.control_plane.kept_fields import without_kept_fields
from microgateway.control_plane.problems import documented
from microgateway.control_plane.service_health import Health, Status
from microgateway.entities import Service, ServiceSpec

router = APIRouter(prefix="/api/services", tags=["services"])


class TargetHealthAnswer(BaseModel):
    """`/api/health/services` says more."""

    url: str
    status: Status


class ServiceAnswer(Service):
    """A service, with what the gateway has seen of it. `error_rate` is between 0 and 1."""

    health: Health
    target_health: list[TargetHealthAnswer]
    circuit: Literal["closed", "open", "half_open"]
    total_requests: int
    total_errors: int
    error_rate: float

    @classmethod
    def of(cls, service: Service, here: ControlPlane) -> "ServiceAnswer":
        live, now = here.live, here.clock.now()
        usage = live.usage.of_service(service.id)
        upstream = here.configuration.snapshot.upstreams.get(service.id)
        group = None if upstream is None else live.targets.of(upstream)
        members = [] if group is None else group.members.values()
        return cls(
            **service.model_dump(),
            health="unknown" if group is None else group.health(now),
            target_health=[
                TargetHealthAnswer(url=member.name, status=member.health.status(now).value) for member in members
            ],
            circuit=live.circuits.state_of(service.id).value,
            total_requests=usage.total_requests,
            total_errors=usage.total_errors,
            error_rate=usage.error_rate,
        )


class ServiceReplacement(ServiceSpec):
    """What PUT takes. A service as GET answers it may be sent back: what the gateway keeps itself is passed over."""

    @model_validator(mode="before")
    @classmethod
    def pass_over_kept_fields(cls, body: object) -> object:
        return without_kept_fields(body, ServiceAnswer, ServiceSpec)


@router.get("")
async def list_services(here: Here, part: WhichPart, name: Filter = None) -> Listing[ServiceAnswer]:
    """The oldest first, with what the gateway has seen of each."""
    page = await here.repository.services.list(limit=part.limit, offset=part.offset, name=name)
    return Listing(items=[ServiceAnswer.of(service, here) for service in page.items], total=page.total)


@router.post("", status_code=201, responses=documented(409))
async def create_service(here: Here, spec: ServiceSpec, response: Response) -> ServiceAnswer:
    """409 where another one has the name."""
    service = await here.configuration.create_service(spec)
    response.headers["Location"] = f"{router.prefix}/{service.id}"
    return ServiceAnswer.of(service, here)


@router.get("/{service_id}", responses=documented(404))
async def get_service(here: Here, service_id: EntityId) -> ServiceAnswer:
    return ServiceAnswer.of(await here.repository.services.get(service_id), here)


@router.put("/{service_id}", responses=documented(404, 409))
async def replace_service(here: Here, service_id: EntityId, spec: ServiceReplacement) -> ServiceAnswer:
    return ServiceAnswer.of(await here.configuration.replace_service(service_id, spec), here)


@router.patch("/{service_id}", responses=documented(404, 409))
async def merge_service(here: Here, service_id: EntityId, patch: Annotated[dict[str, Any], Body()]) -> ServiceAnswer:
    """A JSON merge patch (RFC 7396): what is left out stays, null brings a field's default back."""
    return ServiceAnswer.of(await here.configuration.merge_service(service_id, patch), here)


@router.delete("/{service_id}", status_code=204, responses=documented(404, 409))
async def delete_service(here: Here, service_id: EntityId) -> None:
    """409 while routes use it."""
    await here.configuration.delete_service(service_id)
    here.live.usage.keep_services(here.configuration.services.keys())
