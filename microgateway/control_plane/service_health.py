"""/api/health and /api/services/{id}/health-check: how services and their targets are, and a way to find out now."""

from datetime import datetime
from itertools import islice
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from microgateway.clock import utc
from microgateway.control_plane.dependencies import ControlPlane, EntityId, Here, Listing, WhichPart
from microgateway.control_plane.problems import documented
from microgateway.core.health import CheckResult
from microgateway.entities import Service
from microgateway.state.targets import Member

router = APIRouter(prefix="/api", tags=["health"])
Health = Literal["unknown", "healthy", "degraded", "unhealthy"]
Status = Literal["unknown", "healthy", "unhealthy", "ejected"]


class CheckAnswer(BaseModel):
    """One check. `status` is null where there was no answer."""

    at: datetime
    passed: bool
    status: int | None
    latency_ms: float
    detail: str

    @classmethod
    def of(cls, check: CheckResult) -> "CheckAnswer":
        return cls(
            at=utc(check.at),
            passed=check.passed,
            status=check.status,
            latency_ms=round(check.took * 1_000, 3),
            detail=check.detail,
        )


class TargetAnswer(BaseModel):
    """One target. `asked`: requests are sent there at the moment.

    `failures` are those of traffic, in a row, and `in_flight` requests under way; both are counted where there is a
    choice between targets. `average_latency_ms` is of the checks that are kept and passed.
    """

    url: str
    weight: int
    status: Status
    asked: bool
    in_flight: int
    failures: int
    ejected_for_seconds: float
    last_check: CheckAnswer | None
    average_latency_ms: float | None
    checks: list[CheckAnswer]

    @classmethod
    def of(cls, member: Member, now: float) -> "TargetAnswer":
        checks = [CheckAnswer.of(check) for check in reversed(member.checks)]
        average = member.average_seconds
        return cls(
            url=member.name,
            weight=member.weight,
            status=member.health.status(now).value,
            asked=member in member.group.asked(now),
            in_flight=member.in_flight,
            failures=member.health.failures,
            ejected_for_seconds=max(0.0, member.health.ejected_until - now),
            last_check=checks[0] if checks else None,
            average_latency_ms=None if average is None else round(average * 1_000, 3),
            checks=checks,
        )


class ServiceHealthAnswer(BaseModel):
    """A service, by its targets: `degraded` when some of them are unhealthy or ejected, `unhealthy` when all are."""

    id: str
    name: str
    enabled: bool
    health: Health
    targets: list[TargetAnswer]

    @classmethod
    def of(cls, service: Service, here: ControlPlane) -> "ServiceHealthAnswer":
        group = here.live.targets.of(here.configuration.snapshot.upstreams[service.id])
        now = here.clock.now()
        return cls(
            id=service.id,
            name=service.name,
            enabled=service.enabled,
            health=group.health(now),
            targets=[TargetAnswer.of(member, now) for member in group.members.values()],
        )


@router.post("/services/{service_id}/health-check", responses=documented(404))
async def check_service(here: Here, service_id: EntityId) -> ServiceHealthAnswer:
    """Asks all its targets now, in parallel, and answers when they have."""
    here.configuration.service(service_id)
    await here.live.checks.check(service_id)
    return ServiceHealthAnswer.of(here.configuration.service(service_id), here)


@router.get("/health/services")
async def list_health(here: Here, part: WhichPart) -> Listing[ServiceHealthAnswer]:
    """What is known of every service, in the order of the services."""
    return _listed(here, part.limit, part.offset)


@router.post("/health/check-all")
async def check_all(here: Here, part: WhichPart) -> Listing[ServiceHealthAnswer]:
    """Asks the targets of all services that are switched on, in parallel, and answers when they have."""
    await here.live.checks.check_all()
    return _listed(here, part.limit, part.offset)


def _listed(here: ControlPlane, limit: int, offset: int) -> Listing[ServiceHealthAnswer]:
    services = here.configuration.services
    shown = islice(services.values(), offset, offset + limit)
    return Listing(items=[ServiceHealthAnswer.of(service, here) for service in shown], total=len(services))
