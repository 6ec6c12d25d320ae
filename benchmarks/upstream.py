"""The upstreams: nginx with a small JSON answer for requests, and our own byte source and sink for large bodies."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers.contender import Place
from benchmarks.peers.nginx import running_nginx
from benchmarks.processes import free_port, running

REPOSITORY = Path(__file__).resolve().parents[1]


@contextmanager
def small_answers(folder: Path, *, core: int) -> Iterator[int]:
    """The upstream of the request benchmarks. Gives its port."""
    port = free_port()
    folder.mkdir()
    with running_nginx("upstream", "nginx-upstream.conf", Place(folder, core, upstream_port=0), port=port):
        yield port


@contextmanager
def large_bodies(folder: Path, *, core: int) -> Iterator[int]:
    """The upstream of the streaming benchmarks (see bulk_upstream.py). Gives its port."""
    port = free_port()
    folder.mkdir()
    command = [sys.executable, "-m", "benchmarks.bulk_upstream", str(port)]
    with running("bulk-upstream", command, core=core, folder=folder, cwd=REPOSITORY) as process:
        process.wait_for_port(port)
        yield port
