"""A circuit under real traffic, over real sockets: who is let through, and what an operator's word changes."""

import select
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from microgateway.core.circuit import CircuitPolicy
from microgateway.entities import Service
from microgateway.snapshot import Snapshot
from microgateway.testing import FakeClock
from tests.kit.client import Answer, Client
from tests.kit.configuration import route, service
from tests.kit.gateway import Gateway, running_gateway
from tests.kit.messages import lines
from tests.kit.steps import Send, WaitFor
from tests.kit.upstream import Upstream, running_upstream
from tests.kit.waiting import PATIENCE

GET = lines("GET /a HTTP/1.1", "Host: a.example")
OK = lines("HTTP/1.1 200 OK", "Content-Length: 0")
TRIPS_AT_ONCE = {"failure_threshold": 1, "recovery_timeout": 30, "half_open_max_calls": 3}


def fails(status: int) -> Send:
    return Send(lines(f"HTTP/1.1 {status} Whatever", "Content-Length: 0"))


@dataclass(slots=True)
class Stage:
    gateway: Gateway
    upstream: Upstream
    clock: FakeClock

    def ask(self) -> Answer:
        with self.gateway.connect() as client:
            return client.ask(GET)

    def apply(self, edited: Service) -> None:
        self.gateway.apply(Snapshot().with_table([edited], [route("/")], CircuitPolicy()))

    def edit(self, **breaker: Any) -> None:
        self.apply(service(self.upstream.url, circuit_breaker=breaker))

    def state(self) -> str:
        return self.gateway.call(lambda served: str(served.circuits.state_of("upstream").value))

    def history(self) -> list[tuple[str, str, str]]:
        events = self.gateway.call(lambda served: served.circuits.history_of("upstream"))
        return [(event.before, event.after, event.reason) for event in events]


@contextmanager
def staged(**breaker: Any) -> Iterator[Stage]:
    clock = FakeClock()
    with (
        running_upstream() as upstream,
        running_gateway(
            services=[service(upstream.url, circuit_breaker=breaker)], routes=[route("/")], clock=clock
        ) as gateway,
    ):
        yield Stage(gateway, upstream, clock)


def half_opened(stage: Stage) -> None:
    stage.upstream.script(fails(500))
    assert stage.ask().status == 500
    assert stage.state() == "open"
    stage.clock.advance(30)


def wait_for_answers(crowd: list[Client], count: int) -> None:
    """Until so many of them have something to read."""
    deadline = time.monotonic() + PATIENCE
    while len(select.select([client.stream.sock for client in crowd], [], [], 0.01)[0]) < count:
        assert time.monotonic() < deadline, f"not {count} answers"


def test_of_two_hundred_at_the_half_open_moment_exactly_the_allowed_probes_reach_the_service() -> None:
    let_go = threading.Event()
    with staged(**TRIPS_AT_ONCE) as stage, ExitStack() as clients:
        half_opened(stage)
        stage.upstream.usually(WaitFor(let_go), Send(OK))
        crowd = [clients.enter_context(stage.gateway.connect()) for _ in range(200)]
        for client in crowd:
            client.send(GET)
        wait_for_answers(crowd, 197)
        stage.upstream.wait_for_requests(1 + 3)
        assert len(stage.upstream.requests) == 1 + 3
        let_go.set()
        answers = [client.read_answer() for client in crowd]
        assert sorted(answer.status for answer in answers) == [200] * 3 + [503] * 197
        assert {answer.problem()["code"] for answer in answers if answer.status == 503} == {"circuit_open"}
        assert {answer.one(b"retry-after") for answer in answers if answer.status == 503} == {b"1"}
        assert len(stage.upstream.requests) == 1 + 3
        assert stage.state() == "closed"


def test_a_probe_whose_client_hangs_up_gives_its_place_back() -> None:
    never = threading.Event()
    with staged(**TRIPS_AT_ONCE) as stage:
        half_opened(stage)
        stage.upstream.usually(WaitFor(never))
        for number in range(2, 12):
            with stage.gateway.connect() as leaver:
                leaver.send(GET)
                stage.upstream.wait_for_requests(number)
                leaver.reset()
            stage.gateway.settle()
        assert stage.state() == "half_open"
        never.set()
        stage.upstream.usually(Send(OK))
        assert [stage.ask().status for _ in range(3)] == [200] * 3
        assert stage.state() == "closed"


