"""SIGTERM, from outside: what is under way is finished, nothing new begins, and the exit code is 0."""

import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.client import Client
from tests.kit.messages import answer
from tests.kit.steps import Echo, ReadToEnd, Send, WaitFor
from tests.kit.upstream import Upstream, running_upstream
from tests.kit.waiting import until
from tests.process.gateway import Gateway, request, running_gateway

DRAIN_LIMIT = "100"  # seconds; no test here waits for that long
UVICORNS_OWN = (0, -signal.SIGTERM)  # after a clean end uvicorn raises the signal again; as process 1 it can't


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        yield upstream


def is_refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def until_draining(gateway: Gateway) -> None:
    until(lambda: gateway.operator.readiness() == 503, "readiness says that it drains")


def begin_endless_answer(gateway: Gateway, upstream: Upstream, client: Client) -> None:
    """Its first half has come when this returns, and its second never will."""
    gateway.operator.create_public_route("/", upstream.url)
    upstream.script(Send(answer(200, body=b"a" * 100)[:-50]), ReadToEnd())
    client.send(request("/endless"))
    client.stream.peek()


class TestRun:
    def test_an_idle_gateway_ends_at_once(self, folder: Path, upstream: Upstream) -> None:
        """Though a client and an operator hold connections open that they might use again."""
        with running_gateway(folder, MICROGATEWAY_DRAIN_TIMEOUT=DRAIN_LIMIT) as gateway, gateway.connect() as client:
            gateway.operator.create_public_route("/", upstream.url)
            assert client.ask(request("/")).status == 200
            gateway.command.terminate()
            client.assert_closed()
            assert gateway.command.wait() == 0

    def test_a_slow_answer_arrives_whole(self, folder: Path, upstream: Upstream) -> None:
        go_on = threading.Event()
        with running_gateway(folder, MICROGATEWAY_DRAIN_TIMEOUT=DRAIN_LIMIT) as gateway, gateway.connect() as client:
            gateway.operator.create_public_route("/", upstream.url)
            upstream.script(WaitFor(go_on), Echo())
            client.send(request("/slow"))
            upstream.wait_for_requests(1)
            gateway.command.terminate()
            until_draining(gateway)
            assert is_refused(gateway.proxy_port)
            assert gateway.operator.http.get("/livez").status_code == 200
            assert gateway.operator.http.get("/health").json()["status"] == "down"
            assert gateway.command.is_running

            go_on.set()
            slow = client.read_answer()
            assert (slow.status, slow.body, slow.complete) == (200, b"GET /slow", True)
            assert slow.one(b"connection") == b"close"
            client.assert_closed()
            assert gateway.command.wait() == 0
            assert "Traceback" not in gateway.command.said

    def test_what_outlasts_the_limit_is_cut_off(self, folder: Path, upstream: Upstream) -> None:
        with (
            running_gateway(folder, MICROGATEWAY_DRAIN_TIMEOUT="0.5") as gateway,
            gateway.connect() as client,
        ):
            begin_endless_answer(gateway, upstream, client)
            gateway.command.terminate()
            assert not client.read_answer().complete
            assert gateway.command.wait() == 0
            assert upstream.violations == [], "it was the upstream that gave up"

    def test_a_second_signal_ends_it_at_once(self, folder: Path, upstream: Upstream) -> None:
        with (
            running_gateway(folder, MICROGATEWAY_DRAIN_TIMEOUT=DRAIN_LIMIT) as gateway,
            gateway.connect() as client,
        ):
            begin_endless_answer(gateway, upstream, client)
            gateway.command.terminate()
            until_draining(gateway)
            gateway.command.terminate()
            assert not client.read_answer().complete
            assert gateway.command.wait() == 0
            assert upstream.violations == [], "it was the upstream that gave up"
            assert "Traceback" not in gateway.command.said


def test_uvicorn_drains_too(folder: Path, upstream: Upstream) -> None:
    """It closes the control port first, and the exit code is its own."""
    go_on = threading.Event()
    with (
        running_gateway(folder, entry="uvicorn", MICROGATEWAY_DRAIN_TIMEOUT=DRAIN_LIMIT) as gateway,
        gateway.connect() as client,
    ):
        gateway.operator.create_public_route("/", upstream.url)
        upstream.script(WaitFor(go_on), Echo())
        client.send(request("/slow"))
        upstream.wait_for_requests(1)
        gateway.command.terminate()
        until(lambda: is_refused(gateway.proxy_port), "the proxy port is closed")
        assert gateway.command.is_running
        go_on.set()
        slow = client.read_answer()
        assert (slow.status, slow.body, slow.one(b"connection")) == (200, b"GET /slow", b"close")
        client.assert_closed()
        assert gateway.command.wait() in UVICORNS_OWN
        assert "Traceback" not in gateway.command.said
