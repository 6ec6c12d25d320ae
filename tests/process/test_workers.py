"""A gateway of several processes, seen from outside: one gateway. What it gets over under load: `tests/soak`."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.kit.messages import answer
from tests.kit.steps import Send
from tests.kit.upstream import Upstream, running_upstream
from tests.kit.waiting import PATIENCE, until
from tests.process.command import REPOSITORY, environment
from tests.process.gateway import Gateway, request, running_gateway
from tests.process.stoppable import stoppable_upstream
from tests.process.test_request_log import logged
from tests.process.traffic import traffic

CONNECTIONS = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workers") / "data"


@pytest.fixture(scope="module")
def gateway(folder: Path) -> Iterator[Gateway]:
    """One for the module: whatever a test does to it, it has got over when the next one comes."""
    settings = folder.parent / "settings.env"
    settings.write_text("DEFAULT_BURST_SIZE=5\n")
    with running_gateway(folder, entry="workers", MICROGATEWAY_ENV_FILE=str(settings)) as gateway:
        yield gateway


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        yield upstream


def processes(gateway: Gateway, kind: str) -> list[int]:
    """The gateway's own processes of this kind, by their ids."""
    found = []
    for child in _children(gateway.command.pid):
        command = _command(child)
        if f"microgateway.process.{kind}" in command:
            found.append(child)
    return found


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def create_key(gateway: Gateway, **fields: Any) -> dict[str, Any]:
    return gateway.operator.create("keys", **{"name": "key", **fields})


def spread(gateway: Gateway, asked: bytes, count: int = CONNECTIONS) -> Counter[int]:
    """The statuses of one request on each of so many connections at once: some reach one worker, some the other."""
    with ThreadPoolExecutor(count) as pool:
        return Counter(answer.status for answer in pool.map(gateway.ask, [asked] * count))


def test_a_key_s_limit_is_one_limit_and_everything_is_counted_once(gateway: Gateway, upstream: Upstream) -> None:
    service = gateway.operator.create("services", name="s", base_url=upstream.url)
    gateway.operator.create("routes", path="/limited", service_id=service["id"])
    key = create_key(gateway, requests_per_minute=1)
    assert spread(gateway, request("/limited", key["key"])) == {200: 5, 429: CONNECTIONS - 5}

    def told() -> tuple[int, int, int, int, int]:
        http = gateway.operator.http
        of_key = http.get(f"/api/keys/{key['id']}").json()
        of_service = http.get(f"/api/services/{service['id']}").json()
        metrics = http.get("/api/metrics/dashboard").json()
        totals = (of_key["total_requests"], of_key["rejected_requests"], of_service["total_requests"])
        return *totals, metrics["requests"]["value"], http.get("/api/logs").json()["total"]

    wanted = (CONNECTIONS, CONNECTIONS - 5, 5, CONNECTIONS, CONNECTIONS)
    until(lambda: told() == wanted, "everything is counted, and written")
    assert Counter(row["status"] for row in logged(gateway)) == {200: 5, 429: CONNECTIONS - 5}


def test_a_change_is_in_force_everywhere_when_the_call_returns(gateway: Gateway, upstream: Upstream) -> None:
    service = gateway.operator.create_public_route("/changes", upstream.url)
    for number in range(5):
        key = create_key(gateway, name=f"k{number}", requests_per_minute=10_000, burst_size=1_000)
        route = gateway.operator.create("routes", path=f"/b{number}", service_id=service["id"])
        asked = request(f"/b{number}", key["key"])
        assert spread(gateway, asked) == {200: CONNECTIONS}
        gateway.operator.delete("keys", key["id"])
        assert spread(gateway, asked) == {401: CONNECTIONS}
        gateway.operator.change("routes", route["id"], auth="none")
        assert spread(gateway, asked) == {200: CONNECTIONS}
        gateway.operator.delete("routes", route["id"])
        assert spread(gateway, asked) == {401: CONNECTIONS}
    guard = gateway.operator.create(
        "rate-limits", name="guard", service_id=service["id"], count_by="all", requests_per_minute=1, burst_size=1
    )
    assert spread(gateway, request("/changes")) == {200: 1, 429: CONNECTIONS - 1}
    gateway.operator.change("rate-limits", guard["id"], enabled=False)
    gateway.operator.change("services", service["id"], enabled=False)
    assert spread(gateway, request("/changes")) == {503: CONNECTIONS}
    gateway.operator.change("services", service["id"], enabled=True)
    assert spread(gateway, request("/changes/last")) == {200: CONNECTIONS}
    version = gateway.operator.http.get("/api/config/history").json()["version"]
    rows = gateway.operator.http.get(f"/api/logs?path=/changes/last&page_size={CONNECTIONS}").json()["items"]
    assert [row["configuration_version"] for row in rows] == [version] * CONNECTIONS  # whichever worker it was


