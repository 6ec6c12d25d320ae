"""What the kernel says of this process, under the names that Prometheus's clients give it everywhere."""

import os
import resource
import time
from collections.abc import Iterable
from pathlib import Path

from microgateway.observability.exposition import Family

PROC = Path("/proc/self")


class ProcessFacts:
    """Read anew for every page; what a system does not tell is left out."""

    def __init__(self) -> None:
        self._page_size = os.sysconf("SC_PAGE_SIZE")
        self._started_at = time.time() - time.monotonic() + _start_since_boot()

    def __call__(self) -> Iterable[Family]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        facts = [
            ("process_cpu_seconds_total", "User and system time.", used.ru_utime + used.ru_stime),
            ("process_start_time_seconds", "When the process began, since the epoch.", self._started_at),
            ("process_max_fds", "The most descriptors.", float(resource.getrlimit(resource.RLIMIT_NOFILE)[0])),
        ]
        if PROC.is_dir():
            sizes = (PROC / "statm").read_text(encoding="ascii").split()
            facts += [
                ("process_open_fds", "Open descriptors.", float(sum(1 for _ in (PROC / "fd").iterdir()))),
                ("process_virtual_memory_bytes", "Virtual memory.", float(int(sizes[0]) * self._page_size)),
                ("process_resident_memory_bytes", "Resident memory.", float(int(sizes[1]) * self._page_size)),
            ]
        for name, text, value in facts:
            family = Family(name, "counter" if name.endswith("_total") else "gauge", text)
            family.add(value)
            yield family


def _start_since_boot() -> float:
    """Seconds from the machine's start to the process's, as `/proc` tells it; else to now."""
    if not PROC.is_dir():
        return time.monotonic()
    after_name = (PROC / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return int(after_name[19]) / os.sysconf("SC_CLK_TCK")
