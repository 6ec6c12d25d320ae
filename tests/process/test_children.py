"""When a process that ended is started again: at once after an accident, later where one ends after the other."""

import os

import pytest

from microgateway.process.children import FIRST_PAUSE, LONGEST_PAUSE, WELL_AFTER, Child, Place


@pytest.fixture
def child() -> Child:
    """One whose process has ended before it could do anything."""
    child = Child("worker", 1, {}, [])
    child.kill()
    child.ended(os.waitpid(child.pid, 0)[1])
    return child


def pauses(child: Child, lives: float | None, times: int) -> list[float]:
    """How long each pause is where every process serves for so many seconds; None: they never get so far."""
    place, now, found = Place("worker", 0), 1_000.0, []
    for _ in range(times):
        child.served_from = None if lives is None else now - lives
        place.ended_unasked(child, now)
        found.append(round(place.start_at - now, 9))
        now = place.start_at
    assert place.restarts == times
    return found


def test_twenty_that_served_for_a_while_are_back_at_once(child: Child) -> None:
    assert pauses(child, WELL_AFTER + 0.1, 20) == [FIRST_PAUSE] * 20


@pytest.mark.parametrize("lives", [None, 0.3])
def test_those_that_hardly_live_wait_longer_and_longer(child: Child, lives: float | None) -> None:
    found = pauses(child, lives, 20)
    assert found[:4] == [FIRST_PAUSE, 4 * FIRST_PAUSE, 8 * FIRST_PAUSE, 16 * FIRST_PAUSE]
    assert found[-1] == LONGEST_PAUSE