def test_answers_of_the_gateways_own_never_count() -> None:
    with staged(**TRIPS_AT_ONCE) as stage:
        bad = lines("GET /a HTTP/1.1", "Host: a.example", "Content-Length: x")
        with stage.gateway.connect() as client:
            assert client.ask(bad).status == 400
        half_opened(stage)
        assert [change[1] for change in stage.history()] == ["open"]


def test_only_the_statuses_of_the_policy_count() -> None:
    with staged(failure_threshold=1, failure_statuses=[429, "502-504"]) as stage:
        for status in (500, 501, 404):
            stage.upstream.script(fails(status))
            assert stage.ask().status == status
        assert stage.state() == "closed"
        stage.upstream.script(fails(429))
        assert stage.ask().status == 429
        assert stage.history() == [("closed", "open", "1 failure in a row: 429")]


def test_a_service_that_fails_every_other_request_trips_by_rate() -> None:
    with staged(trip="rate", minimum_calls=10, failure_rate=0.5) as stage:
        for number in range(10):
            assert stage.state() == "closed"
            stage.upstream.script(fails(200 if number % 2 else 503))
            stage.ask()
        assert stage.ask().problem()["code"] == "circuit_open"
        assert stage.history() == [("closed", "open", "5 of 10 calls failed")]


def test_an_answer_that_took_too_long_counts() -> None:
    begun, let_go = threading.Event(), threading.Event()
    with staged(failure_threshold=1, slow_call_seconds=2) as stage, stage.gateway.connect() as client:
        assert stage.ask().status == 200
        stage.upstream.script(WaitFor(let_go), Send(OK))
        begun.set()
        client.send(GET)
        stage.upstream.wait_for_requests(2)
        stage.clock.advance(2.5)
        let_go.set()
        assert client.read_answer().status == 200
        assert stage.history() == [("closed", "open", "1 failure in a row: it answered after 2.5 s")]


def test_a_slow_client_is_not_a_slow_service() -> None:
    post = lines("POST /a HTTP/1.1", "Host: a.example", "Content-Length: 2")
    with staged(failure_threshold=1, slow_call_seconds=2) as stage, stage.gateway.connect() as client:
        client.send(post + b"a")
        stage.upstream.wait_for_requests(1)
        stage.clock.advance(5)
        client.send(b"b")
        assert client.read_answer().status == 200
        assert stage.state() == "closed"


def test_an_operator_forces_it_open_and_switches_it_off() -> None:
    with staged(failure_threshold=1) as stage:
        stage.edit(mode="forced_open")
        assert stage.state() == "open", "before a request has come"
        refused = stage.ask()
        problem = refused.problem()
        assert (refused.status, problem["code"], problem["stage"]) == (503, "circuit_open", "circuit_breaker")
        assert refused.one(b"retry-after") == b"30"
        stage.edit(mode="disabled", failure_threshold=1)
        stage.upstream.usually(fails(500))
        assert {stage.ask().status for _ in range(5)} == {500}
        stage.edit(failure_threshold=1)
        assert [stage.ask().status for _ in range(2)] == [500, 503]
        assert len(stage.upstream.requests) == 6
        assert [change[2] for change in stage.history()] == [
            "forced open",
            "disabled",
            "back to automatic",
            "1 failure in a row: 500",
        ]


def test_what_it_knows_survives_an_edit_of_the_service() -> None:
    with staged(failure_threshold=1) as stage:
        stage.upstream.script(fails(500))
        stage.ask()
        stage.apply(service(stage.upstream.url, name="renamed", circuit_breaker={"failure_threshold": 2}))
        assert stage.ask().problem()["code"] == "circuit_open"
        assert len(stage.history()) == 1
        stage.gateway.apply(Snapshot())
        assert stage.history() == [], "with the service gone, so is its circuit"
