"""`microgateway run --demo`: sample data in front of the demo upstream, and a key that a `curl` line can use."""

import os
from collections.abc import Mapping
from pathlib import Path

from microgateway.control_plane.configuration import Configuration
from microgateway.demo import seed_file
from microgateway.entities import ApiKeySpec
from microgateway.errors import StartupError

KEY_FILE = "demo_api_key"
KEY_NAME = "demo"


async def prepare(configuration: Configuration, data_dir: Path, base_urls: Mapping[str, str]) -> str:
    """Loads the sample data where nothing is configured, points its services at `base_urls`, and answers an API key.

    The key is kept in the data folder (0600), so that a line pasted yesterday works today. Raises `StartupError` where
    the data folder holds another configuration.
    """
    seeded = await configuration.seed(seed_file())
    services = {service.name: service for service in configuration.services.values()}
    if not base_urls.keys() <= services.keys():
        raise StartupError(
            f"--demo: the data folder {str(data_dir)!r} holds another configuration; "
            "name an empty one in MICROGATEWAY_DATA_DIR"
        )
    for name, url in base_urls.items():
        if services[name].base_url != url:
            await configuration.merge_service(services[name].id, {"base_url": url})
    issued = next((issued for issued in seeded.keys if issued.key.name == KEY_NAME), None)
    return _keep(data_dir, issued.text) if issued is not None else await _known_key(configuration, data_dir)


async def _known_key(configuration: Configuration, data_dir: Path) -> str:
    """The key of an earlier start, or a new one where that is lost or revoked."""
    file = data_dir / KEY_FILE
    text = file.read_text().strip() if file.is_file() else ""
    principal = configuration.snapshot.keys.find(text.encode())
    if principal is not None and principal.enabled:
        return text
    issued = await configuration.create_key(ApiKeySpec(name=KEY_NAME))
    return _keep(data_dir, issued.text)


def _keep(data_dir: Path, text: str) -> str:
    descriptor = os.open(data_dir / KEY_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
    return text
