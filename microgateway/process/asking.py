"""`microgateway explain`, `simulate`, `replay`, `history` and `diff`: a running gateway answers, or where none runs its
database. `restore` is for one that runs: nobody may change a database beside it.

With `--json` the API's own answer is printed. Progress goes to the terminal, never into what is piped on.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from microgateway.control_plane.dependencies import LONGEST_LIST
from microgateway.control_plane.gateway_batches import BatchRequest
from microgateway.control_plane.gateway_replays import Against, ReplayRequest
from microgateway.control_plane.gateway_requests import GatewayRequest
from microgateway.control_plane.history import told_history
from microgateway.control_plane.jobs import Progress
from microgateway.control_plane.judging import judging
from microgateway.control_plane.merge_patch import InvalidEntityError, field_errors
from microgateway.control_plane.rollback import told_diff
from microgateway.errors import StartupError
from microgateway.process.answers_as_text import batch_text, explanation_text, history_text, replay_text
from microgateway.process.control_client import ControlClient, NotRunningError
from microgateway.process.differences_as_text import diff_text, restore_text
from microgateway.process.offline import Offline, opened
from microgateway.settings import Settings

POLLED_AFTER = 0.2  # seconds
BAR = 30  # characters

T = TypeVar("T", bound=BaseModel)
Told = Callable[[float], None]


class Gateway(Protocol):
    """Who answers."""

    def explain(self, request: dict[str, Any]) -> Any: ...
    def explain_row(self, row_id: str, against: Against) -> Any: ...
    def history(self, limit: int) -> Any: ...
    def diff(self, version: int, against: int | None) -> Any: ...
    def simulate(self, scenario: dict[str, Any], told: Told) -> Any: ...
    def replay(self, asked: dict[str, Any], told: Told) -> Any: ...


class RunningGateway:
    """By its control port."""

    def __init__(self, client: ControlClient) -> None:
        self._client = client

    def explain(self, request: dict[str, Any]) -> Any:
        return self._client.call("POST", "/api/gateway/request", request)

    def explain_row(self, row_id: str, against: Against) -> Any:
        return self._client.call("GET", f"/api/gateway/rows/{row_id}?against={against}")

    def history(self, limit: int) -> Any:
        return self._client.call("GET", f"/api/config/history?limit={limit}")

    def diff(self, version: int, against: int | None) -> Any:
        query = "" if against is None else f"?against={against}"
        return self._client.call("GET", f"/api/config/history/{version}/diff{query}")

    def simulate(self, scenario: dict[str, Any], told: Told) -> Any:
        return self._wait(self._client.call("POST", "/api/gateway/batch", {**scenario, "wait_seconds": 0}), told)

    def replay(self, asked: dict[str, Any], told: Told) -> Any:
        return self._wait(self._client.call("POST", "/api/gateway/replay", {**asked, "wait_seconds": 0}), told)

    def _wait(self, job: Any, told: Told) -> Any:
        """Its result. Ctrl-C cancels it, and then it is what it has come to."""
        path = f"/api/gateway/jobs/{job['id']}"
        try:
            while job["state"] == "running":
                told(job["progress"])
                time.sleep(POLLED_AFTER)
                job = self._client.call("GET", path)
        except KeyboardInterrupt:
            job = self._client.call("DELETE", path)
        if job["error"] is not None:
            raise StartupError(job["error"])
        return job["result"]


class StoredGateway:
    """By its database, with full buckets and closed circuits."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def explain(self, request: dict[str, Any]) -> Any:
        asked = _validated(GatewayRequest, request)
        if asked.upstream == "live":
            raise StartupError("a live request needs a gateway that runs")
        return self._run(lambda here: here.simulation.ask(asked))

    def explain_row(self, row_id: str, against: Against) -> Any:
        return self._run(lambda here: here.explain_row(row_id, against))

    def history(self, limit: int) -> Any:
        return self._run(lambda here: told_history(here.configuration, limit=limit, offset=0))

    def diff(self, version: int, against: int | None) -> Any:
        return self._run(lambda here: told_diff(here.configuration, version, against, limit=LONGEST_LIST, offset=0))

    def simulate(self, scenario: dict[str, Any], told: Told) -> Any:
        asked = _validated(BatchRequest, scenario)

        async def work(here: Offline) -> BaseModel:
            snapshot = await here.configuration.proposed(asked.configuration)
            return await here.simulation.batch(asked, snapshot, _Shown(told))

        return self._run(work)

    def replay(self, asked: dict[str, Any], told: Told) -> Any:
        wanted = _validated(ReplayRequest, asked)

        async def work(here: Offline) -> BaseModel:
            snapshot = await here.configuration.proposed(wanted.configuration)
            judged = judging(here.configuration.editions(), wanted.against, wanted.configuration, snapshot)
            return await here.simulation.replay(wanted, here.log.forward(), judged, _Shown(told))

        return self._run(work)

    def _run(self, work: Callable[[Offline], Coroutine[Any, Any, BaseModel]]) -> Any:
        async def answer() -> Any:
            async with opened(self._settings) as here:
                return (await work(here)).model_dump(mode="json")

        try:
            return asyncio.run(answer())
        except InvalidEntityError as error:
            first = error.errors[0]
            raise StartupError(f"{first.field}: {first.message}") from None


