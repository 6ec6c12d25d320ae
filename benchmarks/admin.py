"""The gateway's control API, as much of it as a benchmark needs, over the standard library's HTTP client."""

import http.client
import json
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.errors import BenchmarkError
from benchmarks.processes import POLL_SECONDS, Process

TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Admin:
    """Calls with the admin token. An entity is the JSON object that the gateway answers."""

    port: int
    token: str

    def create(self, resource: str, **fields: object) -> dict[str, Any]:
        """POST to `/api/<resource>`; gives the entity made."""
        return self._call("POST", f"/api/{resource}", fields, expected=201)

    def change(self, resource: str, identifier: str, **fields: object) -> dict[str, Any]:
        """PATCH; gives the entity as it is now."""
        return self._call("PATCH", f"/api/{resource}/{identifier}", fields, expected=200)

    def delete(self, resource: str, identifier: str) -> None:
        self._call("DELETE", f"/api/{resource}/{identifier}", None, expected=204)

    def list(self, resource: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self._call("GET", f"/api/{resource}", None, expected=200)["items"]
        return items

    def read(self, resource: str, identifier: str) -> dict[str, Any]:
        return self._call("GET", f"/api/{resource}/{identifier}", None, expected=200)

    def wait_until_ready(self, process: Process, *, timeout: float = 120.0) -> None:
        """Until `/readyz` answers 200. Raises `BenchmarkError` when the process ends first or takes longer."""
        process.wait_for_port(self.port, timeout=timeout)
        deadline = time.monotonic() + timeout
        while self._status("/readyz") != 200:
            process.check_alive()
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{process.name} is not ready after {timeout:.0f} s\n{process.tail()}")
            time.sleep(POLL_SECONDS)

    def _status(self, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        finally:
            connection.close()

    def _call(self, method: str, path: str, fields: dict[str, object] | None, *, expected: int) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        try:
            connection.request(method, path, None if fields is None else json.dumps(fields), headers)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status != expected:
            raise BenchmarkError(f"{method} {path} was answered {answer.status}: {body.decode(errors='replace')}")
        entity: dict[str, Any] = json.loads(body or b"{}")
        return entity
