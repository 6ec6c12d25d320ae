"""A gateway that runs as a process, with its two ports as their users see them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from tests.kit.client import Answer, Client
from tests.kit.databases import lay_tables
from tests.kit.messages import lines
from tests.kit.waiting import PATIENCE
from tests.process.command import RUN, UVICORN, WORKERS, Command, environment, running_command

ENTRIES = {"run": RUN, "uvicorn": UVICORN, "workers": WORKERS}
_CONTROL_PORT = {
    "run": r"Control port: http://127\.0\.0\.1:(\d+)",
    "workers": r"Control port: http://127\.0\.0\.1:(\d+)",
    "uvicorn": r"INFO: +Uvicorn running on http://127\.0\.0\.1:(\d+) .*",
}
_PROXY_PORT = r"Proxy port: +https?://127\.0\.0\.1:(\d+)"


class Operator:
    """Whoever holds the admin token, at the control port."""

    def __init__(self, port: int, admin_token: str) -> None:
        self.http = httpx2.Client(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {admin_token}"},
            timeout=PATIENCE,
            trust_env=False,
        )

    def create(self, kind: str, **fields: Any) -> dict[str, Any]:
        """A new one of `services`, `routes` or `keys`, as the API answers it."""
        return self._done(self.http.post(f"/api/{kind}", json=fields), 201)

    def change(self, kind: str, entity_id: str, **fields: Any) -> None:
        self._done(self.http.patch(f"/api/{kind}/{entity_id}", json=fields), 200)

    def delete(self, kind: str, entity_id: str) -> None:
        answer = self.http.delete(f"/api/{kind}/{entity_id}")
        assert answer.status_code == 204, answer.text

    def all(self, kind: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self._done(self.http.get(f"/api/{kind}"), 200)["items"]
        return items

    def create_public_route(self, path: str, base_url: str, **fields: Any) -> dict[str, Any]:
        """A service of its own, and a route to it that asks for no key; answers the service."""
        service = self.create("services", name=f"behind {path}", base_url=base_url)
        self.create("routes", **{"path": path, "service_id": service["id"], "auth": "none", **fields})
        return service

    def readiness(self) -> int:
        return self.http.get("/readyz").status_code

    def _done(self, answer: httpx2.Response, status: int) -> dict[str, Any]:
        assert answer.status_code == status, f"{answer.status_code}: {answer.text}"
        content: dict[str, Any] = answer.json()
        return content


@dataclass(frozen=True, slots=True)
class Gateway:
    """A process that has told where its ports are."""

    command: Command
    operator: Operator
    control_port: int
    proxy_port: int
    admin_token: str

    def connect(self) -> Client:
        return Client(self.proxy_port)

    def ask(self, request: bytes) -> Answer:
        """One request on a connection of its own."""
        with self.connect() as client:
            return client.ask(request)


def request(path: str, key: str | None = None, *, method: str = "GET") -> bytes:
    """A request without a body, with this API key."""
    credentials = () if key is None else (f"X-API-Key: {key}",)
    return lines(f"{method} {path} HTTP/1.1", "Host: gateway.example", *credentials)


def assert_problem(answer: Answer, status: int, code: str, stage: str) -> None:
    """A whole answer of the gateway's own, in the shape of RFC 9457, that says which stage decided."""
    assert answer.status == status, f"{answer.status}: {answer.body[:300]!r}"
    assert answer.complete
    problem = answer.problem()
    assert (problem["code"], problem["stage"]) == (code, stage)
    assert problem["type"]
    assert problem["title"]
    assert problem["request_id"].encode() == answer.one(b"x-request-id")


@contextmanager
def running_gateway(data_folder: Path, *, entry: str = "run", umask: int = -1, **variables: str) -> Iterator[Gateway]:
    """A gateway from the moment that it has announced its ports; `entry` says by which of `ENTRIES` it is started.

    A new data folder has its tables already, unless the gateway is to make the folder under some `umask`.
    """
    if umask < 0:
        lay_tables(data_folder)
    with running_command(ENTRIES[entry], environment(data_folder, **variables), umask=umask) as command:
        proxy_port = int(command.stderr.wait_for(_PROXY_PORT)[1])
        control_port = int(command.stderr.wait_for(_CONTROL_PORT[entry])[1])
        token_file = data_folder / "admin_token"
        admin_token = variables.get("MICROGATEWAY_ADMIN_TOKEN") or token_file.read_text().strip()
        operator = Operator(control_port, admin_token)
        try:
            yield Gateway(command, operator, control_port, proxy_port, admin_token)
        finally:
            operator.http.close()
