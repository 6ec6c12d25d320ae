"""A route's parts by the API: kept as they were given, changed in part, and refused by the name of the field."""

import json
import sqlite3
from pathlib import Path
from typing import Any

from microgateway.persistence.database import Database, locate_database
from microgateway.persistence.repository import Repository
from microgateway.snapshot import CompiledRoute
from tests.control_plane.control import Control, running_control

EVERYTHING: dict[str, Any] = {
    "headers": [
        {"name": "X-Version", "pattern": "2.*"},
        {"name": "x-beta", "present": False},
        {"name": "Accept", "value": "a"},
    ],
    "query": [{"name": "debug", "value": " 1"}, {"name": "Q"}],
    "rewrite": "/v2/{id}/{rest}",
    "request_headers": {"set": {"X-Team": "red"}, "add": {"X-Tag": ""}, "remove": ["Cookie"]},
    "response_headers": {"set": {"Server": "none"}, "add": {}, "remove": ["X-Powered-By"]},
    "cors": {"allow_origins": ["HTTPS://App.Example:443", "https://*.team.example"], "allow_methods": ["get"]},
    "max_body_bytes": 1_000,
    "allow_addresses": ["10.0.0.0/8", "2001:DB8::1"],
    "deny_addresses": ["10.1.0.0/16"],
}


async def test_what_is_sent_is_kept_in_one_form(control: Control) -> None:
    service = await control.service()
    created = await control.route(service["id"], "/users/{id}/*", **EVERYTHING)
    assert [condition["name"] for condition in created["headers"]] == ["x-version", "x-beta", "accept"]
    assert created["query"][0] == {"name": "debug", "value": " 1", "present": True}
    assert created["cors"]["allow_origins"] == ["https://app.example", "https://*.team.example"]
    assert created["cors"]["allow_methods"] == ["GET"]
    assert created["allow_addresses"] == ["10.0.0.0/8", "2001:db8::1/128"]
    assert await control.get(f"/api/routes/{created['id']}") == created
    sent_back = await control.put(f"/api/routes/{created['id']}", created)
    assert {**sent_back, "updated_at": ""} == {**created, "updated_at": ""}


async def test_all_of_it_is_in_force_after_a_restart(tmp_path: Path) -> None:
    async with running_control(tmp_path) as first:
        service = await first.service()
        created = await first.route(service["id"], "/users/{id}/*", **EVERYTHING)
    async with running_control(tmp_path) as second:
        assert await second.get(f"/api/routes/{created['id']}") == created
        rules = second.configuration.snapshot.routes.candidates(b"/users/7/a")
    preflight, route = sorted(rules, key=lambda rule: rule.cors is not None)
    assert isinstance(route, CompiledRoute)
    assert (route.max_body, preflight.gate is not None) == (1_000, True)
    assert route.alteration is not None
    assert route.alteration.path(b"/users/7/a") == b"/v2/7/a"


