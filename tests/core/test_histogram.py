"""The histogram beside the durations themselves: how far off a percentile is, and what is exact."""

import math
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgateway.core.histogram import (
    BIN_OF_SMALL,
    BOUNDS,
    EDGES,
    HTTP_BOUNDS,
    LONGEST,
    SMALL,
    add,
    at_most,
    bin_of,
    middle,
    packed,
    percentiles,
    unpacked,
)

ERROR = 1 / 64  # what the module claims; the product asks for 0.02
durations = st.one_of(
    st.integers(0, LONGEST - 1),
    st.integers(0, 50_000),
    st.sampled_from(BOUNDS).flatmap(lambda bound: st.integers(bound - 2, bound + 2)),
)


def counted(values: list[int]) -> Counter[int]:
    return Counter(map(bin_of, values))


def exact(values: list[int], fraction: float) -> int:
    """By the nearest rank."""
    return sorted(values)[max(1, math.ceil(fraction * len(values))) - 1]


@given(st.lists(durations, min_size=1, max_size=300), st.sampled_from([0.0, 0.01, 0.5, 0.75, 0.95, 0.99, 1.0]))
def test_a_percentile_is_within_the_error_of_the_exact_one(values: list[int], fraction: float) -> None:
    (found,) = percentiles(counted(values), fraction)
    true = exact(values, fraction)
    assert abs(found - true) <= ERROR * true


@given(st.lists(durations, max_size=100), st.lists(durations, max_size=100))
def test_the_sum_of_two_is_the_histogram_of_both(one: list[int], other: list[int]) -> None:
    total = dict(counted(one))
    add(total, counted(other))
    assert total == counted(one + other)


@given(st.lists(durations, max_size=200))
def test_how_many_were_at_most_a_bound_is_exact(values: list[int]) -> None:
    for bounds in (BOUNDS, HTTP_BOUNDS):
        assert at_most(counted(values), bounds) == [sum(value <= bound for value in values) for bound in bounds]


@given(st.lists(durations, max_size=200))
def test_what_is_packed_comes_out_again_in_six_bytes_a_bin(values: list[int]) -> None:
    counts = counted(values)
    assert unpacked(packed(counts)) == counts
    assert len(packed(counts)) == 6 * len(counts)


def test_the_quick_look_up_says_the_same() -> None:
    assert len(BIN_OF_SMALL) == SMALL
    assert all(BIN_OF_SMALL[duration] == bin_of(duration) for duration in range(SMALL))


def test_every_bin_is_as_narrow_as_is_claimed() -> None:
    for number, (low, after) in enumerate(pairwise(EDGES)):
        assert bin_of(low) == bin_of(after - 1) == number
        assert after - 1 - middle(number) <= ERROR * low


def test_several_percentiles_at_once() -> None:
    assert percentiles(counted([1, 2, 3, 4]), 0.25, 0.5, 0.5, 1.0) == [1, 2, 2, 4]
    assert percentiles({}, 0.5, 0.99) == [0.0, 0.0]


def test_what_is_longer_than_the_longest_is_counted_as_the_longest() -> None:
    (found,) = percentiles(counted([LONGEST * 1_000]), 0.5)
    assert found == pytest.approx(LONGEST, rel=0.04)


def test_what_was_not_packed_here_is_refused() -> None:
    with pytest.raises(ValueError, match="packed"):
        unpacked(b"1234567")
