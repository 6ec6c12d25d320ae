"""What happened in the last so many seconds, for any number of them up to a day, out of little memory.

Time is divided into slots. A *rung* has slots of one length and keeps the last so many; the rungs of a ladder have
longer and longer ones. What happens goes into the open slot of the shortest rung; a slot that is over is closed: packed
into a few bytes, and added to the open slot of the next rung. So a window is read from the rung that is fine enough for
it and reaches back twice as far, for the window before it.

A window ends with the slot that is running, so it is shorter than asked for by the part of that slot that is still to
come: `Span.seconds` says how long it is. Times are whole seconds since the epoch, and never go back: an earlier one
counts as the latest that was seen.
"""

import struct
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from microgateway.core import histogram


class Rung(NamedTuple):
    """Slots of so many seconds, and how many of them are kept."""

    seconds: int
    slots: int


LADDER = (Rung(1, 121), Rung(10, 121), Rung(60, 121), Rung(600, 289))  # for a minute, ten, an hour, and a day
LONGEST_WINDOW = 86_400  # seconds; the last rung has twice that
_HEAD = struct.Struct("<qB")  # of a slot in one piece: its start, and of how many parts it is


class Tally:
    """Counts, and histograms of durations, of one span of time. What stands at which place is the owner's matter."""

    __slots__ = ("counts", "histograms")

    def __init__(self, counts: int, histograms: int) -> None:
        self.counts = [0] * counts
        self.histograms: list[defaultdict[int, int]] = [defaultdict(int) for _ in range(histograms)]

    def add(self, other: "Tally") -> None:
        """Adds another one's counts and histograms."""
        self.add_counts(other.counts)
        for own, counts in zip(self.histograms, other.histograms, strict=True):
            histogram.add(own, counts)

    def add_counts(self, counts: Sequence[int]) -> None:
        """Adds counts only, place by place."""
        for place, count in enumerate(counts):
            self.counts[place] += count

    def subtract(self, part: "Tally") -> None:
        """Takes away what was added before."""
        self.add_counts([-count for count in part.counts])
        for own, counts in zip(self.histograms, part.histograms, strict=True):
            for number, count in counts.items():
                own[number] -= count
                if not own[number]:
                    del own[number]

    def is_empty(self) -> bool:
        return not any(self.counts)


class Closed(NamedTuple):
    """A slot that is over, packed. `start` is its first second. A count is less than 2 ** 63."""

    start: int
    packed_counts: bytes
    histograms: tuple[bytes, ...]

    @classmethod
    def of(cls, start: int, tally: Tally) -> "Closed":
        counts = struct.pack(f"<{len(tally.counts)}q", *tally.counts)
        return cls(start, counts, tuple(map(histogram.packed, tally.histograms)))

    @property
    def counts(self) -> tuple[int, ...]:
        return struct.unpack(f"<{len(self.packed_counts) // 8}q", self.packed_counts)

    def joined(self) -> bytes:
        """All of it in one piece of memory: a series keeps hundreds."""
        sizes = (len(self.packed_counts), *map(len, self.histograms))
        head = _HEAD.pack(self.start, len(sizes)) + struct.pack(f"<{len(sizes)}I", *sizes)
        return b"".join((head, self.packed_counts, *self.histograms))

    @classmethod
    def parted(cls, data: bytes) -> "Closed":
        """What `joined` has joined."""
        start, number = _HEAD.unpack_from(data)
        position = _HEAD.size + 4 * number
        parts = []
        for size in struct.unpack_from(f"<{number}I", data, _HEAD.size):
            parts.append(data[position : position + size])
            position += size
        return cls(start, parts[0], tuple(parts[1:]))

    def add_to(self, tally: Tally) -> None:
        """Adds all of the slot to this tally."""
        tally.add_counts(self.counts)
        for own, data in zip(tally.histograms, self.histograms, strict=True):
            histogram.add(own, histogram.unpacked(data))

    def tally(self) -> Tally:
        """The slot as it was before it was packed."""
        tally = Tally(len(self.counts), len(self.histograms))
        self.add_to(tally)
        return tally