async def test_a_patch_reaches_into_the_parts(control: Control) -> None:
    service = await control.service()
    route = await control.route(service["id"], "/users/{id}/*", **EVERYTHING)
    changes = {"request_headers": {"set": {"X-Team": None, "X-New": "1"}}, "cors": {"max_age_seconds": 5}}
    patched = await control.patch(f"/api/routes/{route['id']}", changes)
    assert patched["request_headers"] == {"set": {"X-New": "1"}, "add": {"X-Tag": ""}, "remove": ["Cookie"]}
    assert patched["cors"] == {**route["cors"], "max_age_seconds": 5}
    cleared = await control.patch(f"/api/routes/{route['id']}", dict.fromkeys(EVERYTHING))
    assert (cleared["headers"], cleared["cors"], cleared["rewrite"]) == ([], None, None)
    refused = await control.patch(f"/api/routes/{route['id']}", {"path": "/users", "rewrite": "/{id}"}, 422)
    assert [error["field"] for error in refused["errors"]] == ["rewrite"]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"headers": [{"name": "X-A", "value": "1", "pattern": "2"}]}, "headers.0"),
    ({"headers": [{"name": "X-A", "value": "1", "present": False}]}, "headers.0"),
    ({"headers": [{"name": "X-A"}, {"name": "x-a"}]}, "headers"),
    ({"headers": [{"name": "X A"}]}, "headers.0.name"),
    ({"headers": [{"name": "Authorization"}]}, "headers.0.name"),
    ({"headers": [{"name": "X-Forwarded-For"}]}, "headers.0.name"),
    ({"headers": [{"name": "X-A", "value": "a\nb"}]}, "headers.0.value"),
    ({"headers": [{"name": "X-A", "pattern": ""}]}, "headers.0.pattern"),
    ({"headers": [{"name": f"X-{number}"} for number in range(17)]}, "headers"),
    ({"headers": [{"name": "X-A", "regex": ".*"}]}, "headers.0.regex"),
    ({"query": [{"name": ""}]}, "query.0.name"),
    ({"query": [{"name": "a"}, {"name": "a", "value": "1"}]}, "query"),
    ({"query": [{"name": "a", "value": "1", "present": False}]}, "query.0"),
    ({"rewrite": "/{other}"}, "rewrite"),
    ({"rewrite": "/a", "strip_prefix": True}, "rewrite"),
    ({"rewrite": "/../a"}, "rewrite"),
    ({"request_headers": {"set": {"Host": "a"}}}, "request_headers.set"),
    ({"request_headers": {"add": {"X-Forwarded-For": "a"}}}, "request_headers.add"),
    ({"request_headers": {"remove": ["Content-Length"]}}, "request_headers.remove"),
    ({"request_headers": {"set": {"X-A": "1\r\nX-B: 2"}}}, "request_headers.set"),
    ({"request_headers": {"set": {"X-A": "1", "x-a": "2"}}}, "request_headers.set"),
    ({"request_headers": {"replace": {}}}, "request_headers.replace"),
    ({"response_headers": {"set": {"Transfer-Encoding": "chunked"}}}, "response_headers.set"),
    ({"response_headers": {"set": {"RateLimit": "1"}}}, "response_headers.set"),
    ({"cors": {}}, "cors.allow_origins"),
    ({"cors": {"allow_origins": []}}, "cors.allow_origins"),
    ({"cors": {"allow_origins": ["app.example"]}}, "cors.allow_origins.0"),
    ({"cors": {"allow_origins": ["*"], "allow_credentials": True}}, "cors.allow_credentials"),
    ({"cors": {"allow_origins": ["https://a.example"], "allow_headers": ["*"], "allow_credentials": True}},
     "cors.allow_credentials"),
    ({"cors": {"allow_origins": ["*"], "allow_methods": ["G T"]}}, "cors.allow_methods.0"),
    ({"cors": {"allow_origins": ["*"], "max_age_seconds": -1}}, "cors.max_age_seconds"),
    ({"cors": {"allow_origins": ["*"]}, "response_headers": {"set": {"Access-Control-Max-Age": "1"}}}, "cors"),
    ({"max_body_bytes": -1}, "max_body_bytes"),
    ({"allow_addresses": ["10.0.0.1/8"]}, "allow_addresses.0"),
    ({"allow_addresses": ["a.example"]}, "allow_addresses.0"),
    ({"deny_addresses": ["10.0.0.0/33"]}, "deny_addresses.0"),
]  # fmt: skip


async def test_a_part_that_makes_no_sense_is_refused_by_name(control: Control) -> None:
    service = await control.service()
    for fields, field in REFUSED:
        refused = await control.post("/api/routes", {"path": "/users/{id}", "service_id": service["id"], **fields}, 422)
        assert [error["field"] for error in refused["errors"]] == [field], fields
        assert all(error["message"] and "Value error" not in error["message"] for error in refused["errors"])
    assert (await control.get("/api/routes"))["total"] == 0


async def test_a_route_of_an_earlier_version_has_none_of_it(tmp_path: Path) -> None:
    """As a migrated table has it: the columns are there, with what the database filled in."""
    async with running_control(tmp_path) as control:
        service = await control.service()
        route = await control.route(service["id"], **EVERYTHING | {"rewrite": None})
    with sqlite3.connect(tmp_path / "microgateway.db") as raw:
        columns = {row[1]: row[4] for row in raw.execute("PRAGMA table_info(routes)")}
        for name in EVERYTHING:
            default = json.dumps(columns[name].strip("'")).strip('"') if columns[name] else None
            raw.execute(f"UPDATE routes SET {name} = ?", [default])
    raw.close()
    database = Database(locate_database(None, tmp_path))
    await database.open()
    kept = await Repository(database).routes.get(route["id"])
    await database.close()
    assert (kept.headers, kept.query, kept.cors, kept.rewrite, kept.max_body_bytes) == ([], [], None, None, None)
    assert kept.request_headers.names() == kept.response_headers.names() == frozenset()
    assert kept.allow_addresses == kept.deny_addresses == []
