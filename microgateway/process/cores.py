"""How many processor cores this process can keep busy: those that it may run on, and no more than its quota allows."""

import os
from math import ceil
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUP = Path("/proc/self/cgroup")


def usable_cores(*, own_group: Path = OWN_GROUP, groups: Path = CGROUPS) -> int:
    """At least one. A container that may use half a core of a machine with 64 has one."""
    if not hasattr(os, "sched_getaffinity"):
        return 1  # not Linux, where several workers need what only Linux has
    return max(1, ceil(min(len(os.sched_getaffinity(0)), _quota(own_group, groups))))


def _quota(own_group: Path, groups: Path) -> float:
    """Cores, by the control group that this process is in (cgroup v2). Infinite where nobody has said anything."""
    try:
        lines = own_group.read_text().splitlines()
        own = next(line.removeprefix("0::/") for line in lines if line.startswith("0::/"))
        allowed, period = (groups / own / "cpu.max").read_text().split()
        return float(allowed) / float(period) if allowed != "max" else float("inf")
    except (OSError, StopIteration):  # another kind of groups, or the root of all, which has no quota
        return float("inf")
