"""Rolling windows beside a list of all that happened, at times that the tests choose."""

import random
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgateway.core.histogram import bin_of, percentiles
from microgateway.core.rolling import (
    LADDER,
    LONGEST_WINDOW,
    Closed,
    Rolling,
    Rung,
    Span,
    Tally,
    span_of,
)

START = 1_700_000_000  # a full minute, and not a full ten minutes
SLOT_BYTES = 340  # of a closed slot, with up to twelve counts and three histograms, besides six bytes for each bin
SHORT = (Rung(1, 8), Rung(4, 8), Rung(16, 8))


def tally(count: int = 1, *durations: int) -> Tally:
    made = Tally(1, 1)
    made.counts[0] = count
    made.histograms[0].update(Counter(map(bin_of, durations)))
    return made


def rolling(ladder: tuple[Rung, ...] = LADDER) -> Rolling:
    return Rolling(counts=1, histograms=1, ladder=ladder)


def count(series: Rolling, span: Span) -> int:
    return series.over(span).counts[0]


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 5)), min_size=1, max_size=60),
    st.integers(0, 20),
    st.integers(1, 56),
)
@settings(deadline=None)
def test_a_window_holds_what_happened_in_its_slots_and_nothing_else(
    steps: list[tuple[int, int]], silence: int, window: int
) -> None:
    """Whatever the gaps: each thing is counted once, in the window and in the one before."""
    series, happened, now = rolling(SHORT), [], START
    for gap, number in steps:
        now += gap
        series.add(tally(number), now)
        happened.append((now, number))
    now += silence
    span = span_of(window, now, SHORT)
    for part in (span, span.before()):
        expected = sum(number for at, number in happened if part.first <= at < part.last + part.slot)
        assert count(series, part) == expected
        by_slot = series.by_slot(part)
        assert sum(tally.counts[0] for tally in by_slot.values()) == expected
        assert set(by_slot) <= set(part.starts())


@pytest.mark.parametrize(
    ("window", "slot"), [(5, 1), (30, 1), (60, 1), (61, 10), (300, 10), (600, 10), (3_600, 60), (86_400, 600)]
)
def test_a_window_is_read_as_finely_as_it_can_be(window: int, slot: int) -> None:
    span = span_of(window, START + 7.5)
    assert span.slot == slot
    rounded_up = -(-window // slot) * slot
    assert rounded_up - slot < span.seconds <= rounded_up
    assert span.first - span.before().first == span.before().seconds == len(span.starts()) * slot
    assert span.before().seconds == rounded_up
    assert span.before().last + slot == span.first


def test_every_window_has_a_rung_that_reaches_back_twice_as_far() -> None:
    for window in (*range(1, 4_000), LONGEST_WINDOW):
        span = span_of(window, START)
        rung = next(rung for rung in LADDER if rung.seconds == span.slot)
        assert rung.seconds * rung.slots >= 2 * window


def test_percentiles_of_a_window_are_of_that_window_alone() -> None:
    series = rolling()
    series.add(tally(1, 9_000), START)
    series.add(tally(1, 100), START + 60)
    minute = span_of(50, START + 60)
    assert percentiles(series.over(minute).histograms[0], 0.99)[0] == pytest.approx(100, rel=0.02)
    assert percentiles(series.over(minute.before()).histograms[0], 0.99)[0] == pytest.approx(9_000, rel=0.02)


def test_a_time_before_the_latest_counts_as_the_latest() -> None:
    series = rolling()
    series.add(tally(), START)
    series.add(tally(), START - 100)
    assert count(series, span_of(10, START)) == 2


def test_a_window_needs_no_further_events() -> None:
    series = rolling()
    series.add(tally(3), START)
    assert count(series, span_of(300, START + 61)) == 3


def test_restored_minutes_are_seen_in_every_window_that_is_long_enough() -> None:
    series = rolling()
    first = START - 86_000
    for minute in range(first - first % 60, START, 60):
        series.restore(Closed.of(minute, tally(1, 1_000)), 60)
    series.add(tally(5), START)
    day = span_of(86_400, START)
    assert count(series, day) == 5 + len(range(first - first % 60, START, 60))
    assert len(series.by_slot(day)) == len(day.starts())
    assert count(series, span_of(600, START)) == 5  # in slots of ten seconds, which nobody has kept


def size(closed: Closed) -> int:
    parts = (closed, closed.start, closed.packed_counts, closed.histograms, *closed.histograms)
    return sum(map(sys.getsizeof, parts))


def test_memory_is_bounded_however_long_it_runs() -> None:
    """Two days and a bit of traffic in every slot; then what is kept is as large as it was a day before."""
    series, chance, sizes, bins = Rolling(counts=12, histograms=3), random.Random(1), [], 0
    for step in range(0, 200_000, 10):
        made = Tally(12, 3)
        made.counts[:] = [chance.randrange(1, 1_000_000) for _ in range(12)]
        for counts in made.histograms:
            counts.update(Counter(bin_of(chance.randrange(1_000, 20_000)) for _ in range(10)))
        series.add(made, START + step)
        if step in (180_000, 199_990):
            kept = [slot for rung in LADDER for slot in series.closed_slots(rung.seconds, 0)]
            sizes.append(sum(map(size, kept)))
            bins = max(len(data) // 6 for slot in kept for data in slot.histograms)
    assert sizes[1] == pytest.approx(sizes[0], rel=0.05)
    slots = sum(rung.slots + 1 for rung in LADDER)
    assert sizes[1] <= slots * (SLOT_BYTES + 3 * bins * 6)
