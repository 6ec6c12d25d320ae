"""One gateway and one upstream for a module: its rows are independent, so hundreds of them take seconds."""

from collections.abc import Iterator

import pytest

from tests.kit.fixtures import Pair, running_pair


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with running_pair() as pair:
        yield pair
