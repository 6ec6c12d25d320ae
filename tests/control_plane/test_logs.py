"""/api/logs over a real log: filters, pages by number and by cursor, export, and what is refused."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from microgateway.persistence.log_sqlite import SqliteLogStore
from microgateway.persistence.log_zones import Row
from tests.control_plane.control import Control
from tests.kit.log import BEGINNING, log_row, log_rows


@pytest.fixture
async def logged(control: Control) -> Control:
    """A control plane whose log is open, and empty."""
    await control.log_database.open()
    return control


def write(control: Control, rows: list[Row]) -> None:
    store = SqliteLogStore(str(control.log_database.reading.url.database))
    for start in range(0, len(rows), 700):
        store.append(rows[start : start + 700])
    store.close()


async def paths(control: Control, **query: Any) -> list[str]:
    """The paths of the rows that match, the newest first."""
    page = await control.get("/api/logs", params={"page_size": 500, **query})
    return [row["path"] for row in page["items"]]


VARIED = [
    log_row(0, path="/users/1"),
    log_row(1, path="/users/2", status=404, stage="router", code="route_not_found"),
    log_row(2, path="/orders", method="POST", status=502, service="orders", service_id="svc_2", latency_ms=900.0),
    log_row(
        3, path="/orders", method="DELETE", status=429, stage="rate_limit", rate_limited=True, key="other", key_id="k2"
    ),
    log_row(4, path="/Orders/7", status=503, circuit_open=True, code="circuit_open", breaker="open", route="/Orders"),
    log_row(
        5,
        path="",
        method="",
        status=400,
        service=None,
        service_id=None,
        route=None,
        route_id=None,
        key=None,
        key_id=None,
    ),
]


class TestFilters:
    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({}, [5, 4, 3, 2, 1, 0]),
            ({"method": "POST"}, [2]),
            ({"method": "POST,DELETE"}, [3, 2]),
            ({"status": "404"}, [1]),
            ({"status": "4xx"}, [5, 3, 1]),
            ({"status": "5xx,404"}, [4, 2, 1]),
            ({"service": "orders"}, [2]),
            ({"service": "svc_2"}, [2]),
            ({"route": "/Orders"}, [4]),
            ({"key": "other"}, [3]),
            ({"key": "k2"}, [3]),
            ({"path": "order"}, [4, 3, 2]),
            ({"path": "ORDERS/"}, [4]),
            ({"path": "%"}, []),
            ({"rate_limited": "true"}, [3]),
            ({"rate_limited": "false"}, [5, 4, 2, 1, 0]),
            ({"circuit_open": "true"}, [4]),
            ({"min_latency_ms": "500"}, [2]),
            ({"since": str(BEGINNING + 4)}, [5, 4]),
            ({"until": str(BEGINNING + 2)}, [1, 0]),
            ({"since": "2023-11-14T22:13:22Z", "until": "2023-11-14T22:13:24"}, [3, 2]),
            ({"since": "1h"}, [5, 4, 3, 2, 1, 0]),
            ({"request_id": "request-3"}, [3]),
            ({"trace_id": f"{2:032x}"}, [2]),
            ({"status": "5xx", "path": "orders", "method": "GET"}, [4]),
            ({"service": "nobody"}, []),
        ],
    )
    async def test_a_filter_lets_through_what_fits(
        self, logged: Control, query: dict[str, str], expected: list[int]
    ) -> None:
        write(logged, VARIED)
        logged.clock.advance(5)
        page = await logged.get("/api/logs", params=query)
        assert [row["request_id"] for row in page["items"]] == [f"request-{number}" for number in expected]
        assert (page["total"], page["total_is_exact"], page["is_complete"]) == (len(expected), True, True)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("status", "44"),
            ("status", "600"),
            ("status", "4x4"),
            ("method", "G T"),
            ("since", "yesterday"),
            ("until", "2023-13-01"),
            ("page", "0"),
            ("page_size", "501"),
            ("cursor", "x"),
            ("min_latency_ms", "-1"),
            ("rate_limited", "perhaps"),
        ],
    )
    async def test_one_that_makes_no_sense_is_named(self, logged: Control, field: str, value: str) -> None:
        problem = await logged.get("/api/logs", 422, params={field: value})
        assert [error["field"] for error in problem["errors"]] == [field]

    async def test_one_of_many_is_found_wherever_it_is(self, logged: Control) -> None:
        """Older and newer zones than the one that has it are passed over, and none is forgotten."""
        rows = log_rows(5_000)
        for number in (3, 2_600, 4_999):
            rows[number] = log_row(number, path=f"/needle/{number}", status=418, key="needle", latency_ms=5_000.0)
        write(logged, rows)
        found = [f"/needle/{number}" for number in (4_999, 2_600, 3)]
        assert await paths(logged, path="needle") == found
        assert await paths(logged, status="418") == found
        assert await paths(logged, key="needle") == found
        assert await paths(logged, min_latency_ms="4000") == found
        assert await paths(logged, request_id="request-2600") == found[1:2]


class TestPages:
    async def test_by_number(self, logged: Control) -> None:
        write(logged, log_rows(1_234))
        page = await logged.get("/api/logs", params={"page": 3, "page_size": 100})
        assert [row["path"] for row in page["items"]] == [f"/items/{number}" for number in range(1_033, 933, -1)]
        assert {name: page[name] for name in ("page", "page_size", "pages", "total")} == {
            "page": 3,
            "page_size": 100,
            "pages": 13,
            "total": 1_234,
        }
        last = await logged.get("/api/logs", params={"page": 13, "page_size": 100})
        assert len(last["items"]) == 34
        assert last["next_cursor"] is None
        assert (await logged.get("/api/logs", params={"page": 14, "page_size": 100}))["items"] == []

    async def test_by_number_with_a_filter(self, logged: Control) -> None:
        write(logged, [log_row(number, status=404 if number % 3 else 200) for number in range(3_000)])
        page = await logged.get("/api/logs", params={"page": 5, "page_size": 200, "status": "200"})
        assert [row["request_id"] for row in page["items"]] == [f"request-{2_997 - 3 * n}" for n in range(800, 1_000)]
        assert page["total"] == 1_000

    async def test_a_cursor_is_stable_while_rows_arrive(self, logged: Control) -> None:
        write(logged, log_rows(700))
        seen, cursor, number = [], None, 700
        while True:
            query = {"page_size": 64} if cursor is None else {"page_size": 64, "cursor": cursor}
            page = await logged.get("/api/logs", params=query)
            seen += [row["path"] for row in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
            write(logged, [log_row(number + n) for n in range(50)])
            number += 50
        assert seen == [f"/items/{number}" for number in range(699, -1, -1)]

    async def test_a_cursor_keeps_to_the_filter(self, logged: Control) -> None:
        write(logged, [log_row(number, method="PUT" if number % 2 else "GET") for number in range(300)])
        first = await logged.get("/api/logs", params={"method": "PUT", "page_size": 100})
        second = await logged.get(
            "/api/logs", params={"method": "PUT", "page_size": 100, "cursor": first["next_cursor"]}
        )
        assert len(second["items"]) == 50
        assert {row["method"] for row in second["items"]} == {"PUT"}
        assert second["next_cursor"] is None


class TestOne:
    async def test_by_its_id_and_by_the_request_s(self, logged: Control) -> None:
        write(logged, VARIED)
        (newest, *_) = (await logged.get("/api/logs"))["items"]
        assert await logged.get(f"/api/logs/{newest['id']}") == newest
        assert await logged.get("/api/logs/request-5") == newest

    async def test_a_row_tells_everything(self, logged: Control) -> None:
        attempt = {"target": "127.0.0.1:1", "fault": "not_connected", "verdict": "repeated", "after_ms": 1.5}
        write(
            logged,
            [
                log_row(
                    7,
                    attempts=json.dumps([attempt]),
                    retries=1,
                    shadowed='["a rule"]',
                    query="?a=1",
                    configuration_version=7,
                )
            ],
        )
        row = await logged.get("/api/logs/request-7")
        assert row == {
            "id": 1,
            "timestamp": "2023-11-14T22:13:27Z",
            "request_id": "request-7",
            "trace_id": f"{7:032x}",
            "client_ip": "192.0.2.1",
            "method": "GET",
            "path": "/items/7",
            "query": "?a=1",
            "status": 200,
            "service_id": "svc_1",
            "service": "users",
            "route_id": "rt_1",
            "route": "/items",
            "key_id": "key_1",
            "key": "demo",
            "rate_limited": False,
            "circuit_open": False,
            "latency_ms": 1.5,
            "upstream_ms": 1.0,
            "stage": "proxy",
            "code": "",
            "retries": 1,
            "attempts": [attempt],
            "breaker": "closed",
            "upstream": "127.0.0.1:9000",
            "upstream_status": 200,
            "bytes_in": 0,
            "bytes_out": 512,
            "limited_by": None,
            "shadowed": ["a rule"],
            "simulated": False,
            "configuration_version": 7,
        }

    async def test_an_unknown_one(self, logged: Control) -> None:
        for row_id in ("1", "request-1"):
            assert (await logged.get(f"/api/logs/{row_id}", 404))["code"] == "not_found"


class TestExport:
    async def test_ndjson_has_every_row_that_matches(self, logged: Control) -> None:
        write(logged, log_rows(2_000))
        answer = await logged.client.get("/api/logs/export", params={"path": "/items/1"})
        rows = [json.loads(line) for line in answer.text.splitlines()]
        assert answer.headers["content-type"] == "application/x-ndjson"
        assert 'filename="request-log-' in answer.headers["content-disposition"]
        expected = [f"/items/{number}" for number in range(1_999, -1, -1) if str(number).startswith("1")]
        assert [row["path"] for row in rows] == expected

    async def test_csv_has_a_heading_and_no_formulas(self, logged: Control) -> None:
        write(logged, [log_row(0, key="=HYPERLINK(1)", path='/a,"b"', service="-1+1"), log_row(1, latency_ms=2.5)])
        answer = await logged.client.get("/api/logs/export", params={"format": "csv"})
        second, first = csv.DictReader(io.StringIO(answer.text, newline=""))
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert (first["key"], first["path"], first["service"]) == ("'=HYPERLINK(1)", '/a,"b"', "'-1+1")
        assert (second["latency_ms"], second["upstream_status"]) == ("2.5", "200")

    async def test_nothing_matches(self, logged: Control) -> None:
        answer = await logged.client.get("/api/logs/export", params={"format": "csv", "path": "nothing"})
        assert answer.text.startswith("id,timestamp,request_id,")
        assert answer.text.count("\n") == 1
        assert (await logged.client.get("/api/logs/export")).text == ""


class TestAccess:
    async def test_a_log_that_nobody_writes_cannot_be_cleared(self, logged: Control) -> None:
        problem = await logged.delete("/api/logs", 503)
        assert problem["code"] == "log_unavailable"

    async def test_a_stranger_sees_nothing(self, logged: Control, folder: Path) -> None:
        for path in ("/api/logs", "/api/logs/1", "/api/logs/export"):
            assert (await logged.client.get(path, headers={"Authorization": ""})).status_code == 401
