"""Waiting for something to become true: as long as it takes, and never longer than the test says."""

import threading
import time
from collections.abc import Callable

PAUSE = 0.005  # seconds between two looks
PATIENCE = 30.0  # seconds; other tests use this machine too


def until(condition: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """Returns as soon as `condition` holds. Asserts that this is within `patience` seconds."""
    deadline = time.monotonic() + patience
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"not within {patience} s: {what}"
        pause.wait(PAUSE)


def until_steady(value: Callable[[], int], steady: float = 0.5, patience: float = PATIENCE) -> int:
    """The number that `value` keeps for `steady` seconds."""
    last, since = value(), time.monotonic()

    def has_settled() -> bool:
        nonlocal last, since
        if (new := value()) != last:
            last, since = new, time.monotonic()
        return time.monotonic() - since >= steady

    until(has_settled, "the number does not change any more", patience)
    return last
