"""/api/rate-limits: limits besides the keys' own, and what they have said."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response
from pydantic import model_validator

from microgateway.control_plane.dependencies import EntityId, Filter, Here, Listing, WhichPart
from microgateway.control_plane.kept_fields import without_kept_fields
from microgateway.control_plane.live_view import Live
from microgateway.control_plane.problems import documented
from microgateway.entities import RateLimitRule, RateLimitRuleSpec

router = APIRouter(prefix="/api/rate-limits", tags=["rate limits"])


class RateLimitAnswer(RateLimitRule):
    """A rule, with what it has said since the gateway started.

    `admitted` counts requests that it gave a token, `refused` those that it refused, `shadowed` those that it would
    have refused. `subjects` are those that have a bucket now; `overflowed` counts requests that had to share one.
    """

    admitted: int
    refused: int
    shadowed: int
    subjects: int
    overflowed: int

    @classmethod
    def of(cls, rule: RateLimitRule, live: Live) -> "RateLimitAnswer":
        room = live.limiter.room(rule.id)
        return cls(
            **rule.model_dump(),
            admitted=room.admitted,
            refused=room.refused,
            shadowed=room.shadowed,
            subjects=room.subjects,
            overflowed=room.overflowed,
        )


class RateLimitReplacement(RateLimitRuleSpec):
    """What PUT takes. A rule as GET answers it may be sent back: what the gateway keeps itself is passed over."""

    @model_validator(mode="before")
    @classmethod
    def pass_over_kept_fields(cls, body: object) -> object:
        return without_kept_fields(body, RateLimitAnswer, RateLimitRuleSpec)


@router.get("")
async def list_rate_limits(
    here: Here, part: WhichPart, name: Filter = None, route_id: Filter = None, service_id: Filter = None
) -> Listing[RateLimitAnswer]:
    """The oldest first, those that are off too."""
    filters = {"name": name, "route_id": route_id, "service_id": service_id}
    page = await here.repository.rate_limits.list(limit=part.limit, offset=part.offset, **filters)
    return Listing(items=[RateLimitAnswer.of(rule, here.live) for rule in page.items], total=page.total)


@router.post("", status_code=201)
async def create_rate_limit(here: Here, spec: RateLimitRuleSpec, response: Response) -> RateLimitAnswer:
    """It is in force when this answers; its buckets begin full."""
    rule = await here.configuration.create_rate_limit(spec)
    response.headers["Location"] = f"{router.prefix}/{rule.id}"
    return RateLimitAnswer.of(rule, here.live)


@router.get("/{rule_id}", responses=documented(404))
async def get_rate_limit(here: Here, rule_id: EntityId) -> RateLimitAnswer:
    return RateLimitAnswer.of(await here.repository.rate_limits.get(rule_id), here.live)


@router.put("/{rule_id}", responses=documented(404))
async def replace_rate_limit(here: Here, rule_id: EntityId, spec: RateLimitReplacement) -> RateLimitAnswer:
    """What its buckets have given stays given, whatever the new limit is."""
    return RateLimitAnswer.of(await here.configuration.replace_rate_limit(rule_id, spec), here.live)


@router.patch("/{rule_id}", responses=documented(404))
async def merge_rate_limit(here: Here, rule_id: EntityId, patch: Annotated[dict[str, Any], Body()]) -> RateLimitAnswer:
    """A JSON merge patch (RFC 7396): what is left out stays, null brings a field's default back."""
    return RateLimitAnswer.of(await here.configuration.merge_rate_limit(rule_id, patch), here.live)


@router.delete("/{rule_id}", status_code=204, responses=documented(404))
async def delete_rate_limit(here: Here, rule_id: EntityId) -> None:
    """Its buckets are forgotten."""
    await here.configuration.delete_rate_limit(rule_id)
