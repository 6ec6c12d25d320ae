"""A gateway that is started again where it was stopped."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.kit.messages import answer
from tests.kit.steps import Send
from tests.kit.upstream import Upstream, running_upstream
from tests.kit.waiting import until
from tests.process.gateway import Gateway, assert_problem, request, running_gateway

KINDS = ("services", "routes", "keys")
SINCE_THE_START = {"health", "circuit"}


def configured(gateway: Gateway) -> dict[str, list[dict[str, Any]]]:
    """Everything that an operator has configured, and how much it was used, without what is forgotten at the end."""
    return {
        kind: [
            {name: value for name, value in item.items() if name not in SINCE_THE_START}
            for item in gateway.operator.all(kind)
        ]
        for kind in KINDS
    }


def test_a_restart_keeps_everything_configured(folder: Path) -> None:
    with running_upstream() as upstream:
        with running_gateway(folder) as gateway:
            operator = gateway.operator
            service = operator.create(
                "services",
                name="all of it",
                base_url=upstream.url,
                targets=[{"url": upstream.url, "weight": 3}],
                read_timeout_seconds=7.5,
                circuit_breaker={"failure_threshold": 2},
            )
            operator.create("services", name="switched off", base_url=upstream.url, enabled=False)
            fields = {
                "service_id": service["id"],
                "strip_prefix": True,
                "priority": 3,
                "retries": 2,
                "methods": ["GET"],
            }
            operator.create("routes", path="/shop/{id}", match="prefix", hosts=["*.example"], **fields)
            operator.create("routes", path="/public", service_id=service["id"], auth="none")
            key = operator.create("keys", name="kept", owner="Ada", team="engines", burst_size=3, requests_per_minute=1)
            revoked = operator.create("keys", name="revoked", expires_at="2099-01-01T00:00:00Z")
            operator.delete("keys", revoked["id"])
            before = configured(gateway)
            admin_token = gateway.admin_token
            gateway.command.terminate()
            assert gateway.command.wait() == 0

        with running_gateway(folder) as gateway:
            assert gateway.admin_token == admin_token
            assert configured(gateway) == before
            assert [len(before[kind]) for kind in KINDS] == [2, 2, 2]
            kept = gateway.ask(request("/shop/7/lamp", key["key"]))
            assert (kept.status, kept.body) == (200, b"GET /lamp")
            assert kept.one(b"x-ratelimit-remaining") == b"2"
            assert gateway.ask(request("/public")).status == 200
            assert_problem(gateway.ask(request("/shop/7", revoked["key"])), 401, "api_key_disabled", "auth")


def usage(gateway: Gateway) -> tuple[Any, ...]:
    (key,), (service,) = gateway.operator.all("keys"), gateway.operator.all("services")
    counted = (key["total_requests"], key["rejected_requests"], service["total_requests"], service["total_errors"])
    return (*counted, key["last_used_at"])


def configure_and_use(gateway: Gateway, upstream: Upstream) -> str:
    """A key for three requests at once, and five of them; the key's text."""
    service = gateway.operator.create("services", name="used", base_url=upstream.url)
    gateway.operator.create("routes", path="/", service_id=service["id"])
    key: str = gateway.operator.create("keys", name="used", burst_size=3, requests_per_minute=1)["key"]
    upstream.script(Send(answer(500)))
    for _ in range(5):
        gateway.ask(request("/", key))
    return key


def test_what_was_counted_is_counted_on_after_a_restart(folder: Path) -> None:
    with running_upstream() as upstream:
        with running_gateway(folder) as gateway:
            key = configure_and_use(gateway, upstream)
            gateway.command.terminate()
            assert gateway.command.wait() == 0
        with running_gateway(folder) as gateway:
            seen = usage(gateway)
            assert seen[:4] == (5, 2, 3, 1)
            assert seen[4] is not None
            assert gateway.operator.all("routes")[0]["last_hit_at"] is not None
            gateway.ask(request("/", key))
            until(lambda: usage(gateway)[:4] == (6, 2, 4, 1), "the sixth request is counted")


def test_a_gateway_that_was_killed_had_written_what_it_counted(folder: Path) -> None:
    """About every second; here it is killed when that has happened, and nothing is lost or counted twice."""
    with running_upstream() as upstream:
        with running_gateway(folder) as gateway:
            configure_and_use(gateway, upstream)
            until(lambda: written(folder) == [(5, 2)], "the counters are written")
            gateway.command.end()
        with running_gateway(folder) as gateway:
            assert usage(gateway)[:4] == (5, 2, 3, 1)


def written(folder: Path) -> list[tuple[int, int]]:
    with closing(sqlite3.connect(folder / "microgateway.db")) as connection:
        return connection.execute("SELECT total_requests, rejected_requests FROM key_usage").fetchall()


def test_a_gateway_that_was_killed_starts_again(folder: Path) -> None:
    """What had been answered before is there: nothing waits for a clean end to be written."""
    with running_upstream() as upstream:
        with running_gateway(folder) as gateway:
            gateway.operator.create_public_route("/public", upstream.url)
            key = gateway.operator.create("keys", name="last")
            gateway.command.end()
        with running_gateway(folder) as gateway:
            assert [item["id"] for item in gateway.operator.all("keys")] == [key["id"]]
            assert gateway.ask(request("/public")).status == 200
