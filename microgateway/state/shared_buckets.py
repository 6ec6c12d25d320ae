"""Token buckets in shared memory: a table of fixed size, found by the digest of what a bucket is for.

The table is cut into stripes. A stripe has a lock of its own, room for so many buckets, and their digests in a row,
which is searched in C. A bucket that is full again says the same as one that was never there, so its place may be given
to another.

A process may die between any two instructions, and what it leaves must be one of the states that it went through on
purpose. So a bucket has two slots and a word that says which of them counts: a change is written to the other slot, and
then that word is stored. A bucket is there when the first word of its digest is: that is written last, and taken away
first. What is left half done is a digest without its first word, and whoever gets the dead one's lock wipes it out.

A bucket is kept as what is missing from it, in parts of a token (see `core/token_bucket.py`): so an edited burst
changes nothing here. That number may have 67 bits, so the highest few share a word with the rate.
"""

from collections.abc import Callable
from struct import Struct

from microgateway.core.token_bucket import TOKEN, Grant, Limit
from microgateway.state.robust_locks import LOCK_SIZE, RobustLocks
from microgateway.state.shared_memory import WORD, SharedMemory

DIGEST_SIZE = 16
WAYS = 256  # buckets of a stripe
STRIPES = 4_096
TRIED_AT_A_TIME = 16  # buckets, before somebody has to share one

_NOTHING = bytes(DIGEST_SIZE)
_RECORD = 8 * WORD  # one cache line: which slot counts, the two slots, and whose bucket it is
_ROOM = 7  # the word that says so
_SLOT = Struct("QQQ")  # when it was written (ns), what is missing (the lower 64 bits), rate << 8 | the upper bits
_read_slot, _write_slot = _SLOT.unpack_from, _SLOT.pack_into
_DIGESTS = Struct("QQ")
_LOW = (1 << 64) - 1


class Bucket:
    """What is in one slot: `missing` parts of a token, as of `updated`, at `rate` parts a nanosecond."""

    @staticmethod
    def read(memory: SharedMemory, record: int) -> tuple[int, int, int]:
        """(updated, missing, rate) of the record at this byte."""
        updated, missing, tail = _SLOT.unpack_from(memory.bytes, record + WORD + 24 * memory.words[record >> 3])
        high = tail & 0xFF
        return updated, (missing | high << 64) if high else missing, tail >> 8

    @staticmethod
    def write(memory: SharedMemory, record: int, updated: int, missing: int, rate: int) -> None:
        """In two steps: to the slot that does not count, and then it does."""
        other = 1 - memory.words[record >> 3]
        low, tail = (missing, rate << 8) if missing <= _LOW else (missing & _LOW, rate << 8 | missing >> 64)
        _SLOT.pack_into(memory.bytes, record + WORD + 24 * other, updated, low, tail)
        memory.words[record >> 3] = other

    @staticmethod
    def missing(memory: SharedMemory, record: int, limit: Limit, now: int) -> int:
        """What is missing by now, with this limit in force: what was used stays used."""
        updated, missing, rate = Bucket.read(memory, record)
        if now > updated:
            missing -= (now - updated) * rate
        return 0 if missing <= 0 else min(missing, limit.capacity)

    @staticmethod
    def spend(memory: SharedMemory, record: int, limit: Limit, now: int) -> tuple[bool, int]:
        """Takes a token if there is one: whether there was, and what is missing then."""
        words = memory.words
        counts = words[record >> 3]
        updated, missing, tail = _SLOT.unpack_from(memory.bytes, record + WORD + 24 * counts)
        if tail & 0xFF:
            missing |= (tail & 0xFF) << 64
        if now > updated:  # as in `missing` and `write`, written out: this is every request's way
            missing -= (now - updated) * (tail >> 8)
            updated = now
            if missing < 0:
                missing = 0
        if missing > limit.capacity:
            missing = limit.capacity
        admitted = limit.capacity - missing >= TOKEN
        if admitted:
            missing += TOKEN
        tail = limit.per_minute << 8
        low = missing
        if missing > _LOW:
            low, tail = missing & _LOW, tail | missing >> 64
        counts = 1 - counts
        _SLOT.pack_into(memory.bytes, record + WORD + 24 * counts, updated, low, tail)
        words[record >> 3] = counts
        return admitted, missing


