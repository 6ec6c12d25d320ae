"""A busy gateway whose configuration changes twenty times a second: nobody who sends requests is to notice."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

from tests.kit.messages import lines
from tests.kit.upstream import Upstream, running_upstream
from tests.kit.waiting import until
from tests.process.gateway import Gateway, request, running_gateway

SWAPS_PER_SECOND = 20
SWAPS = 40
CLIENTS = 6
PAUSE = 0.001  # seconds between a client's requests: it is the changes that must be able to keep their pace


@dataclass(slots=True)
class Load:
    """Clients that ask, each on one keep-alive connection, until it is over. `failures`: all but good answers."""

    gateway: Gateway
    key: str
    answered: list[int] = field(default_factory=lambda: [0] * CLIENTS)
    failures: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def ask(self, number: int) -> None:
        """GET and POST in turn: what is not idempotent can't be saved by trying again."""
        body = b"x" * 1_000
        asked = request(f"/busy/{number}", self.key)
        posted = lines(
            f"POST /busy/{number} HTTP/1.1",
            "Host: gateway.example",
            f"X-API-Key: {self.key}",
            f"Content-Length: {len(body)}",
        )
        try:
            with self.gateway.connect() as client:
                for method, message in cycle(((b"GET", asked), (b"POST", posted + body))):
                    answer = client.ask(message)
                    if (answer.status, answer.body, answer.complete) != (200, b"%b /busy/%d" % (method, number), True):
                        self.failures.append(f"{method!r}: {answer}")
                    self.answered[number] += 1
                    if self.over.wait(PAUSE) or self.failures:
                        return
        except Exception as error:  # noqa: BLE001  a thread's error must fail the test
            self.failures.append(f"client {number}, after {self.answered[number]} answers: {error!r}")


@contextmanager
def loaded(gateway: Gateway, key: str) -> Iterator[Load]:
    load = Load(gateway, key)
    threads = [threading.Thread(target=load.ask, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.over.set()
        for thread in threads:
            thread.join()


def change_something(gateway: Gateway, number: int, service_id: str, upstreams: tuple[Upstream, Upstream]) -> None:
    """The service moves to and fro, so connections in use lose their pool; in between, everything else changes."""
    operator = gateway.operator
    match number % 4:
        case 0:
            operator.change("services", service_id, base_url=upstreams[number // 4 % 2].url)
        case 1:
            operator.create("routes", path=f"/busy/{number}/more", service_id=service_id, methods=["DELETE"])
        case 2:
            key = operator.create("keys", name=f"key {number}")
            operator.delete("keys", key["id"])
        case 3:
            other = operator.create("services", name=f"other {number}", base_url=upstreams[0].url)
            operator.delete("services", other["id"])


def test_no_request_fails(folder: Path) -> None:
    with running_upstream() as first, running_upstream() as second, running_gateway(folder) as gateway:
        service = gateway.operator.create_public_route("/busy", first.url, auth="required")
        key = gateway.operator.create("keys", name="busy", burst_size=1_000_000, requests_per_minute=1_000_000)["key"]
        began, before_its_time = time.monotonic(), threading.Event()
        with loaded(gateway, key) as load:
            for number in range(SWAPS):
                change_something(gateway, number, service["id"], (first, second))
                before_its_time.wait(began + (number + 1) / SWAPS_PER_SECOND - time.monotonic())
            until(lambda: bool(load.failures) or min(load.answered) > SWAPS, "there is more load than change")
        assert load.failures == []
        assert len(first.requests) + len(second.requests) == sum(load.answered), "a request was sent twice, or never"
        assert first.requests
        assert second.requests
        assert (first.violations, second.violations) == ([], [])