def test_a_version_that_is_restored_is_in_force_everywhere_when_the_call_returns(
    gateway: Gateway, upstream: Upstream
) -> None:
    """By a change where nothing comes back, by all of it where something does; a row's version is whose it was."""

    def restore(version: int) -> int:
        answer = gateway.operator.http.post(f"/api/config/history/{version}/restore")
        assert answer.status_code == 200, answer.text
        restored: int = answer.json()["version"]
        return restored

    key = create_key(gateway, name="held", requests_per_minute=10_000, burst_size=1_000)
    service = gateway.operator.create_public_route("/restored", upstream.url)
    asked, keyed = request("/restored"), request("/kept", key["key"])
    with_it: int = gateway.operator.http.get("/api/config/history").json()["version"]
    gateway.operator.change("services", service["id"], enabled=False)
    gateway.operator.create("routes", path="/kept", service_id=service["id"])
    assert spread(gateway, asked) == spread(gateway, keyed) == {503: CONNECTIONS}
    restore(with_it)
    assert (spread(gateway, asked), spread(gateway, keyed)) == ({200: CONNECTIONS}, {404: CONNECTIONS})
    (route,) = (route for route in gateway.operator.all("routes") if route["path"] == "/restored")
    gateway.operator.delete("routes", route["id"])
    assert spread(gateway, asked) == {401: CONNECTIONS}
    version = restore(with_it)
    assert spread(gateway, request("/restored/again")) == {200: CONNECTIONS}
    rows = gateway.operator.http.get(f"/api/logs?path=/restored/again&page_size={CONNECTIONS}").json()["items"]
    assert [row["configuration_version"] for row in rows] == [version] * CONNECTIONS
    told = gateway.operator.http.get(f"/api/gateway/rows/{rows[0]['id']}").json()
    assert (told["is_served"], told["answer"]["configuration_version"]) == (True, version)


