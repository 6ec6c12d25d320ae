"""When requests come: one moment after the other, in seconds from the beginning."""

from collections.abc import Iterator
from itertools import count, islice
from math import sqrt
from random import Random

from microgateway.control_plane.gateway_batches import Arrivals


def moments(arrivals: Arrivals, random: Random) -> Iterator[float]:
    """All of them, in order."""
    kinds = {"constant": _constant, "poisson": _poisson, "ramp": _ramp, "bursts": _bursts}
    return islice(kinds[arrivals.kind](arrivals, random), arrivals.count)


def _constant(arrivals: Arrivals, random: Random) -> Iterator[float]:
    for number in count():
        moment = number / arrivals.per_second
        if moment >= arrivals.seconds:
            return
        yield moment


def _poisson(arrivals: Arrivals, random: Random) -> Iterator[float]:
    moment = 0.0
    while (moment := moment + random.expovariate(arrivals.per_second)) < arrivals.seconds:
        yield moment


def _ramp(arrivals: Arrivals, random: Random) -> Iterator[float]:
    """The n-th comes when the area under the rate, a line, is n."""
    first = arrivals.per_second
    slope = ((arrivals.to_per_second or first) - first) / arrivals.seconds
    for number in count():
        under_root = first * first + 2.0 * slope * number
        if under_root < 0.0:
            return
        moment = (sqrt(under_root) - first) / slope if slope else number / first
        if moment >= arrivals.seconds:
            return
        yield moment


def _bursts(arrivals: Arrivals, random: Random) -> Iterator[float]:
    for number in count():
        moment = number * arrivals.every_seconds
        if moment >= arrivals.seconds:
            return
        yield from (moment for _ in range(arrivals.burst_size))
