"""Active checks over real sockets: how a target answers, when it is asked, and what comes of it for traffic."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from microgateway.core.circuit import CircuitPolicy
from microgateway.core.health import CheckResult
from microgateway.entities import Service
from microgateway.snapshot import Snapshot
from tests.kit.configuration import route, service
from tests.kit.gateway import Gateway, running_gateway
from tests.kit.messages import lines
from tests.kit.steps import Close, Echo, Send, SendForever, Step, WaitFor
from tests.kit.upstream import Upstream, running_upstream
from tests.kit.waiting import PATIENCE, until

GET = lines("GET /a HTTP/1.1", "Host: a.example")
OK = lines("HTTP/1.1 200 OK", "Content-Length: 0")
CHECKED = b"/health"
INTERVAL = 0.2
SHORT = 0.2  # seconds for an answer that never comes


def checks_of(upstream: Upstream) -> int:
    return sum(request.target == CHECKED for request in upstream.requests)


def requests_of(upstream: Upstream) -> int:
    return sum(request.target != CHECKED for request in upstream.requests)


@contextmanager
def checked_gateway(services: Sequence[Service], *, starts: bool = True) -> Iterator[Gateway]:
    routes = [route(f"/{one.name}", service_id=one.id) for one in services] + [route("/", service_id=services[0].id)]
    with running_gateway(services=services, routes=routes, health_checks=starts) as gateway:
        yield gateway


def status_of(gateway: Gateway, url: str, service_id: str = "upstream") -> str:
    def look(served: Any) -> str:
        group = served.targets.of(served.listener.snapshot.upstreams[service_id])
        return str(group.members[url].health.status(time.monotonic()).value)

    return gateway.call(look)


def is_known_to_be_ill(gateway: Gateway, url: str) -> bool:
    """Asserts that it is as soon as three checks have failed, which are made within an interval."""

    def look(served: Any) -> tuple[str, int]:
        member = served.targets.of(served.listener.snapshot.upstreams["upstream"]).members[url]
        return str(member.health.status(time.monotonic()).value), sum(not check.passed for check in member.checks)

    status, failed = gateway.call(look)
    assert (status == "unhealthy") == (failed >= 3)
    return failed >= 3


def check_once(gateway: Gateway) -> CheckResult:
    gateway.run(lambda served: served.checker.check("upstream"))

    def look(served: Any) -> CheckResult:
        (member,) = served.targets.of(served.listener.snapshot.upstreams["upstream"]).members.values()
        result: CheckResult = member.checks[-1]
        return result

    return gateway.call(look)


INTERIM = lines("HTTP/1.1 103 Early Hints", "Link: </a>")


@pytest.mark.parametrize(
    ("script", "passed", "detail"),
    [
        ((Send(OK),), True, "it answered 200"),
        ((Send(INTERIM + INTERIM + OK),), True, "it answered 200"),
        ((Send(b"HTTP/1.1 200 ", b"OK\r\nContent-Length: 0\r\n", b"\r\n"),), True, "it answered 200"),
        ((Send(lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")),), True, "it answered 200"),
        ((Send(lines("HTTP/1.0 404 Not Found")),), True, "it answered 404"),
        ((Send(lines("HTTP/1.1 503 Busy", "Content-Length: 0")),), False, "it answered 503"),
        ((Close(),), False, "it can't be reached: the connection was closed before an answer had come"),
        ((Send(b"SSH-2.0-OpenSSH\r\n\r\n"),), False, "its answer can't be understood"),
        ((Send(b"HTTP/1.1 200 OK\r\n"), SendForever(b"X-Field: value\r\n")), False, "its answer can't be understood"),
        ((), False, f"it did not answer within {SHORT} s"),
    ],
)
def test_what_an_answer_says(script: tuple[Step, ...], passed: bool, detail: str) -> None:
    with running_upstream() as upstream:
        upstream.usually(*script)
        check = {"timeout_seconds": PATIENCE if script else SHORT}
        with checked_gateway([service(upstream.url, health_check=check)], starts=False) as gateway:
            result = check_once(gateway)
            assert (result.passed, result.detail) == (passed, detail)
            upstream.wait_until(lambda: upstream.open_connections() == 0, "the check closes its connection")


def test_a_target_that_is_not_there() -> None:
    with running_upstream() as upstream:
        upstream.stop_listening()
        with checked_gateway([service(upstream.url)], starts=False) as gateway:
            result = check_once(gateway)
    assert not result.passed
    assert result.status is None
    assert result.detail.startswith("it can't be reached: ")


def test_which_statuses_are_expected_is_configured() -> None:
    with running_upstream() as upstream:
        upstream.usually(Send(lines("HTTP/1.1 404 Not Found", "Content-Length: 0")))
        spec = service(upstream.url, health_check={"expected_statuses": [200, "204"]})
        with checked_gateway([spec], starts=False) as gateway:
            assert not check_once(gateway).passed


def test_an_unhealthy_target_gets_nothing_one_interval_after_it_failed_and_traffic_again_when_it_is_well() -> None:
    with running_upstream() as one, running_upstream() as other:
        spec = service(
            one.url,
            targets=[{"url": one.url}, {"url": other.url}],
            health_check={"interval_seconds": INTERVAL, "jitter": 0},
            passive_health={"enabled": False},
        )
        with checked_gateway([spec]) as gateway, gateway.connect() as client:
            until(lambda: status_of(gateway, other.url) == "healthy", "the first check")
            known = checks_of(other)
            other.usually(Send(lines("HTTP/1.1 500 Ill", "Content-Length: 0")))
            until(lambda: checks_of(other) > known, "a check that fails")
            until(lambda: is_known_to_be_ill(gateway, other.url), "that it is unhealthy")
            known = requests_of(other)
            assert {client.ask(GET).status for _ in range(20)} == {200}
            assert requests_of(other) == known
            other.usually(Echo())
            until(lambda: status_of(gateway, other.url) == "healthy", "that it is well again")
            assert {client.ask(GET).status for _ in range(20)} == {200}
            assert requests_of(other) == known + 10


@pytest.mark.parametrize(("when_unhealthy", "status"), [("fail", 503), ("try_all", 200)])
def test_with_no_healthy_target_the_service_says_what_happens(when_unhealthy: str, status: int) -> None:
    check = {"interval_seconds": 7, "unhealthy_threshold": 1, "healthy_threshold": 1}
    with running_upstream() as upstream:
        upstream.script(Send(lines("HTTP/1.1 500 Ill", "Content-Length: 0")))
        spec = service(upstream.url, health_check=check, when_unhealthy=when_unhealthy)
        with checked_gateway([spec], starts=False) as gateway, gateway.connect() as client:
            assert not check_once(gateway).passed
            answer = client.ask(GET)
            assert answer.status == status
            assert requests_of(upstream) == (status == 200)
            if status == 503:
                problem = answer.problem()
                assert (problem["code"], problem["stage"]) == ("no_healthy_target", "proxy")
                assert answer.one(b"retry-after") == b"7"
            assert gateway.call(lambda served: sum(one.failures for one in served.circuits.snapshot().values())) == 0
            assert check_once(gateway).passed
            assert client.ask(GET).status == 200


def test_a_slow_target_delays_nobody() -> None:
    never = threading.Event()
    with running_upstream() as slow, running_upstream() as quick:
        slow.usually(WaitFor(never), Send(OK))
        check = {"interval_seconds": 0.1, "timeout_seconds": 5}
        services = [
            service(slow.url, "slow", health_check=check, targets=[{"url": f"{slow.url}/{n}"} for n in range(20)]),
            service(quick.url, "quick", health_check=check),
        ]
        with checked_gateway(services):
            slow.wait_until(lambda: len(slow.requests) == 20, "every slow target is asked")
            known = checks_of(quick)
            quick.wait_until(lambda: checks_of(quick) >= known + 5, "the quick one is asked on and on")
            assert len(slow.requests) == 20, "and nobody twice at the same time"
        never.set()


def test_a_configuration_begins_and_ends_checks() -> None:
    with running_upstream() as upstream:
        check = {"interval_seconds": 0.1}
        with checked_gateway([service(upstream.url, health_check=check | {"enabled": False})]) as gateway:

            def apply(**fields: Any) -> None:
                gateway.apply(Snapshot().with_table([service(upstream.url, **fields)], [], CircuitPolicy()))

            apply(health_check={"interval_seconds": 3_600})
            upstream.wait_until(lambda: checks_of(upstream) == 1, "the first check of a service that is new")
            apply(health_check=check)
            upstream.wait_until(lambda: checks_of(upstream) >= 4, "a shorter interval counts at once")
            apply(health_check=check, enabled=False)
            gateway.run(lambda served: served.checker.check("upstream"))
            known = checks_of(upstream)
            apply(health_check=check)
            upstream.wait_until(lambda: checks_of(upstream) > known, "it goes on when it is switched on")
            other = service(f"{upstream.url}/other", "other", health_check=check)
            gateway.apply(Snapshot().with_table([other], [], CircuitPolicy()))
            gateway.run(lambda served: served.checker.check_all())
            known = checks_of(upstream)
            upstream.wait_until(
                lambda: sum(request.target == b"/other/health" for request in upstream.requests) > 4, "the other's"
            )
            assert checks_of(upstream) == known, "nobody asks for a service that is gone"


def test_what_is_known_of_a_target_survives_an_edit() -> None:
    with running_upstream() as upstream:
        check = {"interval_seconds": 3_600, "unhealthy_threshold": 1}
        with checked_gateway([service(upstream.url, health_check=check)], starts=False) as gateway:
            check_once(gateway)
            edited = service(upstream.url, name="renamed", health_check=check | {"jitter": 0})
            gateway.apply(Snapshot().with_table([edited], [], CircuitPolicy()))
            assert status_of(gateway, upstream.url) == "healthy"
