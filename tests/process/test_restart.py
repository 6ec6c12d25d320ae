"""A gateway that is started again where it was stopped."""

from pathlib import Path
from typing import Any

from tests.kit.upstream import running_upstream
from tests.process.gateway import Gateway, assert_problem, request, running_gateway

KINDS = ("services", "routes", "keys")
SINCE_THE_START = {
    "health",
    "circuit",
    "total_requests",
    "total_errors",
    "error_rate",
    "rejected_requests",
    "last_used_at",
}


def configured(gateway: Gateway) -> dict[str, list[dict[str, Any]]]:
    """Everything that an operator has configured, without what the gateway has seen since its start."""
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
