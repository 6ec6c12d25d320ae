"""/api/routes: which requests go to which service."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Body, Response
from pydantic import AwareDatetime, model_validator

from microgateway.clock import utc
from microgateway.control_plane.dependencies import EntityId, Filter, Here, Listing, WhichPart
from microgateway.control_plane.kept_fields import without_kept_fields
from microgateway.control_plane.problems import documented
from microgateway.control_plane.route_warnings import RouteWarning, all_warnings, warnings_about
from microgateway.entities import Route, RouteSpec

router = APIRouter(prefix="/api/routes", tags=["routes"])


class ListedRoute(Route):
    """A route, and when a request last came to it, whatever became of the request; None: none has."""

    last_hit_at: AwareDatetime | None


class RouteAnswer(ListedRoute):
    """A route, and what is odd about it."""

    warnings: list[RouteWarning]


class RouteReplacement(RouteSpec):
    """What PUT takes. A route as GET answers it may be sent back: what the gateway keeps itself is passed over."""

    @model_validator(mode="before")
    @classmethod
    def pass_over_kept_fields(cls, body: object) -> object:
        return without_kept_fields(body, RouteAnswer, RouteSpec)


async def _answer(here: Here, route: Route) -> RouteAnswer:
    """In a thread, since a large table takes some hundredths of a second, and this loop may carry traffic too."""
    warnings = await asyncio.to_thread(warnings_about, here.configuration.snapshot.routes, route)
    here.live.monitoring.up_to_date()
    return RouteAnswer(**_listed_fields(here, route), warnings=warnings)


def _listed_fields(here: Here, route: Route) -> dict[str, Any]:
    last_hit = here.live.usage.last_hits.get(route.id)
    return {**route.model_dump(), "last_hit_at": None if last_hit is None else utc(last_hit)}


@router.get("")
async def list_routes(here: Here, part: WhichPart, service_id: Filter = None) -> Listing[ListedRoute]:
    """The oldest first: of two routes that match equally well, the older one wins."""
    here.live.monitoring.up_to_date()
    page = await here.repository.routes.list(limit=part.limit, offset=part.offset, service_id=service_id)
    return Listing(items=[ListedRoute(**_listed_fields(here, route)) for route in page.items], total=page.total)


@router.post("", status_code=201)
async def create_route(here: Here, spec: RouteSpec, response: Response) -> RouteAnswer:
    """`warnings` tells of requests that it takes from others, or others from it; the route is saved all the same."""
    route = await here.configuration.create_route(spec)
    response.headers["Location"] = f"{router.prefix}/{route.id}"
    return await _answer(here, route)


@router.get("/warnings")
async def list_warnings(here: Here) -> Listing[RouteWarning]:
    """Every route that no request can reach, with a request that shows it. Routes that are off don't count."""
    warnings = await asyncio.to_thread(all_warnings, here.configuration.snapshot.routes)
    return Listing(items=warnings, total=len(warnings))


@router.get("/{route_id}", responses=documented(404))
async def get_route(here: Here, route_id: EntityId) -> RouteAnswer:
    return await _answer(here, await here.repository.routes.get(route_id))


@router.put("/{route_id}", responses=documented(404))
async def replace_route(here: Here, route_id: EntityId, spec: RouteReplacement) -> RouteAnswer:
    return await _answer(here, await here.configuration.replace_route(route_id, spec))


@router.patch("/{route_id}", responses=documented(404))
async def merge_route(here: Here, route_id: EntityId, patch: Annotated[dict[str, Any], Body()]) -> RouteAnswer:
    """A JSON merge patch (RFC 7396): what is left out stays, null brings a field's default back."""
    return await _answer(here, await here.configuration.merge_route(route_id, patch))


@router.delete("/{route_id}", status_code=204, responses=documented(404))
async def delete_route(here: Here, route_id: EntityId) -> None:
    """409 while rate limit rules name it."""
    await here.configuration.delete_route(route_id)
    here.live.usage.forget_route(route_id)
