"""How many workers there are where nobody has said it."""

import os
from pathlib import Path

import pytest

from microgateway.cli import default_workers
from microgateway.process.cores import usable_cores

ALL = len(os.sched_getaffinity(0))


def cores(folder: Path, quota: str | None, group: str = "0::/system.slice/gateway.service\n") -> int:
    """With this `cpu.max` of the group that the process is in."""
    (folder / "own").write_text(group)
    if quota is not None:
        (folder / "system.slice/gateway.service").mkdir(parents=True)
        (folder / "system.slice/gateway.service/cpu.max").write_text(quota)
    return usable_cores(own_group=folder / "own", groups=folder)


@pytest.mark.parametrize("quota", [None, "max 100000\n", "6400000 100000\n"])
def test_as_many_as_it_may_run_on(quota: str | None, tmp_path: Path) -> None:
    assert cores(tmp_path, quota) == ALL


@pytest.mark.parametrize(("quota", "expected"), [("50000 100000\n", 1), ("100000 100000\n", 1), ("150000 100000\n", 2)])
def test_no_more_than_the_quota_allows(quota: str, expected: int, tmp_path: Path) -> None:
    assert cores(tmp_path, quota) == min(expected, ALL)


def test_older_groups_say_nothing(tmp_path: Path) -> None:
    assert cores(tmp_path, None, "12:cpu,cpuacct:/docker/4711\n") == ALL


def test_one_core_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})
    assert default_workers(demo=False) == 1


def test_a_demo_is_one_process_and_a_huge_machine_has_60(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(128)))
    assert (default_workers(demo=True), default_workers(demo=False)) == (1, 60)