class Place:
    """Where a bucket was when this process last saw it: the row and number of its lock, and bytes into the memory."""

    __slots__ = ("address", "digest", "first", "locks", "number", "record", "second")

    def __init__(
        self, locks: RobustLocks, number: int, digest: int, record: int, words: tuple[int, int] = (0, 0)
    ) -> None:
        self.locks = locks
        self.number = number
        self.address = locks.address(number)
        self.digest = digest
        self.record = record
        self.first, self.second = words


class BucketTable:
    """One table at byte `offset`. Whoever looks or writes holds the stripe's lock, but for what says otherwise."""

    def __init__(self, memory: SharedMemory, offset: int, *, stripes: int = STRIPES, ways: int = WAYS) -> None:
        self._memory = memory
        self._stripes = stripes
        self._ways = ways
        self._counts = offset + stripes * LOCK_SIZE  # how many buckets a stripe holds
        self._digests = self._counts + stripes * WORD
        self._records = self._digests + stripes * ways * DIGEST_SIZE
        self._next_to_sweep = 0
        self._next_to_try = 0
        self.forgotten: Callable[[int], None] = lambda room: None
        self.locks = RobustLocks(memory.bytes, offset, self._repair)
        self._words, self._bytes = memory.words, memory.bytes  # at hand, as the two that follow, for `take_plainly`
        self._try_at, self._unlock_at = self.locks.try_at, self.locks.unlock_at

    @staticmethod
    def size(stripes: int = STRIPES, ways: int = WAYS) -> int:
        """Bytes of memory that it takes."""
        return stripes * (LOCK_SIZE + WORD + ways * (DIGEST_SIZE + _RECORD))

    def create(self) -> None:
        """Called once, by one process, before all else."""
        self.locks.create(self._stripes)

    def __len__(self) -> int:
        """Buckets there are, those that are full again among them, as far as is known without a lock."""
        first = self._counts // WORD
        return sum(self._memory.words[first : first + self._stripes])

    def place_of(
        self, digest: bytes, now: int, room: int | None, begin: Callable[[], tuple[int, int]]
    ) -> tuple[Place | None, bool]:
        """Where this bucket is, and whether it was made now; no place where the stripe is full of buckets in use.

        A new one belongs to `room`, None: no new one may be made. `begin` says what is missing from it, and at what
        rate that comes back. Takes the lock itself.
        """
        first, second = _DIGESTS.unpack(digest)
        first = first or 1
        stripe = second % self._stripes
        self.locks.acquire(stripe)
        try:
            way = self._find(stripe, _DIGESTS.pack(first, second))
            if way is not None:
                return self._place(stripe, way, (first, second)), False
            way = None if room is None else self._free_way(stripe, now)
            if room is None or way is None:
                return None, False
            place = self._place(stripe, way, (first, second))
            self._make(place, room, now, *begin())
            return place, True
        finally:
            self.locks.release(stripe)

    def holds(self, place: Place) -> bool:
        """Whether the bucket is still there: its place may have been given to another when it was full."""
        words, at = self._memory.words, place.digest >> 3
        return words[at] == place.first and words[at + 1] == place.second

    def take(self, place: Place, limit: Limit, now: int) -> Grant | None:
        """One token, if there is one; None where the bucket is not there any more. Takes the lock itself."""
        words, at, locks = self._memory.words, place.digest >> 3, self.locks
        outcome = locks.try_at(place.address)
        if outcome:
            locks.insist(place.number, outcome)
        try:
            if words[at] != place.first or words[at + 1] != place.second:
                return None
            admitted, missing = Bucket.spend(self._memory, place.record, limit, now)
        finally:
            locks.unlock_at(place.address)
        return Grant(admitted, limit, limit.capacity - missing)

    def take_plainly(self, place: Place, limit: Limit, now: int) -> int:
        """One token where there is one: the level that is left. -1, with nothing done, where that is not plain.

        It is nearly every request's way, so what `take` and `Bucket.spend` say is written out, for what they are mostly
        asked: a bucket that is there, has a token, and lacks less than a word holds.
        """
        words, buffer, at, record = self._words, self._bytes, place.digest >> 3, place.record
        outcome = self._try_at(place.address)
        if outcome:
            self.locks.insist(place.number, outcome)
        try:
            counts = words[record >> 3]
            updated: int
            missing: int
            updated, missing, tail = _read_slot(buffer, record + WORD + 24 * counts)
            if now > updated:
                missing -= (now - updated) * (tail >> 8)
                if missing < 0:
                    missing = 0
            else:
                now = updated
            missing += TOKEN
            level = limit.capacity - missing
            if level < 0 or missing > _LOW or tail & 0xFF or words[at] != place.first or words[at + 1] != place.second:
                return -1
            _write_slot(buffer, record + WORD + 24 * (1 - counts), now, missing, limit.per_minute << 8)
            words[record >> 3] = 1 - counts
            return level
        finally:
            self._unlock_at(place.address)

    def sweep(self, most: int, now: int) -> int:
        """Gives up buckets that are full again, in the next stripes of at most `most` buckets; how many it gave up.

        It looks without a lock, and again with it where it found something.
        """
        words, given_up = self._memory.words, 0
        for _ in range(self._stripes):
            stripe = self._next_to_sweep = (self._next_to_sweep + 1) % self._stripes
            if not words[self._counts // WORD + stripe]:
                continue
            for way in self._used_ways(stripe):
                if self._is_full(stripe, way, now):
                    given_up += self._give_up(stripe, way, now)
            most -= self._ways
            if most <= 0:
                break
        return given_up

    def _find(self, stripe: int, digest: bytes) -> int | None:
        begin = self._digests + stripe * self._ways * DIGEST_SIZE
        end = begin + self._ways * DIGEST_SIZE
        at = begin
        while (at := self._memory.bytes.find(digest, at, end)) >= 0:
            if not (at - begin) % DIGEST_SIZE:
                return (at - begin) // DIGEST_SIZE
            at += 1
        return None

    def _free_way(self, stripe: int, now: int) -> int | None:
        """A place that nobody has, or, in a stripe that has none left, one whose bucket is full again."""
        way = self._find(stripe, _NOTHING)
        if way is None:
            begin = self._next_to_try = self._next_to_try + TRIED_AT_A_TIME
            ways = (number % self._ways for number in range(begin, begin + TRIED_AT_A_TIME))
            way = next((way for way in ways if self._is_full(stripe, way, now)), None)
            if way is not None:
                self._wipe(stripe, way)
        return way

    def _place(self, stripe: int, way: int, words: tuple[int, int]) -> Place:
        number = stripe * self._ways + way
        return Place(self.locks, stripe, self._digests + number * DIGEST_SIZE, self._records + number * _RECORD, words)

    def _make(self, place: Place, room: int, now: int, missing: int, rate: int) -> None:
        words, at = self._memory.words, place.digest >> 3
        Bucket.write(self._memory, place.record, now, missing, rate)
        words[(place.record >> 3) + _ROOM] = room
        words[self._counts // WORD + place.number] += 1
        words[at + 1] = place.second
        words[at] = place.first

    def _wipe(self, stripe: int, way: int) -> None:
        number = stripe * self._ways + way
        words, at = self._memory.words, (self._digests >> 3) + 2 * number
        words[at] = 0
        words[at + 1] = 0
        words[self._counts // WORD + stripe] -= 1
        self.forgotten(words[((self._records + number * _RECORD) >> 3) + _ROOM])

    def _give_up(self, stripe: int, way: int, now: int) -> bool:
        self.locks.acquire(stripe)
        try:
            first = self._memory.words[(self._digests >> 3) + 2 * (stripe * self._ways + way)]
            is_full = first != 0 and self._is_full(stripe, way, now)
            if is_full:
                self._wipe(stripe, way)
            return is_full
        finally:
            self.locks.release(stripe)

    def _used_ways(self, stripe: int) -> list[int]:
        begin = self._digests + stripe * self._ways * DIGEST_SIZE
        digests = self._memory.bytes[begin : begin + self._ways * DIGEST_SIZE]
        return [way for way, (first, _) in enumerate(_DIGESTS.iter_unpack(digests)) if first]

    def _is_full(self, stripe: int, way: int, now: int) -> bool:
        record = self._records + (stripe * self._ways + way) * _RECORD
        updated, missing, rate = Bucket.read(self._memory, record)
        return missing <= (now - updated) * rate

    def _repair(self, stripe: int) -> None:
        """Its last holder died: a digest without its first word is no bucket, and the count is made anew."""
        words, used = self._memory.words, self._used_ways(stripe)
        for way in set(range(self._ways)).difference(used):
            words[(self._digests >> 3) + 2 * (stripe * self._ways + way) + 1] = 0
        words[self._counts // WORD + stripe] = len(used)
