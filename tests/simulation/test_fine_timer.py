"""A timer that is finer than the event loop's, and one that has to do where there is no such thing."""

import asyncio
import time

import pytest

from microgateway.simulation.fine_timer import FineTimer


@pytest.mark.parametrize("has_files", [True, False])
class TestFineTimer:
    async def test_it_fires_once_and_when_it_was_set_to_last(self, has_files: bool) -> None:
        fired: list[float] = []
        timer = FineTimer(asyncio.get_running_loop(), lambda: fired.append(time.monotonic()), has_files=has_files)
        try:
            began = time.monotonic()
            for delay in (10.0, 0.02, 0.05):
                timer.set(began + delay)
            await asyncio.sleep(0.1)
            (moment,) = fired
            assert moment - began >= 0.05 - (0.0 if has_files else 0.001)
        finally:
            timer.close()

    async def test_a_moment_that_is_over_is_now(self, has_files: bool) -> None:
        fired = asyncio.Event()
        timer = FineTimer(asyncio.get_running_loop(), fired.set, has_files=has_files)
        try:
            timer.set(time.monotonic() - 5.0)
            await asyncio.wait_for(fired.wait(), 5)
        finally:
            timer.close()

    async def test_one_that_is_closed_is_silent(self, has_files: bool) -> None:
        fired: list[float] = []
        timer = FineTimer(asyncio.get_running_loop(), lambda: fired.append(time.monotonic()), has_files=has_files)
        timer.set(time.monotonic() + 0.01)
        timer.close()
        timer.close()
        await asyncio.sleep(0.03)
        assert fired == []