class _Shown(Progress):
    """Progress that tells itself."""

    def __init__(self, told: Told) -> None:
        self._told = told
        super().__init__()

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "share" and value:
            self._told(value)


def answer(options: argparse.Namespace, settings: Settings) -> int:
    """Prints what is asked for; the exit code. Raises `MicroGatewayError`."""
    if options.offline:
        return _answer(options, StoredGateway(settings))
    try:
        return _answer(options, RunningGateway(ControlClient(settings)))
    except NotRunningError as error:
        print(f"microgateway: {error}; the database answers instead", file=sys.stderr)
        return _answer(options, StoredGateway(settings))


def restore(options: argparse.Namespace, settings: Settings) -> int:
    """Has a version restored, and prints what that changed; the exit code. Raises `MicroGatewayError`."""
    asked = {name: getattr(options, name) for name in ("dry_run", "if_version", "keys", "new_keys")}
    told = ControlClient(settings).call("POST", f"/api/config/history/{options.version}/restore", asked)
    print(json.dumps(told, indent=2) if options.json else restore_text(told))
    return 0


def _answer(options: argparse.Namespace, gateway: Gateway) -> int:
    bar = _Bar()
    if options.command == "explain" and options.row is not None:
        told, text = gateway.explain_row(options.row, options.against), explanation_text
    elif options.command == "explain":
        told, text = gateway.explain(_request(options)), explanation_text
    elif options.command == "history":
        told, text = gateway.history(options.limit), history_text
    elif options.command == "diff":
        told, text = gateway.diff(options.version, options.against), diff_text
    elif options.command == "simulate":
        told, text = gateway.simulate(_document(options.scenario), bar.show), batch_text
    else:
        told, text = gateway.replay(_period(options), bar.show), replay_text
    bar.clear()
    print(json.dumps(told, indent=2) if options.json else text(told))
    return 0


def _request(options: argparse.Namespace) -> dict[str, Any]:
    headers: dict[str, list[str]] = {}
    for line in options.header:
        name, mark, value = line.partition(":")
        if not mark:
            raise StartupError(f"--header: {line!r} is not a name, a colon and a value")
        headers.setdefault(name, []).append(value.strip())
    given = {"host": options.host, "api_key": options.key, "token": options.token, "body": options.body}
    return {
        "method": options.method,
        "path": options.path,
        "headers": headers,
        "client_ip": options.client_ip,
        "upstream": options.upstream,
        **{name: value for name, value in given.items() if value is not None},
    }


def _period(options: argparse.Namespace) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "since": options.since,
        "warm_up_seconds": options.warm_up,
        "against": options.against,
    }
    if options.until is not None:
        asked["until"] = options.until
    if options.config is not None:
        asked["configuration"] = _document(options.config)
    return asked


def _document(path: Path) -> dict[str, Any]:
    """A JSON file, or a YAML one where PyYAML is there. Raises `StartupError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise StartupError(f"{str(path)!r} can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise StartupError(f"{str(path)!r} is not UTF-8: {error}") from None
    document = _yaml(path, text) if path.suffix in (".yaml", ".yml") else _json(path, text)
    if not isinstance(document, dict):
        raise StartupError(f"{str(path)!r} holds no object")
    return document


def _json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StartupError(f"{str(path)!r} is not JSON: {error}") from None


def _yaml(path: Path, text: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise StartupError(f"{str(path)!r}: for YAML, pip install pyyaml; or write it as JSON") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise StartupError(f"{str(path)!r} is not YAML: {' '.join(str(error).split())}") from None


def _validated(model: type[T], document: dict[str, Any]) -> T:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = field_errors(error)[0]
        raise StartupError(f"{first.field}: {first.message}") from None


class _Bar:
    """One line on a terminal, which is gone when it is done."""

    def __init__(self) -> None:
        self._shown = -1

    def show(self, share: float) -> None:
        percent = int(share * 100)
        if sys.stderr.isatty() and percent != self._shown:
            self._shown = percent
            print(f"\r{'█' * int(share * BAR):░<{BAR}} {percent:3} %", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._shown >= 0:
            print(f"\r{'':{BAR + 8}}\r", end="", file=sys.stderr, flush=True)
