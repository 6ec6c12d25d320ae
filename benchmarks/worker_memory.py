"""What each process of a gateway with two workers keeps in memory: with few routes and keys, and with very many.

python benchmarks/worker_memory.py --keys 100000

Resident memory (VmRSS) counts pages that several processes share once for each; the proportional set size (PSS) counts
a share of them, so that those of all processes add up to what the machine has given away.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

if not __package__:  # run as a file: the package's folder is not on the path yet
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks import command, report
from benchmarks.peers.contender import Place
from benchmarks.peers.gateway import running_gateway
from benchmarks.processes import tree
from benchmarks.seed import Size, catalogue, write_seed
from benchmarks.workload import Cores

MEGABYTE = 1_000_000
ALLOWED_MEGABYTES = 60
SMALL = Size(routes=10, keys=10)
WORKERS = 2
ROLES = {
    "microgateway.process.worker": "worker",
    "microgateway.process.control": "control",
    "microgateway.observability.log_writer": "log writer",
}


@dataclass(frozen=True, slots=True)
class Kept:
    """By one process, in bytes."""

    role: str
    resident: int
    proportional: int


def measure(size: Size) -> list[Kept]:
    """After a start with everything in the database, as after any deployment."""
    core = Cores.choose().proxy
    with tempfile.TemporaryDirectory(prefix="benchmark-") as temporary:
        place = Place(Path(temporary), core, upstream_port=9)  # nothing is sent there
        seed = write_seed(place.folder / "seed.json", catalogue(size), upstream_port=9)
        with running_gateway("seeded", place, seed=seed):
            pass
        with running_gateway("started", place, workers=WORKERS) as gateway:
            return sorted(map(_kept, tree(gateway.process.pid)), key=lambda kept: kept.role)


def _kept(pid: int) -> Kept:
    command = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
    role = next((role for module, role in ROLES.items() if module in command), "supervisor")
    sizes = dict(_sizes(Path(f"/proc/{pid}/smaps_rollup")))
    return Kept(role, sizes["Rss"], sizes["Pss"])


def _sizes(file: Path) -> Iterator[tuple[str, int]]:
    for line in file.read_text().splitlines()[1:]:
        name, kilobytes, _ = line.split()
        yield name.rstrip(":"), int(kilobytes) * 1_024


def main(given: Sequence[str] | None = None) -> int:
    parser = command.parser("worker_memory.py", __doc__)
    parser.add_argument("--keys", type=int, default=100_000, help="keys of the large configuration (default 100000)")
    parser.add_argument("--routes", type=int, default=10, help="routes of the large configuration (default 10)")
    options = parser.parse_args(given)
    with command.ending_in_order():
        found = {size: measure(size) for size in (SMALL, Size(options.routes, options.keys))}
    print(report.machine(), end="\n\n")
    lines = [
        (
            f"{size.routes:,}",
            f"{size.keys:,}",
            kept.role,
            f"{kept.resident / MEGABYTE:.1f}",
            f"{kept.proportional / MEGABYTE:.1f}",
        )
        for size, every in found.items()
        for kept in every
    ]
    print(report.plain_table(("routes", "keys", "process", "resident MB", "PSS MB"), lines), end="\n\n")
    largest = max(kept.resident for kept in found[SMALL] if kept.role == "worker") / MEGABYTE
    met = largest < ALLOWED_MEGABYTES
    print(f"{report.met_or_missed(met)}  a worker with the small configuration < {ALLOWED_MEGABYTES} MB: {largest:.1f}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
