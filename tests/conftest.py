"""Fixtures for all tests."""

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck

from tests.control_plane.control import Control, running_control


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--openapi-examples", type=int, help="how many requests each endpoint gets, as described and not; at random"
    )
    parser.addoption("--real-seconds", type=float, help="how long the scenario takes that is run in both times")
    parser.addoption("--replay-rows", type=int, help="how many rows of a log are replayed, and timed")
    parser.addoption("--deaths-apart", type=int, help="instructions between two deaths; 1 for a death at every one")
    parser.addoption("--explanations", type=int, help="how many random requests are explained, and then sent")


def pytest_configure(config: pytest.Config) -> None:
    """What a run finds depends on the code, not on chance: `--hypothesis-profile default` tries its luck.

    Bytecode is kept, whatever the environment says: of a hundred gateways that start none has to compile itself.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    hypothesis.settings.register_profile(
        "usual", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
    )
    if not config.getoption("--hypothesis-profile"):
        hypothesis.settings.load_profile("usual")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest come first: at the end nobody is to wait for one of them alone."""
    files, folders = ("test_openapi.py", "test_many.py", "test_scripts.py"), ("soak", "process")
    items.sort(key=lambda item: item.path.name not in files and item.path.parent.name not in folders)


def pytest_unconfigure(config: pytest.Config) -> None:
    """The last lines are the names of what failed, one each: they are still there where an output is cut."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and not hasattr(config, "workerinput"):
        for outcome in ("failed", "error"):
            for report in reporter.stats.get(outcome, ()):
                reporter.write_line(f"{outcome}: {report.nodeid}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder that is not there yet."""
    return tmp_path / "data"


@pytest.fixture
async def control(folder: Path) -> AsyncIterator[Control]:
    """A control plane over a new SQLite file."""
    async with running_control(folder) as running:
        yield running
