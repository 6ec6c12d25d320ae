"""MICROGATEWAY_SEED: a first start that is configured already."""

import json
import re
from pathlib import Path

from tests.kit.upstream import running_upstream
from tests.process.command import REPOSITORY
from tests.process.gateway import Gateway, request, running_gateway

SEED = REPOSITORY / "seed_data" / "data.json"
PRINTED_KEY = re.compile(r"^API key '(\w+)', shown this once: (mgw_live_\w{36})$", re.MULTILINE)


def names(gateway: Gateway, kind: str, field: str) -> list[str]:
    return [item[field] for item in gateway.operator.all(kind)]


def test_the_sample_data_is_loaded_once(folder: Path) -> None:
    sample = json.loads(SEED.read_text())
    with running_upstream() as upstream:
        with running_gateway(folder, entry="uvicorn", MICROGATEWAY_SEED=str(SEED)) as gateway:
            assert names(gateway, "services", "name") == [service["name"] for service in sample["services"]]
            assert names(gateway, "routes", "path") == [route["path"] for route in sample["routes"]]
            assert names(gateway, "keys", "name") == [key["name"] for key in sample["keys"]]
            keys = dict(PRINTED_KEY.findall(gateway.command.said))
            assert list(keys) == ["demo", "reporting"]

            users = next(item for item in gateway.operator.all("services") if item["name"] == "users")
            gateway.operator.change("services", users["id"], base_url=upstream.url)
            gateway.command.terminate()
            gateway.command.wait()

        with running_gateway(folder, MICROGATEWAY_SEED=str(SEED)) as gateway:
            assert PRINTED_KEY.findall(gateway.command.said) == []
            assert len(names(gateway, "routes", "path")) == len(sample["routes"])
            for key in keys.values():
                assert gateway.ask(request("/users/1", key)).body == b"GET /users/1"
