"""One browser, one gateway and one tab for a worker's tests: to load the page costs more than most of them.

Without Chromium the tests are skipped and say so; never under CI=true, where somebody relies on them.
"""

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from tests.dashboard.browser import Dashboard, open_tab
from tests.process.gateway import Gateway, running_gateway
from tests.process.stoppable import StoppableUpstream, stoppable_upstream

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = (
    "--no-sandbox",  # as root, in a container, there is none to have
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here runs in one event loop: the browser's connection lives in it."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def chromium() -> str:
    if CHROMIUM is None:
        assert os.environ.get("CI") != "true", "CI has no Chromium: the dashboard would go untested"
        pytest.skip("there is no Chromium (Debian: apt install chromium)")
    return CHROMIUM


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    expect.set_options(timeout=10_000)
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield launched
        await launched.close()


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory, chromium: str) -> Iterator[Gateway]:
    with running_gateway(tmp_path_factory.mktemp("dashboard") / "data", CIRCUIT_FAILURE_THRESHOLD="3") as gateway:
        yield gateway


@pytest.fixture
def gateway(running: Gateway) -> Gateway:
    """The worker's gateway, with nothing configured."""
    operator = running.operator
    for kind in ("rate-limits", "routes", "services", "keys", "token-issuers"):
        for entity in operator.all(kind):
            operator.delete(kind, entity["id"])
    return running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def tab(browser: Browser, running: Gateway) -> AsyncIterator[Dashboard]:
    async with open_tab(browser, running, reduced_motion="reduce") as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def dashboard(tab: Dashboard, gateway: Gateway) -> AsyncIterator[Dashboard]:
    """The worker's tab; after the first test it is signed in. What it complains of fails the test."""
    yield tab
    await tab.rest()
    complaints, tab.complaints = tab.complaints, []
    assert complaints == []


@pytest_asyncio.fixture(loop_scope="session")
async def stranger(browser: Browser, gateway: Gateway) -> AsyncIterator[Dashboard]:
    """A tab of a browser that has never been here."""
    async with open_tab(browser, gateway) as opened:
        yield opened


@pytest.fixture
def upstream() -> Iterator[StoppableUpstream]:
    with stoppable_upstream() as started:
        yield started