@dataclass(frozen=True, slots=True)
class Span:
    """A window as its rung can have it: the slots from `first` to `last`, each of `slot` seconds, by their starts.

    `seconds` is how long it has lasted so far.
    """

    first: int
    last: int
    slot: int
    seconds: float

    def before(self) -> "Span":
        """The window before, which is over and has its whole length."""
        length = self.last - self.first + self.slot
        return Span(self.first - length, self.last - length, self.slot, float(length))

    def starts(self) -> range:
        """The first second of each slot."""
        return range(self.first, self.last + 1, self.slot)


def span_of(window: int, now: float, ladder: Sequence[Rung] = LADDER) -> Span:
    """The last `window` seconds at `now`, on the finest rung that has them and the window before.

    There is one for windows up to `LONGEST_WINDOW`.
    """
    slot = next(rung.seconds for rung in ladder if rung.seconds * (rung.slots - 1) >= 2 * window)
    last = int(now) - int(now) % slot
    first = last - (-(-window // slot) - 1) * slot
    return Span(first, last, slot, max(now - first, 0.001))


class _Level:
    """A rung at work: its open slot, and those that are over, each in one piece (`Closed.joined`)."""

    __slots__ = ("closed", "opened", "seconds", "start")

    def __init__(self, rung: Rung) -> None:
        self.seconds = rung.seconds
        self.start = 0
        self.opened: Tally | None = None
        self.closed: deque[bytes] = deque(maxlen=rung.slots)


class Rolling:
    """One series. `counts` and `histograms`: how many of each its tallies have."""

    __slots__ = ("_levels", "counts", "histograms")

    def __init__(self, *, counts: int, histograms: int, ladder: Sequence[Rung] = LADDER) -> None:
        self.counts = counts
        self.histograms = histograms
        self._levels = [_Level(rung) for rung in ladder]

    @property
    def last_used(self) -> int:
        """The second of the last tally, 0 before the first."""
        return self._levels[0].start

    def add(self, tally: Tally, now: int) -> None:
        """Counts what has happened in the second `now`."""
        self._put(0, tally, max(now, self.last_used))

    def restore(self, closed: Closed, seconds: int) -> None:
        """Puts back a slot of so many seconds that an earlier process has seen, the oldest first, before any `add`."""
        number = next(number for number, level in enumerate(self._levels) if level.seconds == seconds)
        self._put(number, closed.tally(), closed.start)

    def over(self, span: Span) -> Tally:
        """All of a span."""
        total = Tally(self.counts, self.histograms)
        for _, part in self._parts(span):
            if isinstance(part, Closed):
                part.add_to(total)
            else:
                total.add(part)
        return total

    def by_slot(self, span: Span) -> dict[int, Tally]:
        """Each slot of a span in which something happened, by its start."""
        found: dict[int, Tally] = {}
        for start, part in self._parts(span):
            tally = found.setdefault(start, Tally(self.counts, self.histograms))
            if isinstance(part, Closed):
                part.add_to(tally)
            else:
                tally.add(part)
        return found

    def closed_slots(self, seconds: int, since: int) -> Iterator[Closed]:
        """Slots of this length that are over and began at `since` or later, the oldest first."""
        level = next(level for level in self._levels if level.seconds == seconds)
        return (slot for slot in map(Closed.parted, level.closed) if slot.start >= since)

    def _put(self, number: int, tally: Tally, at: int) -> None:
        level = self._levels[number]
        start = at - at % level.seconds
        if level.opened is None or level.start != start:
            if level.opened is not None and not level.opened.is_empty():
                level.closed.append(Closed.of(level.start, level.opened).joined())
                if number + 1 < len(self._levels):
                    self._put(number + 1, level.opened, level.start)
            level.start = start
            level.opened = Tally(self.counts, self.histograms)
        level.opened.add(tally)

    def _parts(self, span: Span) -> Iterator[tuple[int, Closed | Tally]]:
        """What lies in a span, with the slot it belongs to. Open slots of shorter rungs are not in this one yet."""
        for level in self._levels:
            if level.opened is not None:
                start = level.start - level.start % span.slot
                if span.first <= start <= span.last:
                    yield start, level.opened
            if level.seconds == span.slot:
                for data in level.closed:
                    start, _ = _HEAD.unpack_from(data)
                    if span.first <= start <= span.last:
                        yield start, Closed.parted(data)
                return
