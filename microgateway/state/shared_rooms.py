"""What belongs to a rate limit rule as a whole, in shared memory: its counters, and the bucket of those who have none.

Each process counts in a column of its own, which nobody else writes: so counting needs no lock, and a process that dies
takes no counts with it. A room's lock guards the bucket. One more lock, the last, guards which rooms there are.

A room that was given up goes to another rule. Buckets of the rule before are still about until they are full, so each
bears the room's number and how often it had been given away by then, and is no more counted where that is another time.
"""

from collections.abc import Collection
from struct import Struct

from microgateway.state.robust_locks import LOCK_SIZE, RobustLocks
from microgateway.state.shared_memory import MOST_PROCESSES, WORD, SharedMemory

MOST_ROOMS = 4_096  # those beyond share the last
COUNTERS = 5
ADMITTED, REFUSED, SHADOWED, OVERFLOWED, SUBJECTS = range(COUNTERS)

_DIGEST_SIZE = 16
_DIGESTS = Struct("QQ")
_BUCKET_SIZE = 8 * WORD
_TIMES = 7  # the bucket's last word, which a bucket of a room's own has no use for: how often it was given away
_NUMBER_BITS = 16
_ROOM_SIZE = _BUCKET_SIZE + COUNTERS * MOST_PROCESSES * WORD
_WORD_MASK = (1 << 64) - 1


class RoomTable:
    """All rooms, from byte `offset` on; each is found by its digest, and then known by its number."""

    def __init__(self, memory: SharedMemory, offset: int) -> None:
        self._memory = memory
        self.locks = RobustLocks(memory.bytes, offset, lambda _: None)
        self._digests = offset + (MOST_ROOMS + 1) * LOCK_SIZE
        self._rooms = self._digests + MOST_ROOMS * _DIGEST_SIZE

    @staticmethod
    def size() -> int:
        """Bytes of memory that it takes."""
        return (MOST_ROOMS + 1) * LOCK_SIZE + MOST_ROOMS * (_DIGEST_SIZE + _ROOM_SIZE)

    def create(self) -> None:
        """Called once, by one process, before all else."""
        self.locks.create(MOST_ROOMS + 1)

    def number_of(self, digest: bytes) -> int:
        """The room with this digest, taken now if it was not there."""
        words = _DIGESTS.unpack(digest)
        self.locks.acquire(MOST_ROOMS)
        try:
            number = self._find(digest)
            if number is None:
                number = self._find(bytes(_DIGEST_SIZE))
                if number is None:
                    return MOST_ROOMS - 1
                begin = self._rooms + number * _ROOM_SIZE
                times = self._memory.words[begin // WORD + _TIMES]
                self._memory.bytes[begin : begin + _ROOM_SIZE] = bytes(_ROOM_SIZE)
                self._memory.words[begin // WORD + _TIMES] = times + 1
                _DIGESTS.pack_into(self._memory.bytes, self._digests + number * _DIGEST_SIZE, *words)
            return number
        finally:
            self.locks.release(MOST_ROOMS)

    def known(self, digest: bytes) -> int | None:
        """The room with this digest, None where there is none; it is not taken."""
        self.locks.acquire(MOST_ROOMS)
        try:
            return self._find(digest)
        finally:
            self.locks.release(MOST_ROOMS)

    def keep_only(self, digests: Collection[bytes]) -> None:
        """Gives the other rooms up."""
        self.locks.acquire(MOST_ROOMS)
        try:
            kept = {_DIGESTS.unpack(digest) for digest in digests} | {(0, 0)}
            there = self._memory.bytes[self._digests : self._rooms]
            for number, words in enumerate(_DIGESTS.iter_unpack(there)):
                if words not in kept:
                    begin = self._digests + number * _DIGEST_SIZE
                    self._memory.bytes[begin : begin + _DIGEST_SIZE] = bytes(_DIGEST_SIZE)
        finally:
            self.locks.release(MOST_ROOMS)

    def tag(self, number: int) -> int:
        """What buckets bear that belong to this room, as it is given away at the moment."""
        return number | self._memory.words[(self._rooms + number * _ROOM_SIZE) // WORD + _TIMES] << _NUMBER_BITS

    def room_of(self, tag: int) -> int | None:
        """The room with this tag; None where it is another rule's by now."""
        number = tag & (1 << _NUMBER_BITS) - 1
        return number if self.tag(number) == tag else None

    def bucket(self, number: int) -> int:
        """The byte at which the bucket is that those without one share."""
        return self._rooms + number * _ROOM_SIZE

    def column(self, number: int, counter: int, process: int) -> int:
        """The word in which a process counts."""
        return (self._rooms + number * _ROOM_SIZE + _BUCKET_SIZE) // WORD + counter * MOST_PROCESSES + process

    def total(self, number: int, counter: int) -> int:
        """What all processes have counted together. A column alone may have gone below zero."""
        first = self.column(number, counter, 0)
        total = sum(self._memory.words[first : first + MOST_PROCESSES]) & _WORD_MASK
        return 0 if total >> 63 else total

    def count(self, number: int, counter: int, process: int, by: int) -> None:
        """Adds to what this process has counted; `by` may be negative."""
        at = self.column(number, counter, process)
        self._memory.words[at] = (self._memory.words[at] + by) & _WORD_MASK

    def _find(self, digest: bytes) -> int | None:
        at, end = self._digests, self._rooms
        while (at := self._memory.bytes.find(digest, at, end)) >= 0:
            if not (at - self._digests) % _DIGEST_SIZE:
                return (at - self._digests) // _DIGEST_SIZE
            at += 1
        return None
