"""A seed file: what it may say, and that it is loaded whole, once, and quickly."""

import json
import secrets
import time
from pathlib import Path
from typing import Any

import pytest

from microgateway.control_plane.seed import NOTHING_SEEDED
from microgateway.core import api_keys
from microgateway.core.routing import NotRouted
from microgateway.demo import seed_file
from microgateway.errors import StartupError
from tests.control_plane.control import Control, running_control

TEXT = api_keys.generate(secrets.randbelow)
SERVICE = {"name": "users", "base_url": "http://127.0.0.1:9000"}
SEED: dict[str, list[dict[str, Any]]] = {
    "services": [
        SERVICE,
        {"name": "orders", "base_url": "http://127.0.0.1:9001", "circuit_breaker": {"failure_threshold": 2}},
    ],
    "routes": [{"path": "/users", "service": "users"}, {"path": "/orders", "service": "orders", "methods": ["get"]}],
    "keys": [{"name": "mine", "key": TEXT}, {"name": "new", "requests_per_minute": 600}],
}


def written(tmp_path: Path, document: object) -> Path:
    path = tmp_path / "seed.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


class TestSeed:
    async def test_it_is_in_force_and_kept(self, control: Control, tmp_path: Path) -> None:
        seeded = await control.configuration.seed(written(tmp_path, SEED))
        assert [service.name for service in seeded.services] == ["users", "orders"]
        assert [route.path for route in seeded.routes] == ["/users", "/orders"]
        assert [issued.key.name for issued in seeded.keys] == ["mine", "new"]
        assert seeded.keys[0].text == TEXT
        assert TEXT not in repr(seeded)
        snapshot = control.published[-1]
        for issued in seeded.keys:
            assert api_keys.is_well_formed(issued.text)
            principal = snapshot.keys.find(issued.text.encode())
            assert principal is not None
            assert principal.id == issued.key.id
        destination = snapshot.match(b"GET", b"", b"/orders/1")
        assert not isinstance(destination, NotRouted)
        assert (destination.upstream.name, destination.upstream.circuit.failure_threshold) == ("orders", 2)
        assert [service["name"] for service in (await control.get("/api/services"))["items"]] == ["users", "orders"]

    async def test_the_second_start_loads_nothing(self, folder: Path, tmp_path: Path) -> None:
        path = written(tmp_path, SEED)
        async with running_control(folder) as first:
            await first.configuration.seed(path)
            before = await first.get("/api/keys")
        async with running_control(folder) as second:
            assert await second.configuration.seed(path) is NOTHING_SEEDED
            assert await second.get("/api/keys") == before

    @pytest.mark.parametrize("what", ["services", "keys"])
    async def test_it_does_not_touch_what_is_configured(self, control: Control, tmp_path: Path, what: str) -> None:
        await (control.service("own") if what == "services" else control.key("own"))
        assert await control.configuration.seed(written(tmp_path, SEED)) is NOTHING_SEEDED
        assert (await control.get(f"/api/{what}"))["total"] == 1

    async def test_an_empty_file_of_lists_is_fine(self, control: Control, tmp_path: Path) -> None:
        seeded = await control.configuration.seed(written(tmp_path, {}))
        assert (seeded.services, seeded.routes, seeded.keys) == ((), (), ())

    async def test_the_sample_data_is_good(self, control: Control) -> None:
        seeded = await control.configuration.seed(seed_file())
        assert seeded.services
        assert seeded.routes
        assert seeded.keys

    @pytest.mark.parametrize(
        ("document", "complaint"),
        [
            ("{", "is not JSON"),
            pytest.param("[" * 50_000, "is not JSON", id="too deep"),
            ("[]", "must be an object"),
            ({"service": []}, "must be an object with the lists services, routes, keys"),
            ({"services": {}}, "services: must be a list"),
            ({"services": ["users"]}, "services[0]: must be an object"),
            ({"services": [SERVICE, {"name": "a"}]}, "services[1].base_url: "),
            ({"services": [SERVICE, SERVICE]}, "services: two of them have the same name"),
            ({"routes": [{"path": "/a", "service": "users"}]}, "routes[0].service: this file has no service 'users'"),
            ({"services": [SERVICE], "routes": [{"path": "/a"}]}, "routes[0].service: this is required"),
            ({"routes": [{"path": "/a", "service_id": "svc_1"}]}, "routes[0].service_id: a file knows no ids"),
            ({"services": [SERVICE], "routes": [{"path": "a", "service": "users"}]}, "routes[0].path: "),
            ({"keys": [{"name": "a"}, {"name": "b", "burst": 1}]}, "keys[1].burst: "),
            ({"keys": [{"name": "a", "key": TEXT[:-1] + "!"}]}, "keys[0].key: "),
            ({"keys": [{"name": "a", "key": 7}]}, "keys[0].key: "),
            (
                {"keys": [{"name": "a", "key": TEXT}, {"name": "b", "key": TEXT}]},
                "keys: two of them have the same text",
            ),
        ],
    )
    async def test_a_fault_is_one_line_and_loads_nothing(
        self, control: Control, tmp_path: Path, document: object, complaint: str
    ) -> None:
        with pytest.raises(StartupError) as caught:
            await control.configuration.seed(written(tmp_path, document))
        message = str(caught.value)
        assert complaint in message
        assert "seed.json" in message
        assert len(message.splitlines()) == 1
        assert TEXT not in message
        assert (await control.get("/api/services"))["total"] == 0

    async def test_a_file_that_is_not_there(self, control: Control, tmp_path: Path) -> None:
        with pytest.raises(StartupError, match=r"nowhere\.json': can't be read: No such file"):
            await control.configuration.seed(tmp_path / "nowhere.json")

    async def test_a_large_one_is_loaded_quickly(self, control: Control, tmp_path: Path) -> None:
        """Timed as a guard against one transaction for each entry, which would take a minute; it takes a second."""
        document = {
            "services": [SERVICE],
            "routes": [{"path": f"/r{number}", "service": "users"} for number in range(1_000)],
            "keys": [{"name": f"k{number}", "key": api_keys.generate(secrets.randbelow)} for number in range(5_000)],
        }
        path = written(tmp_path, document)
        began = time.perf_counter()
        await control.configuration.seed(path)
        assert time.perf_counter() - began < 20
        assert len(control.published[-1].keys) == 5_000
        assert (await control.get("/api/routes", params={"limit": 1}))["total"] == 1_000
