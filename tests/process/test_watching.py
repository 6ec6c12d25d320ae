"""The gateway's process as its operator watches it: charts over a restart, streams over a stop, figures as they are."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.kit.upstream import Upstream, running_upstream
from tests.kit.waiting import PATIENCE
from tests.process.gateway import ENTRIES, Gateway, request, running_gateway


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


def figures(gateway: Gateway, endpoint: str, **query: Any) -> Any:
    answer = gateway.operator.http.get(f"/api/metrics/{endpoint}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


class LiveStream:
    """What comes of `/api/live`, read from a socket. A context manager, so that it is closed whatever happens."""

    def __init__(self, gateway: Gateway, query: str = "") -> None:
        self._socket = socket.create_connection(("127.0.0.1", gateway.control_port), timeout=PATIENCE)
        self._socket.sendall(
            f"GET /api/live{query} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {gateway.admin_token}\r\n\r\n".encode()
        )
        self._read = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def until(self, mark: bytes) -> str:
        """All up to this mark, and with it; the end of the stream where it never comes.

        The figures of every second are no reason to wait on.
        """
        by = time.monotonic() + PATIENCE
        while mark not in self._read and (piece := self._socket.recv(65_536)):
            self._read += piece
            assert time.monotonic() < by, f"{mark!r} never came, but: {self._read[-2_000:]!r}"
        before, found, self._read = self._read.partition(mark)
        return (before + found).decode()


def test_charts_survive_a_restart(folder: Path, upstream: Upstream) -> None:
    with running_gateway(folder) as gateway:
        service = gateway.operator.create_public_route("/public", upstream.url)
        for _ in range(7):
            assert gateway.ask(request("/public")).status == 200
        assert gateway.ask(request("/nowhere")).status == 401
        gateway.command.terminate()
        assert gateway.command.wait() == 0
    with running_gateway(folder) as gateway:
        assert gateway.ask(request("/public")).status == 200
        volume = figures(gateway, "volume", window="1h")
        assert volume["requests"] == 9
        assert (volume["outcomes"]["success"], volume["outcomes"]["refused"]) == (8, 1)
        assert figures(gateway, "volume", window="1h", service=service["id"])["requests"] == 8
        assert figures(gateway, "latency", window="24h")["total"]["current"]["latency_ms"]["p99"] > 0
        assert figures(gateway, "dashboard", window="1m")["requests"]["value"] == 1  # seconds are not kept


def test_prometheus_asks_with_its_own_token(folder: Path, upstream: Upstream) -> None:
    with running_gateway(folder, MICROGATEWAY_METRICS_TOKEN="for-figures-only") as gateway:
        gateway.operator.create_public_route("/public", upstream.url)
        gateway.ask(request("/public"))
        answer = gateway.operator.http.get("/metrics", headers={"Authorization": "Bearer for-figures-only"})
        families = {family.name: family for family in text_string_to_metric_families(answer.text)}
        (sample,) = families["microgateway_requests"].samples
        assert sample.labels == {"service": "behind /public", "route": "/public", "method": "GET", "code": "200"}
        (target,) = families["microgateway_target_up"].samples
        assert (target.labels["service"], target.value) == ("behind /public", 1)
        assert families["microgateway_log_rows_dropped"].samples[0].value == 0
        assert families["microgateway_configuration_version"].samples[0].value >= 3


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_stop_ends_the_live_streams_and_is_not_held_up_by_them(folder: Path, upstream: Upstream, entry: str) -> None:
    with running_gateway(folder, entry=entry) as gateway:
        gateway.operator.create_public_route("/public", upstream.url)
        with LiveStream(gateway, "?log=true&status=2xx") as stream:
            stream.until(b"event: metrics\n")
            gateway.ask(request("/public"))
            gateway.ask(request("/nowhere"))
            stream.until(b"event: log\n")
            row = json.loads(stream.until(b"\n\n").removeprefix("data: "))
            assert (row["path"], row["status"], row["service"]) == ("/public", 200, "behind /public")
            gateway.operator.change("services", gateway.operator.all("services")[0]["id"], name="another")
            stream.until(b"event: configuration\n")
            gateway.command.terminate()
            rest = stream.until(b"\r\n0\r\n\r\n")  # the end of a chunked answer, as it should be
            assert rest.endswith("\r\n0\r\n\r\n")
            assert '"status":401' not in rest
            gateway.command.wait(PATIENCE)
