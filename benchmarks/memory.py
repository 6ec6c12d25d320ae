"""A large body down and up through the gateway, against a client and an upstream that stop reading: its peak memory.

python benchmarks/memory.py --mebibytes 1024
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # run as a file: the package's folder is not on the path yet
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks import command, report
from benchmarks.bulk import MEBIBYTE, BulkClient
from benchmarks.errors import BenchmarkError
from benchmarks.measure import peak_resident_bytes
from benchmarks.peers.gateway import Gateway
from benchmarks.standing import standing
from benchmarks.upstream import large_bodies
from benchmarks.workload import HEADERS, Cores

MEGABYTE = 1_000_000
ALLOWED_MEGABYTES = 150
PAUSE_SECONDS = 2.0  # long enough to pile up a gigabyte in a proxy that does not push back


def measure(size: int) -> dict[str, int]:
    """The gateway's peak resident bytes (VmHWM) at the start, after the download and after the upload."""
    cores = Cores.choose()
    cores.keep_proxy_core_free()
    gateway = Gateway(methods=("GET", "POST"))
    if reason := gateway.missing():
        raise BenchmarkError(reason)
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as temporary,
        large_bodies(Path(temporary) / "upstream", core=cores.load) as upstream_port,
        standing([gateway], Path(temporary), upstream_port=upstream_port, cores=cores) as contenders,
    ):
        (contender,) = contenders
        client = BulkClient(
            name=contender.name,
            port=contender.port,
            prefix=contender.call.path,
            headers=HEADERS | dict(contender.call.headers()),
            checked=True,
        )
        peaks = {"started": peak_resident_bytes(contender.process.pid)}
        client.download(size, pause=PAUSE_SECONDS)
        peaks["after the download"] = peak_resident_bytes(contender.process.pid)
        client.upload(size, pause=PAUSE_SECONDS)
        peaks["after the upload"] = peak_resident_bytes(contender.process.pid)
    return peaks


def main(given: Sequence[str] | None = None) -> int:
    parser = command.parser("memory.py", __doc__)
    parser.add_argument("--mebibytes", type=int, default=1024, help="size of each body (default 1024)")
    options = parser.parse_args(given)
    with command.ending_in_order():
        peaks = measure(options.mebibytes * MEBIBYTE)
    print(report.machine())
    print(f"{options.mebibytes} MiB down, then up, each with a pause of {PAUSE_SECONDS:g} s; contents checked\n")
    for moment, size in peaks.items():
        print(f"peak resident memory {moment}: {size / MEGABYTE:.1f} MB")
    met = max(peaks.values()) < ALLOWED_MEGABYTES * MEGABYTE
    print(f"{report.met_or_missed(met)}  below {ALLOWED_MEGABYTES} MB")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
