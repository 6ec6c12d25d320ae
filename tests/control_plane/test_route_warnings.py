"""Saving a route tells what is odd about it, and is done all the same."""

from typing import Any

from microgateway.core.field_sections import read_section, request_fields
from microgateway.core.requests import read_request
from microgateway.core.routing import NotRouted
from tests.control_plane.control import Control


def taker(control: Control, example: dict[str, Any]) -> str:
    """Who takes the request that a warning shows, asked of what is in force, as the proxy port reads it."""
    lines = [f"Host: {example['host']}", *(f"{name}: {value}" for name, value in example["headers"].items())]
    section = read_section([line.encode() for line in lines], request_fields(), {})
    query = f"?{example['query']}" if example["query"] else ""
    head = read_request(f"{example['method']} {example['path']}{query} HTTP/1.1".encode(), section)
    match = control.configuration.snapshot.match(head.method, head.host, head.path, head)
    assert not isinstance(match, NotRouted)
    return match.id


async def test_a_route_that_nothing_reaches_is_told_with_a_request(control: Control) -> None:
    service = (await control.service())["id"]
    first = await control.route(service, "/a")
    assert first["warnings"] == []
    second = await control.route(service, "/a", headers=[{"name": "X-Team", "pattern": "r*"}], priority=-1)
    (warning,) = second["warnings"]
    assert (warning["code"], warning["route_id"], warning["other_id"]) == ("unreachable", second["id"], first["id"])
    assert warning["example"]["headers"]["x-team"].startswith("r")
    assert taker(control, warning["example"]) == first["id"]
    assert (await control.get(f"/api/routes/{second['id']}"))["warnings"] == [warning]
    assert await control.get("/api/routes/warnings") == {"items": [warning], "total": 1}


async def test_a_route_that_hides_others_is_told_too(control: Control) -> None:
    service = (await control.service())["id"]
    below = [await control.route(service, path, cors={"allow_origins": ["*"]}) for path in ("/a/b", "/a/{id}")]
    above = await control.route(service, "/a", priority=1)
    assert {(one["code"], one["route_id"]) for one in above["warnings"]} == {("hides", above["id"])}
    assert {one["other_id"] for one in above["warnings"]} == {route["id"] for route in below}
    assert {taker(control, one["example"]) for one in above["warnings"]} == {above["id"]}


async def test_a_warning_goes_with_its_cause(control: Control) -> None:
    service = (await control.service())["id"]
    first, second = await control.route(service, "/a"), await control.route(service, "/a")
    assert len(second["warnings"]) == 1
    off = await control.patch(f"/api/routes/{first['id']}", {"enabled": False})
    assert off["warnings"] == [], "a route that is off takes nothing from anybody"
    assert (await control.get(f"/api/routes/{second['id']}"))["warnings"] == []
    on = await control.put(f"/api/routes/{first['id']}", {**off, "enabled": True})
    assert [one["code"] for one in on["warnings"]] == ["hides"]
