"""What is odd about a route though it may be saved: that nothing can reach it, or that it hides another one."""

from collections.abc import Iterator
from itertools import islice
from typing import Literal

from pydantic import BaseModel

from microgateway.core.routing import PathPattern, Router
from microgateway.core.shadowing import Example, Shadowed, Shadows
from microgateway.entities import Route
from microgateway.snapshot import CompiledRoute

MOST_WARNINGS = 20
MOST_COMPARED = 300  # routes that a saved one may hide
MOST_TRIED = 1_000  # requests, for one saved route
MOST_LISTED = 1_000


class RequestExample(BaseModel):
    """A request. `query` is without its question mark; a host that no route names stands for any."""

    method: str
    host: str
    path: str
    headers: dict[str, str]
    query: str

    @classmethod
    def of(cls, example: Example) -> "RequestExample":
        return cls(
            method=example.method.decode(),
            host=example.host.decode(),
            path=example.path.decode(),
            headers={name.decode(): value.decode() for name, value in example.headers.items()},
            query=example.query[1:].decode(),
        )


class RouteWarning(BaseModel):
    """`unreachable`: `route_id` gets no request at all, and `other_id` takes the example from it.

    `hides`: the other way round, `other_id` gets none, and `route_id` takes the example from it.
    """

    code: Literal["unreachable", "hides"]
    route_id: str
    other_id: str
    detail: str
    example: RequestExample


def warnings_about(routes: Router[CompiledRoute], route: Route) -> list[RouteWarning]:
    """Of one route of this table, the first few. One that is switched off is not in it, and has none."""
    pattern = PathPattern.parse(route.path, route.match)
    rules = [one for one in routes.rules_of(pattern) if one.target.id == route.id and not one.target.is_preflight]
    if not rules:
        return []
    shadows, (rule,) = Shadows(routes, most_tried=MOST_TRIED), rules
    own = shadows.of(rule)
    hidden = (_hides(rule.target, one) for one in shadows.cast_by(rule, MOST_COMPARED) if one.target.id != route.id)
    return [*([_unreachable(own)] if own else ()), *islice(hidden, MOST_WARNINGS)]


def all_warnings(routes: Router[CompiledRoute]) -> list[RouteWarning]:
    """Every route of this table that nothing reaches, the first thousand."""
    return list(islice(_all_unreachable(routes), MOST_LISTED))


def _all_unreachable(routes: Router[CompiledRoute]) -> Iterator[RouteWarning]:
    shadows = Shadows(routes)
    for rule in routes.rules():
        if not rule.target.is_preflight and (shadowed := shadows.of(rule)) is not None:
            yield _unreachable(shadowed)


def _unreachable(shadowed: Shadowed[CompiledRoute]) -> RouteWarning:
    example, taker = shadowed.examples[0]
    ids = dict.fromkeys(other.id for _, other in shadowed.examples)
    others = "another route takes" if len(ids) == 1 else f"{len(ids)} other routes together take"
    return RouteWarning(
        code="unreachable",
        route_id=shadowed.target.id,
        other_id=taker.id,
        detail=f"No request reaches this route: {others} all of its requests. The example goes to {taker.path!r}.",
        example=RequestExample.of(example),
    )


def _hides(destination: CompiledRoute, shadowed: Shadowed[CompiledRoute]) -> RouteWarning:
    example = next(example for example, taker in shadowed.examples if taker is destination)
    return RouteWarning(
        code="hides",
        route_id=destination.id,
        other_id=shadowed.target.id,
        detail=f"No request reaches the route {shadowed.target.path!r}: this one takes the example from it.",
        example=RequestExample.of(example),
    )
