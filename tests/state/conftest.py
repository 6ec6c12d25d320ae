"""How often processes die: seldom in a run of all tests, where each death costs a fork of a large process."""

import pytest

from tests.state.areas import Apart


@pytest.fixture
def apart(pytestconfig: pytest.Config) -> Apart:
    """Instructions between two deaths: the test's own number, or that of `--deaths-apart`."""
    given: int | None = pytestconfig.getoption("--deaths-apart")
    return lambda usual: given or usual
