"""The access log and traces of a gateway that runs: a line for each request, a file that can be rotated, spans sent."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.kit.upstream import running_upstream
from tests.kit.waiting import until
from tests.process.gateway import request, running_gateway
from tests.process.test_request_log import rows_of

OFF: dict[str, Any] = {"MICROGATEWAY_REQUEST_LOG": "false"}


def lines_of(file: Path) -> list[dict[str, Any]]:
    """Every line is whole, also while others are being written."""
    text = file.read_text(encoding="ascii") if file.exists() else ""
    return [json.loads(line) for line in text.split("\n")[:-1]]


def test_every_request_is_a_line_without_secrets(tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    with (
        running_upstream() as upstream,
        running_gateway(tmp_path / "data", MICROGATEWAY_ACCESS_LOG=str(file), **OFF) as gateway,
    ):
        gateway.operator.create_public_route("/a", upstream.url)
        key = gateway.operator.create("keys", name='of "tést"')["key"]
        gateway.ask(request("/a/b?token=hush&page=1"))
        gateway.ask(request("/nowhere", key))
        gateway.command.terminate()
        assert gateway.command.wait() == 0
    first, second = lines_of(file)
    assert (first["method"], first["path"], first["query"]) == ("GET", "/a/b", "?token=***&page=1")
    assert (first["status"], first["service"], first["stage"]) == (200, "behind /a", "proxy")
    assert first["timestamp"].endswith("Z")
    assert (second["status"], second["code"], second["key"]) == (404, "route_not_found", 'of "tést"')
    assert key not in file.read_text()
    assert file.stat().st_mode & 0o007 == 0


def test_a_rotated_file_is_left_behind_on_sighup(tmp_path: Path) -> None:
    file, old = tmp_path / "access.log", tmp_path / "access.log.1"
    with running_gateway(tmp_path / "data", MICROGATEWAY_ACCESS_LOG=str(file)) as gateway:
        gateway.ask(request("/before"))
        until(lambda: len(lines_of(file)) == 1, "the first line")
        file.rename(old)
        os.kill(gateway.command.pid, signal.SIGHUP)
        until(file.exists, "another file")
        gateway.ask(request("/after"))
        until(lambda: len(lines_of(file)) == 1, "the second line")
        assert gateway.command.is_running
    assert [line["path"] for line in lines_of(old)] == ["/before"]
    assert [line["path"] for line in lines_of(file)] == ["/after"]


def test_standard_output(tmp_path: Path) -> None:
    with running_gateway(tmp_path, MICROGATEWAY_ACCESS_LOG="stdout", **OFF) as gateway:
        gateway.ask(request("/a"))
        match = gateway.command.stdout.wait_for(r"(\{.*\})")
    assert json.loads(match[1])["path"] == "/a"


def test_a_pipe_that_nobody_reads_slows_no_request_and_keeps_nobody_from_ending(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with running_upstream() as upstream, running_gateway(tmp_path, MICROGATEWAY_ACCESS_LOG=str(pipe)) as gateway:
        gateway.operator.create_public_route("/a", upstream.url)
        with gateway.connect() as client:
            for _ in range(500):  # several times what the pipe takes
                assert client.ask(request("/a")).status == 200
        gateway.command.terminate()
        assert gateway.command.wait() == 0
    read = b""
    while piece := os.read(reader, 1 << 20):
        read += piece
    os.close(reader)
    assert 50 < len([json.loads(line) for line in read.splitlines()[:-1]]) < 500
    assert len(rows_of(tmp_path)) == 500


def test_a_file_that_can_t_be_written_stops_the_start(tmp_path: Path) -> None:
    from tests.process.command import RUN, environment, running_command

    variables = environment(tmp_path, MICROGATEWAY_ACCESS_LOG="/nowhere/access.log")
    with running_command(RUN, variables) as command:
        assert command.wait() == 1
        assert "MICROGATEWAY_ACCESS_LOG: can't write to '/nowhere/access.log'" in command.stderr.text


def test_spans_are_sent_to_the_collector(tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    from tests.observability.test_spans import collecting

    with (
        collecting() as collector,
        running_upstream() as upstream,
        running_gateway(tmp_path, MICROGATEWAY_OTEL_ENDPOINT=collector.url, **OFF) as gateway,
    ):
        gateway.operator.create_public_route("/a", upstream.url)
        assert gateway.ask(request("/a/b")).status == 200
        (seen,) = upstream.requests
        gateway.command.terminate()
        assert gateway.command.wait() == 0
        server, client = collector.spans
    assert (server.name, client.name) == ("GET /a", "GET")
    assert seen.one(b"traceparent") == f"00-{server.trace_id.hex()}-{server.span_id.hex()}-01".encode()
