"""Durations, counted in bins whose width grows with the duration: small, quick to count into, and simply added up.

Up to 63 µs each microsecond has its bin; above, each doubling is divided into 32 bins. So a bin is never wider than a
32nd of what it holds, and its middle is within a 64th (1.6 %) of every duration in it: that is the error of a
percentile, up to `LONGEST` (38 hours), above which everything is in the last bin.

Where a bound of `BOUNDS` falls into a bin, the bin is cut there. So how many durations were at most a bound is exact,
and Prometheus's buckets and the percentiles come out of one count. Durations are whole microseconds, rounded down.

A histogram is a mapping of bins to counts, without the bins that are empty.
"""

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, MutableMapping
from itertools import pairwise

PARTS = 32  # of each doubling
LONGEST = 1 << 37  # microseconds

# Microseconds: the bounds that OpenTelemetry's HTTP conventions advise, and finer ones for what a gateway itself takes
HTTP_BOUNDS = (
    5_000,
    10_000,
    25_000,
    50_000,
    75_000,
    100_000,
    250_000,
    500_000,
    750_000,
    1_000_000,
    2_500_000,
    5_000_000,
    7_500_000,
    10_000_000,
)
BOUNDS = (25, 50, 100, 250, 500, 1_000, 2_500, *HTTP_BOUNDS)

Counts = Mapping[int, int]


def _edges() -> Iterator[int]:
    """The least microsecond of every bin."""
    yield from range(2 * PARTS)
    low = 2 * PARTS
    while low < LONGEST:
        yield from range(low, 2 * low, low // PARTS)
        low *= 2
    yield from (bound + 1 for bound in BOUNDS)


EDGES = tuple(sorted(set(_edges())))
SMALL = 1 << 16  # microseconds, below which a look-up says the bin


def bin_of(microseconds: int) -> int:
    """The bin of any duration; `BIN_OF_SMALL[microseconds]` is quicker, below `SMALL`."""
    return bisect_right(EDGES, microseconds) - 1


def _bins_of_small() -> Iterator[int]:
    for number, (low, high) in enumerate(pairwise(EDGES)):
        if low >= SMALL:
            return
        for _ in range(low, min(high, SMALL)):
            yield number


BIN_OF_SMALL = tuple(_bins_of_small())


def middle(number: int) -> float:
    """The duration that a bin stands for, in microseconds."""
    last = EDGES[number + 1] - 1 if number + 1 < len(EDGES) else EDGES[number]
    return (EDGES[number] + last) / 2


def add(to: MutableMapping[int, int], counts: Counts) -> None:
    """Adds one histogram to another."""
    get = to.get
    for number, count in counts.items():
        to[number] = get(number, 0) + count


def percentiles(counts: Counts, *fractions: float) -> list[float]:
    """For each fraction the duration, in microseconds, that so many of all were at most; zeros when there are none.

    By the nearest rank: the 0.5 of 1, 2, 3, 4 is 2. `fractions` go up.
    """
    total = sum(counts.values())
    found: list[float] = []
    seen, number = 0, 0
    numbers = iter(sorted(counts))
    for fraction in fractions:
        rank = max(1, -int(-fraction * total // 1))  # rounded up
        while seen < rank and total:
            number = next(numbers)
            seen += counts[number]
        found.append(middle(number) if total else 0.0)
    return found


def at_most(counts: Counts, bounds: tuple[int, ...] = HTTP_BOUNDS) -> list[int]:
    """For each bound how many durations were no longer. Exact for bounds out of `BOUNDS`; they go up."""
    found = [0] * len(bounds)
    lasts = [bin_of(bound) for bound in bounds]
    for number, count in counts.items():
        place = bisect_left(lasts, number)  # the first bound that is not below this bin
        if place < len(found):
            found[place] += count
    for place in range(1, len(found)):
        found[place] += found[place - 1]
    return found


def packed(counts: Counts) -> bytes:
    """Six bytes for each bin that is not empty; the same on every machine. A count is less than 2 ** 32."""
    numbers = sorted(counts)
    return struct.pack(f"<{len(numbers)}H{len(numbers)}I", *numbers, *(counts[number] for number in numbers))


def unpacked(data: bytes) -> dict[int, int]:
    """What `packed` has packed. Raises `ValueError` for anything else."""
    size, rest = divmod(len(data), 6)
    if rest:
        raise ValueError("this is no packed histogram")
    both = struct.unpack(f"<{size}H{size}I", data)
    return dict(zip(both[:size], both[size:], strict=True))