def test_as_process_1_it_reaps_what_others_leave_behind(gateway: Gateway) -> None:
    """The log's writer is a child of the control process; when that is killed, process 1 has to see to its end."""
    (control,) = processes(gateway, "control")
    (writer,) = _children(control)
    os.kill(control, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{writer}").exists(), "the writer has ended, and was reaped")
    until(lambda: processes(gateway, "control") not in ([], [control]), "another control process is started")
    until(lambda: gateway.operator.readiness() == 200, "it is ready")
    assert len(_children(gateway.command.pid)) == 3


def test_a_rule_that_is_deleted_gives_its_room_in_the_memory_back(gateway: Gateway, upstream: Upstream) -> None:
    gateway.operator.create_public_route("/ruled", upstream.url)
    for _ in range(3):
        rule = gateway.operator.create(
            "rate-limits", name="ruled", path="/ruled", count_by="address", requests_per_minute=1, burst_size=5
        )
        assert spread(gateway, request("/ruled")) == {200: 5, 429: CONNECTIONS - 5}
        shown = gateway.operator.http.get(f"/api/rate-limits/{rule['id']}").json()
        assert (shown["admitted"], shown["refused"], shown["subjects"]) == (5, CONNECTIONS - 5, 1)
        gateway.operator.delete("rate-limits", rule["id"])
    assert spread(gateway, request("/ruled")) == {200: CONNECTIONS}


def test_a_circuit_is_one_circuit(gateway: Gateway) -> None:
    service = gateway.operator.create(
        "services",
        name="down",
        base_url="http://127.0.0.1:1",
        circuit_breaker={"failure_threshold": 3, "recovery_timeout": 600},
    )
    gateway.operator.create("routes", path="/down", service_id=service["id"], auth="none")
    statuses = [gateway.ask(request("/down")).status for _ in range(12)]
    assert Counter(statuses) == {502: 3, 503: 9}
    breaker = f"/api/circuit-breakers/{service['id']}"
    until(lambda: len(gateway.operator.http.get(breaker).json()["history"]) == 1, "the worker has told of it")
    shown = gateway.operator.http.get(breaker).json()
    assert (shown["state"], shown["trips"], shown["history"][0]["after"]) == ("open", 1, "open")
    assert gateway.operator.http.post(f"{breaker}/reset").json()["state"] == "closed"
    assert [gateway.ask(request("/down")).status for _ in range(4)] == [502, 502, 502, 503]


def test_health_is_asked_once_and_known_everywhere(gateway: Gateway, upstream: Upstream) -> None:
    with stoppable_upstream() as sick:
        sick.stop()
        service = gateway.operator.create(
            "services",
            name="checked",
            base_url=upstream.url,
            targets=[{"url": upstream.url}, {"url": sick.url}],
            health_check={"enabled": True, "unhealthy_threshold": 1, "healthy_threshold": 1, "interval_seconds": 3_600},
        )
        gateway.operator.create("routes", path="/checked", service_id=service["id"], auth="none")
        gateway.operator.http.post(f"/api/services/{service['id']}/health-check")
        until(lambda: spread(gateway, request("/checked"), 40) == {200: 40}, "both workers leave the sick one alone")
    assert sick.asked == 0


def test_what_one_worker_ejects_all_leave_alone(gateway: Gateway, upstream: Upstream) -> None:
    with running_upstream() as sick:
        sick.usually(Send(answer(503)))
        service = gateway.operator.create(
            "services",
            name="ejecting",
            base_url=upstream.url,
            targets=[{"url": upstream.url}, {"url": sick.url}],
            passive_health={"consecutive_failures": 2, "ejection_seconds": 600},
        )
        gateway.operator.create("routes", path="/ejecting", service_id=service["id"], auth="none", retries=0)

        def shown() -> str:
            listed = gateway.operator.http.get("/api/health/services").json()["items"]
            targets = next(one for one in listed if one["id"] == service["id"])["targets"]
            return str(next(one for one in targets if one["url"] == sick.url)["status"])

        with gateway.connect() as client:  # of one worker
            while len(sick.requests) < 2:
                client.ask(request("/ejecting"))
            until(lambda: shown() == "ejected", "the worker has told of it")
        assert spread(gateway, request("/ejecting"), 40) == {200: 40}
        assert len(sick.requests) == 2


def test_a_reload_takes_on_new_settings_and_fails_no_request(
    gateway: Gateway, upstream: Upstream, folder: Path
) -> None:
    gateway.operator.create_public_route("/reloaded", upstream.url)
    with traffic(gateway, "/reloaded", clients=4) as seen:
        until(lambda: seen.answers > 50, "there is traffic")
        before, done = {kind: processes(gateway, kind) for kind in ("worker", "control")}, reloads(gateway)
        (folder.parent / "settings.env").write_text("DEFAULT_BURST_SIZE=7\n")
        command = [sys.executable, "-m", "microgateway", "reload"]
        subprocess.run(command, cwd=REPOSITORY, env=environment(folder), check=True, timeout=PATIENCE)
        until(lambda: reloads(gateway) > done, "it says that it has reloaded")
        until(lambda: len(processes(gateway, "worker")) == 2, "the old ones have ended")
        asked = seen.answers
        until(lambda: seen.answers > asked + 50, "the new ones serve")
    assert not seen.failures
    assert seen.statuses.keys() == {200}
    assert create_key(gateway)["burst_size"] == 7, "the settings are those of now"
    for kind, pids in before.items():
        assert not set(pids) & set(processes(gateway, kind)), kind


def reloads(gateway: Gateway) -> int:
    return gateway.command.stderr.lines.count("microgateway: reloaded")


def test_no_gateway_is_reloaded_where_none_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "microgateway", "reload"]
    done = subprocess.run(
        command,
        check=False,
        cwd=REPOSITORY,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("microgateway: no gateway with workers runs on the data folder")


def test_a_supervisor_that_is_killed_takes_the_others_with_it(tmp_path: Path) -> None:
    with running_gateway(tmp_path, entry="workers") as gateway:
        every = processes(gateway, "")
        os.kill(gateway.command.pid, signal.SIGKILL)
        until(lambda: not [pid for pid in every if "microgateway" in _command(pid)], "they have ended")


def test_a_worker_is_small(gateway: Gateway) -> None:
    for worker in processes(gateway, "worker"):
        status = Path(f"/proc/{worker}/status").read_text()
        resident = int(status.split("VmRSS:")[1].split()[0]) // 1024
        assert resident < 60, f"{resident} MB"


def test_it_ends_in_order_and_leaves_nobody_behind(gateway: Gateway, upstream: Upstream) -> None:
    gateway.operator.create_public_route("/end", upstream.url)
    assert spread(gateway, request("/end")) == {200: CONNECTIONS}
    every = processes(gateway, "")
    assert len(every) == 3
    gateway.command.terminate()
    assert gateway.command.wait() == 0
    assert not [pid for pid in every if "microgateway" in _command(pid)]
