"""`microgateway explain`, `simulate` and `replay`: of a gateway that runs, and of one that does not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from microgateway.cli import main
from tests.kit.upstream import Upstream, running_upstream
from tests.kit.waiting import until
from tests.process.command import environment
from tests.process.gateway import Gateway, request, running_gateway
from tests.process.test_request_log import logged

Ask = Callable[..., str]


@pytest.fixture
def ask(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """What a command prints. `port` is the control port; `code` is how it ends."""

    def run(*arguments: str, port: int, code: int = 0) -> str:
        for name, value in environment(folder, MICROGATEWAY_PORT=str(port)).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        printed = capsys.readouterr()
        assert ended.value.code == code, printed
        return printed.out if code == 0 else printed.err

    return run


def shop(gateway: Gateway, upstream: Upstream) -> str:
    """Orders behind a key with two requests a minute, which has used up three; answers the key when they are logged."""
    service = gateway.operator.create("services", name="orders", base_url=upstream.url)
    gateway.operator.create("routes", path="/orders", service_id=service["id"], methods=["GET"])
    key: str = gateway.operator.create("keys", name="mobile", requests_per_minute=1, burst_size=2)["key"]
    assert [gateway.ask(request("/orders/7", key)).status for _ in range(3)] == [200, 200, 429]
    until(lambda: len(logged(gateway)) == 3, "the rows are written")
    return key


def test_a_running_gateway_is_asked(folder: Path, ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_upstream() as upstream, running_gateway(folder) as gateway:
        key, port = shop(gateway, upstream), gateway.control_port
        explained = ask("explain", "POST", "/orders/7?a=b", "--key", key, "-H", "X-Foo: bar", port=port)
        assert explained.startswith("429  rate_limited\n")
        assert "method: POST is not GET" in explained
        assert "2 at once" in explained
        told = json.loads(ask("explain", "GET", "/nowhere", "--json", port=port))
        assert told["code"] == "api_key_missing"

        row = logged(gateway)[0]
        of_row = ask("explain", "--row", str(row["id"]), port=port)
        assert "GET /orders/7 → 429 rate_limited" in of_row
        assert "It is from 'mobile'." in of_row
        assert f"Under version {row['configuration_version']} of the configuration, which served it" in of_row

        scenario = tmp_path / "scenario.yaml"
        scenario.write_text(
            f"requests: [{{path: /orders, api_key: {key}}}]\narrivals: {{per_second: 1, seconds: 60}}\n"
            "configuration: {keys: {mobile: {burst_size: 10}}}\n"
        )
        simulated = ask("simulate", str(scenario), port=port)
        assert simulated.startswith("60 requests in ")
        assert "10        200     proxy" in simulated

        proposed = tmp_path / "proposed.json"
        proposed.write_text(json.dumps({"keys": {"mobile": {"burst_size": 1}}}))
        replayed = ask("replay", "--since", "1h", "--config", str(proposed), port=port)
        assert replayed.startswith("1 of 3 requests ")
        assert "key mobile would have seen 2 of 3 requests refused by limits, and saw 1" in replayed
        assert ask("replay", "--since", "1h", port=port).startswith("0 of 3 requests ")

        served = row["configuration_version"]
        gateway.operator.change("keys", row["key_id"], burst_size=1)
        assert f"{served + 1}        " in ask("history", port=port)
        assert ask("replay", "--since", "1h", port=port).startswith("1 of 3 requests ")
        as_served = ask("replay", "--since", "1h", "--against", "served", port=port)
        assert as_served.startswith("0 of 3 requests ")
        assert f"served by version  requests\n{served}" in as_served
        now = ask("explain", "--row", str(row["id"]), "--against", "in_force", port=port)
        assert f"Under version {served + 1} of the configuration, which is in force" in now

        assert f"~ key mobile ({row['key_id']})\n    burst_size: 2 → 1\n" in ask("diff", str(served), port=port)
        would = ask("restore", str(served), "--dry-run", port=port)
        assert would.startswith(
            f"to restore version {served} would change, from version {served + 1}, which is in force:"
        )
        refused = ask("restore", str(served), "--if-version", "1", port=port, code=1)
        assert f"Version {served + 1} is in force, and no longer 1." in refused
        done = ask("restore", str(served), "--if-version", str(served + 1), port=port)
        assert f"in force as version {served + 2}; it changed:\n~ key mobile" in done
        assert "    burst_size: 1 → 2" in done
        assert "is no different from" in ask("restore", str(served), port=port)

        refused = ask("history", "--limit", "0", port=port, code=1)
        assert refused == "microgateway: limit: Input should be greater than or equal to 1\n"
        monkeypatch.setenv("MICROGATEWAY_ADMIN_TOKEN", "somebody-elses")
        stranger = ask("history", port=port, code=1)
        assert f"127.0.0.1:{port}" in stranger
        assert "MICROGATEWAY_ADMIN_TOKEN, or MICROGATEWAY_DATA_DIR" in stranger


def test_of_a_gateway_with_workers_the_tokens_and_circuits_of_all_are_told(folder: Path, ask: Ask) -> None:
    with running_upstream() as upstream, running_gateway(folder, entry="workers") as gateway:
        key = shop(gateway, upstream)
        told = json.loads(ask("explain", "GET", "/orders/7", "--key", key, "--json", port=gateway.control_port))
        (limit,) = next(stage["limits"] for stage in told["stages"] if stage["limits"])
        assert (told["code"], limit["admitted"]) == ("rate_limited", False)
        assert limit["tokens_before"] < 1
        sent = json.loads(
            ask("explain", "GET", "/open", "--upstream", "simulated", "--json", port=gateway.control_port)
        )
        assert sent["code"] == "api_key_missing"
        until(lambda: len(logged(gateway)) == 4, "the row of the simulated one")
        assert sorted(row["simulated"] for row in logged(gateway)) == [False, False, False, True]


def test_the_database_answers_where_no_gateway_runs(folder: Path, ask: Ask, tmp_path: Path) -> None:
    with running_upstream() as upstream, running_gateway(folder) as gateway:
        key = shop(gateway, upstream)
    scenario = tmp_path / "scenario.json"
    scenario.write_text(json.dumps({"requests": [{"path": "/orders", "api_key": key}] * 3}))
    told: Any = json.loads(ask("explain", "GET", "/orders", "--key", key, "--json", port=9))
    assert (told["status"], told["stage"]) == (None, "proxy")
    assert json.loads(ask("simulate", str(scenario), "--json", "--offline", port=9))["admitted"] == 2
    assert ask("replay", "--since", "1h", "--against", "served", "--offline", port=9).startswith("0 of 3 requests ")
    assert ask("history", "--offline", port=9).startswith("version 4 is in force; 1 is the oldest that is kept\n")
    assert ask("diff", "2", "--against", "3", "--offline", port=9).startswith(
        "from version 2 to version 3:\n+ route /orders (rt_"
    )
    assert "no gateway answers" in ask("restore", "2", port=9, code=1)
    assert "GET /orders/7 → 429" in ask("explain", "--row", "3", "--offline", port=9)
    assert "with the id '4'" in ask("explain", "--row", "4", "--offline", port=9, code=1)
    assert "Say when by ISO 8601" in ask("replay", "--since", "yesterday", "--offline", port=9, code=1)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("explain", "GET", "/", "--header", "nonsense"), "is not a name, a colon and a value"),
        (("explain", "GET", "/", "--client-ip", "nowhere"), "client_ip"),
        (("explain", "GET", "/", "--upstream", "live"), "a live request needs a gateway that runs"),
        (("explain", "GET", "/"), "no gateway has run"),
        (("replay",), "no gateway has run"),
        (("simulate", "missing.json"), "can't be read"),
    ],
)
def test_what_makes_no_sense_is_one_line(arguments: tuple[str, ...], complaint: str, ask: Ask, folder: Path) -> None:
    said = ask(*arguments, "--offline", port=9, code=1)
    assert complaint in said
    assert said.count("\n") == 1
    assert not folder.exists()
