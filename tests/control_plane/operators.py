"""Operators who change whatever they like: for tests of what is left of it."""

from random import Random
from typing import Any

import httpx2

from tests.control_plane.control import Control

RECENT = 4  # versions


class Operators:
    """They have a gateway in front of one service's URL. `secrets` are the texts of all keys that they ever made."""

    def __init__(self, control: Control, seed: int, url: str = "http://127.0.0.1:9000") -> None:
        self._control = control
        self._url = url
        self._random = Random(seed)
        self._number = 0
        self._circuit = {"failure_threshold": 2, "recovery_timeout": 4}
        self.secrets: list[str] = []

    async def change(self) -> None:
        """Something; not all that is tried may be done."""
        if self._number and self._random.random() < 0.06:
            await self._restore()
            return
        kinds = ["services", "routes", "routes", "routes", "keys", "keys", "rate-limits", "token-issuers"]
        kind = self._random.choice(kinds) if self._number else "services"
        there = (await self._control.get(f"/api/{kind}"))["items"]
        what = self._random.choice(["create", "create", "create", "change", "change", "delete"]) if there else "create"
        if what == "create":
            answer = await self._control.client.post(f"/api/{kind}", json=await self._new(kind))
            assert answer.status_code in (201, 409, 422), answer.text
            self._remember(answer)
            return
        one = f"/api/{kind}/{self._random.choice(there)['id']}"
        if what == "delete":
            await self._control.client.delete(one)
        elif kind == "keys" and self._random.random() < 0.5:
            self._remember(await self._control.client.post(f"{one}/rotate", json={"overlap_seconds": 60}))
        else:
            await self._control.client.patch(one, json={"enabled": self._random.random() < 0.8})

    async def _restore(self) -> None:
        latest = self._control.configuration.snapshot.version
        version = self._random.randint(max(1, latest - RECENT), latest)
        wishes = {"new_keys": self._random.choice(["keep", "disable"])}
        answer = await self._control.client.post(f"/api/config/history/{version}/restore", json=wishes)
        assert answer.status_code == 200, answer.text

    def _remember(self, answer: httpx2.Response) -> None:
        if "key" in answer.json():
            self.secrets.append(answer.json()["key"])

    async def _new(self, kind: str) -> dict[str, Any]:
        self._number += 1
        name = f"{kind} {self._number}"
        services = (await self._control.get("/api/services"))["items"]
        service_id = self._random.choice(services)["id"] if services else "svc_nobody"
        new: dict[str, dict[str, Any]] = {
            "services": {"name": name, "base_url": self._url, "circuit_breaker": self._circuit},
            "routes": {"path": f"/{self._random.choice('abc')}/{self._number % 3}", "service_id": service_id},
            "keys": {"name": name, "requests_per_minute": 60, "burst_size": 3},
            "rate-limits": {"name": name, "requests_per_minute": 60, "burst_size": 5, "service_id": service_id},
            "token-issuers": {
                "name": name,
                "issuer": f"https://{self._number}.example",
                "audiences": ["us"],
                "jwks_url": "http://127.0.0.1:9/keys",
                "algorithms": ["RS256"],
            },
        }
        return new[kind]
