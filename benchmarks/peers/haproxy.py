"""HAProxy from Debian: key look-up in a map, request rate per key in a stick table, access log."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.peers.contender import METERED_BY_PATH, Contender, LineCount, Place
from benchmarks.peers.templates import write_config
from benchmarks.processes import free_port, running
from benchmarks.workload import KEY


def find_haproxy() -> str | None:
    """Debian keeps it in /usr/sbin, which is not on every user's PATH."""
    return shutil.which("haproxy", path=os.environ.get("PATH", os.defpath) + os.pathsep + "/usr/sbin")


@dataclass(frozen=True, slots=True)
class HAProxy:
    name: str = "haproxy"
    does: str = "key map, request rate per key (sliding window), access log line by line"

    def missing(self) -> str | None:
        return None if find_haproxy() else "haproxy is not installed (Debian: haproxy)"

    @contextmanager
    def start(self, place: Place) -> Iterator[Contender]:
        port = free_port()
        (place.folder / "keys.map").write_text(f"{KEY} bench\n")
        config = write_config("haproxy.cfg", place.folder, port=port, upstream_port=place.upstream_port)
        command = [find_haproxy() or "haproxy", "-db", "-f", str(config)]
        with running(self.name, command, core=place.core, folder=place.folder) as process:
            process.wait_for_port(port)
            yield Contender(
                name=self.name, process=process, port=port, metered=METERED_BY_PATH, records=LineCount(process.log)
            )
