"""What orchestrators and load balancers ask, with the truth behind it."""

from pathlib import Path

import pytest

from microgateway import __version__
from tests.control_plane.control import Control


class TestHealth:
    async def test_all_is_well(self, control: Control) -> None:
        control.clock.advance(12.5)
        assert await control.get("/health") == {
            "status": "ok",
            "version": __version__,
            "uptime_seconds": 12.5,
            "checks": {"database": {"status": "ok", "detail": None}, "proxy": {"status": "ok", "detail": None}},
            "processes": [],
        }

    async def test_without_a_database_traffic_still_flows(self, control: Control, folder: Path) -> None:
        await control.database.close()
        (folder / "microgateway.db").write_bytes(b"no database any more" * 1_000)
        health = await control.get("/health")
        assert (health["status"], health["checks"]["database"]["status"]) == ("degraded", "failed")
        assert health["checks"]["proxy"]["status"] == "ok"
        assert (await control.get("/readyz"))["status"] == "ready"
        assert (await control.get("/livez"))["status"] == "alive"

    async def test_without_a_proxy_port_it_is_down(self, control: Control) -> None:
        control.not_ready = "The gateway is draining."
        answer = await control.client.get("/health")
        assert (answer.status_code, answer.json()["status"]) == (503, "down")
        assert answer.json()["checks"]["proxy"] == {"status": "failed", "detail": "The gateway is draining."}

    @pytest.mark.parametrize("path", ["/health", "/livez", "/readyz", "/"])
    async def test_head_is_answered_too(self, control: Control, path: str) -> None:
        answer = await control.client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")


class TestReadiness:
    async def test_it_says_why_not(self, control: Control) -> None:
        assert await control.get("/readyz") == {"status": "ready"}
        control.not_ready = "The gateway is draining."
        problem = await control.get("/readyz", 503)
        assert (problem["code"], problem["detail"]) == ("not_ready", "The gateway is draining.")
        assert (await control.get("/livez")) == {"status": "alive"}
        control.not_ready = None
        assert await control.get("/readyz") == {"status": "ready"}
