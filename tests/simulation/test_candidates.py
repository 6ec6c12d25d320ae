"""Why a route does not take a request, in the words that an operator reads."""

from typing import Any

import pytest

from fuzzing.configuration import route, service
from microgateway.core.circuit import CircuitPolicy
from microgateway.core.field_sections import read_section, request_fields
from microgateway.core.requests import read_request
from microgateway.simulation.asked import Asked
from microgateway.simulation.candidates import RANK, candidates
from microgateway.snapshot import Snapshot

LAST = {"path": "/", "priority": -1}


def explained(fields: tuple[bytes, ...], *routes: dict[str, Any]) -> list[Any]:
    """For each candidate, the best first: whether it was chosen, and what failed."""
    made = [route(service_id="plain", **one) for one in routes]
    snapshot = Snapshot().with_table([service("plain")], made, CircuitPolicy())
    head = read_request(b"GET /a?q=1 HTTP/1.1", read_section(list(fields), request_fields(), {}))
    match = snapshot.routes.match(head.method, head.host, head.path, head)
    return [(one.chosen, one.failed) for one in candidates(snapshot.routes, head, match)]


@pytest.mark.parametrize(
    ("conditions", "failed"),
    [
        ({"methods": ["PUT", "POST"]}, ("method: GET is not PUT or POST",)),
        ({"hosts": ["b.example", "*.c.example"]}, ("host: a.example is not b.example or *.c.example",)),
        ({"headers": [{"name": "X-A", "value": "alpha"}]}, ("header x-a: it must be alpha, and it is 'beta'",)),
        ({"headers": [{"name": "X-A", "pattern": "a*c"}]}, ("header x-a: it must be like a*c, and it is 'beta'",)),
        ({"headers": [{"name": "X-B"}]}, ("header x-b: it must be there, and it is missing",)),
        (
            {"headers": [{"name": "X-A", "present": False}]},
            ("header x-a: it must not be there, and it is 'beta'",),
        ),
        ({"query": [{"name": "q", "value": "2"}]}, ("query parameter q: it must be 2",)),
        (
            {"methods": ["PUT"], "query": [{"name": "r"}], "headers": [{"name": "X-A", "value": "beta"}]},
            ("method: GET is not PUT", "query parameter r: it must be there"),
        ),
    ],
)
def test_what_fails_is_named(conditions: dict[str, Any], failed: tuple[str, ...]) -> None:
    first = {"path": "/a", **conditions}
    assert explained((b"Host: a.example", b"X-A: beta"), first, LAST) == [(False, failed), (True, ())]


def test_where_nothing_fails_another_one_comes_before() -> None:
    assert explained((b"Host: a.example",), {"path": "/a"}, LAST) == [(True, ()), (False, (RANK,))]


@pytest.mark.parametrize(
    ("asked", "lines"),
    [
        (Asked(), ["GET / HTTP/1.1", "Host: localhost"]),
        (Asked(host="a.example"), ["GET / HTTP/1.1", "Host: a.example"]),
        (Asked(fields=(("HOST", "b.example"),)), ["GET / HTTP/1.1", "HOST: b.example"]),
        (
            Asked(method="PUT", body=b"abc", api_key="k", token="t"),
            ["PUT / HTTP/1.1", "Host: localhost", "X-Key: k", "Authorization: Bearer t", "Content-Length: 3"],
        ),
        (
            Asked(body=b"0\r\n\r\n", fields=(("Transfer-Encoding", "chunked"),)),
            ["GET / HTTP/1.1", "Host: localhost", "Transfer-Encoding: chunked"],
        ),
    ],
)
def test_what_is_not_said_of_a_request_and_has_to_be_there_is_added(asked: Asked, lines: list[str]) -> None:
    head, end, body = asked.octets("X-Key").partition(b"\r\n\r\n")
    assert (head.decode().split("\r\n"), end + body) == (lines, b"\r\n\r\n" + asked.body)
