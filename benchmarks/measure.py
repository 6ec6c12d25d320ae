"""Processor time and memory of a process with its threads and children, as the kernel accounts them.

Time comes from /proc/PID/task/TID/schedstat: nanoseconds on a processor (user + system), with the kernel's own network
work done on the process's behalf inside. A thread that ends takes its line along; then /proc/PID/stat is used, which
counts ended threads and waited-for children too, in clock ticks of 10 ms.
"""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import tree

NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ProcessorTime:
    """A reading at one moment: nanoseconds by thread id, and the whole in seconds, in steps of 10 ms."""

    by_thread: Mapping[int, int]
    ticked: float

    @classmethod
    def read(cls, pid: int, without: Collection[int] = ()) -> "ProcessorTime":
        """That of a process and all below it but those `without`."""
        family = [member for member in tree(pid) if member not in without]
        by_thread: dict[int, int] = {}
        for member in family:
            by_thread |= _threads(member)
        return cls(by_thread=by_thread, ticked=sum(_ticked(member) for member in family))

    def seconds_since(self, earlier: "ProcessorTime") -> float:
        """Seconds of processor time between the two readings."""
        if earlier.by_thread and earlier.by_thread.keys() <= self.by_thread.keys():
            return (sum(self.by_thread.values()) - sum(earlier.by_thread.values())) / NANOSECONDS
        return self.ticked - earlier.ticked


def own_seconds(pid: int) -> float:
    """Processor time of this process alone, without its children, up to now. Threads that ended are not in it."""
    return sum(_threads(pid).values()) / NANOSECONDS


def _threads(pid: int) -> dict[int, int]:
    spent: dict[int, int] = {}
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        try:
            spent[int(thread.name)] = int((thread / "schedstat").read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread ended while we looked, or the kernel keeps no schedstat: `ticked` stands in
    return spent


def _ticked(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")  # utime stime cutime cstime


def resident_bytes(pid: int) -> int:
    """Resident memory of the process and its children, now."""
    return sum(_status(member, "VmRSS") for member in tree(pid))


def peak_resident_bytes(pid: int) -> int:
    """The most that this process alone ever had resident (VmHWM)."""
    return _status(pid, "VmHWM")


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0
