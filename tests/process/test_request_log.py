"""The request log of a gateway that runs: complete after a clean stop, after a kill, and after its writer's death."""

import os
import signal
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.kit.upstream import running_upstream
from tests.kit.waiting import until
from tests.process.gateway import Gateway, request, running_gateway


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """All rows, the oldest first, from a file that must be whole."""
    with closing(sqlite3.connect(folder / "microgateway-log.db")) as connection:
        connection.row_factory = sqlite3.Row
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        return [dict(row) for row in connection.execute("SELECT * FROM request_log ORDER BY id")]


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def logged(gateway: Gateway, **query: str | int) -> list[dict[str, Any]]:
    """All rows that match, the newest first. A page takes no longer than it may: what is cut short goes on."""
    items: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        answer = gateway.operator.http.get("/api/logs", params={"page_size": 500, **query, **cursor})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        cursor = {"cursor": page["next_cursor"]}


def test_every_request_is_in_the_log_however_it_ended(tmp_path: Path) -> None:
    with running_upstream() as upstream, running_gateway(tmp_path, DEFAULT_BURST_SIZE="3") as gateway:
        gateway.operator.create_public_route("/open", upstream.url)
        gateway.operator.create_public_route("/gone", "http://127.0.0.1:9", retries=1)
        key = gateway.operator.create("keys", name="of a test")["key"]
        asked = [
            request("/open/1?page=2&token=hidden"),
            request("/gone"),
            request("/nowhere", key),
            request("/open/2", method="POST"),
            request("/nowhere"),
            *[request("/nowhere", key)] * 4,
            b"GET / HTTP/1.1\r\n\r\n",
        ]
        statuses = Counter(gateway.ask(text).status for text in asked)
        until(lambda: len(logged(gateway)) == len(asked), "every row is written")
        rows = logged(gateway)
    assert Counter(row["status"] for row in rows) == statuses
    assert statuses.keys() == {200, 400, 401, 404, 429, 502}
    by_path = {row["path"]: row for row in rows}
    assert by_path["/open/1"]["query"] == "?page=2&token=***"
    assert by_path["/open/1"]["service"] == "behind /open"
    assert by_path["/open/1"]["upstream"] == f"127.0.0.1:{upstream.port}"
    assert by_path["/gone"]["code"] == "upstream_unreachable"
    assert [attempt["fault"] for attempt in by_path["/gone"]["attempts"]] == ["not_connected"] * 2
    assert by_path["/gone"]["retries"] == 1
    refused = [row for row in rows if row["status"] == 429]
    assert {(row["rate_limited"], row["limited_by"], row["key"]) for row in refused} == {(True, "key", "of a test")}
    assert by_path[""]["stage"] == "parse"


def test_a_clean_stop_loses_no_row(tmp_path: Path) -> None:
    with running_upstream() as upstream, running_gateway(tmp_path) as gateway:
        gateway.operator.create_public_route("/a", upstream.url)
        with gateway.connect() as client:
            for number in range(300):
                assert client.ask(request(f"/a/{number}")).status == 200
        gateway.command.interrupt()  # the writer gets this signal too, as in a terminal
        assert gateway.command.wait() == 0
    assert [row["path"] for row in rows_of(tmp_path)] == [f"/a/{number}" for number in range(300)]


def written(folder: Path) -> int:
    """Rows in the file of a gateway that runs. It is not asked itself: to answer, it would have them written."""
    with closing(sqlite3.connect(folder / "microgateway-log.db")) as connection:
        return int(connection.execute("SELECT count(*) FROM request_log").fetchone()[0])


def test_a_killed_gateway_loses_no_row_that_is_older_than_a_batch(tmp_path: Path) -> None:
    """Rows are written soon after they ended, though nobody asks for them; the last of them are killed on their way."""
    with running_upstream() as upstream, running_gateway(tmp_path) as gateway:
        gateway.operator.create_public_route("/a", upstream.url)
        pids = [gateway.command.pid, *children(gateway.command.pid)]
        with gateway.connect() as client:
            for number in range(300):
                assert client.ask(request(f"/a/{number}")).status == 200
            until(lambda: written(tmp_path) == 300, "they are written")
            for number in range(300, 600):
                assert client.ask(request(f"/a/{number}")).status == 200
            for pid in pids:  # the writer too: nobody is left to write what was on its way
                os.kill(pid, signal.SIGKILL)
        gateway.command.wait()
    paths = [row["path"] for row in rows_of(tmp_path)]
    assert paths == [f"/a/{number}" for number in range(len(paths))]
    assert len(paths) >= 300
    with running_gateway(tmp_path) as again:
        assert len(logged(again, path="/a/")) == len(paths)


def test_what_a_killed_gateway_had_sent_its_writer_writes(tmp_path: Path) -> None:
    with running_upstream() as upstream, running_gateway(tmp_path) as gateway:
        gateway.operator.create_public_route("/a", upstream.url)
        (writer,) = children(gateway.command.pid)
        os.kill(writer, signal.SIGSTOP)
        with gateway.connect() as client:
            for number in range(64):
                assert client.ask(request(f"/a/{number}")).status == 200
        assert logged(gateway) == []  # this had all of them sent, and nobody writes them
        os.kill(gateway.command.pid, signal.SIGKILL)
        os.kill(writer, signal.SIGCONT)
        gateway.command.wait()  # its output ends when the writer has ended too
    assert len(rows_of(tmp_path)) == 64


def test_a_writer_that_dies_is_started_again(tmp_path: Path) -> None:
    with running_upstream() as upstream, running_gateway(tmp_path) as gateway:
        gateway.operator.create_public_route("/a", upstream.url)
        assert gateway.ask(request("/a/before")).status == 200
        until(lambda: [row["path"] for row in logged(gateway)] == ["/a/before"], "the row of before")
        (writer,) = children(gateway.command.pid)
        os.kill(writer, signal.SIGKILL)
        assert gateway.ask(request("/a/meanwhile")).status == 200
        gateway.command.stderr.wait_for(r"the log's writer ended with -9; .*")
        until(lambda: children(gateway.command.pid) != [], "another writer")
        until(lambda: len(logged(gateway)) == 2, "the row of meanwhile")


@pytest.mark.parametrize("before", [None, "0s"])
def test_the_log_can_be_cleared(tmp_path: Path, before: str | None) -> None:
    with running_gateway(tmp_path) as gateway:
        gateway.ask(request("/a"))
        until(lambda: len(logged(gateway)) == 1, "the row")
        answer = gateway.operator.http.delete("/api/logs", params={} if before is None else {"before": before})
        assert answer.status_code == 204
        assert logged(gateway) == []


def test_a_log_that_is_off_costs_no_process_and_writes_nothing(tmp_path: Path) -> None:
    with running_gateway(tmp_path, MICROGATEWAY_REQUEST_LOG="false") as gateway:
        gateway.ask(request("/a"))
        assert logged(gateway) == []
        assert children(gateway.command.pid) == []
