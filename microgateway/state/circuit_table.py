"""Circuits as they lie in shared memory: their numbers, and which process has how many probes under way.

A circuit has two copies of its numbers and a word that says which counts, for the reason that buckets have them (see
`shared_buckets.py`). The first of those numbers is the head: the generation, the state, and whether successes have to
be told. It alone is read without the lock, by every request.

Probes are counted by process, each in a word of its own beside the generation that they are of: so a process that dies
takes none with it for ever, and in a new generation none is counted that was sent in an older one.
"""

from collections.abc import Collection, Iterator
from hashlib import blake2b
from struct import Struct

from microgateway.core.outcome_window import BUCKETS
from microgateway.state.robust_locks import LOCK_SIZE, RobustLocks
from microgateway.state.shared_memory import MOST_PROCESSES, WORD, SharedMemory

MOST_CIRCUITS = 4_096
DIGEST_SIZE = 16

# head, reopens at, failures, trips, successes, the window's numbers, mode, recovery timeout, window's seconds
NUMBERS = Struct(f"QdQQQ{1 + 3 * BUCKETS}qQdd")
_COPY = NUMBERS.size
_PROBES = WORD + 2 * _COPY
_RECORD = _PROBES + MOST_PROCESSES * WORD
_COUNT_BITS = 16
_COUNT = (1 << _COUNT_BITS) - 1
_EVERY_PROBE = Struct(f"{MOST_PROCESSES}Q")
_DIGESTS = Struct("QQ")


class CircuitTable:
    """All circuits, from byte `offset` on. The last lock guards which circuits there are, each other one a circuit."""

    def __init__(self, memory: SharedMemory, offset: int = 0) -> None:
        self._memory = memory
        self._digests = offset + (MOST_CIRCUITS + 1) * LOCK_SIZE
        self._records = self._digests + MOST_CIRCUITS * DIGEST_SIZE
        self.locks = RobustLocks(memory.bytes, offset, self._repair)

    @staticmethod
    def size() -> int:
        """Bytes of memory that it takes."""
        return (MOST_CIRCUITS + 1) * LOCK_SIZE + MOST_CIRCUITS * (DIGEST_SIZE + _RECORD)

    def create(self) -> None:
        """Called once, by one process, before all else."""
        self.locks.create(MOST_CIRCUITS + 1)

    def close(self) -> None:
        self.locks.close()

    def obtain(self, name: str, numbers: tuple[float, ...]) -> tuple[int | None, bool]:
        """The number of this circuit, None where there is no room; and whether it was made now, with these numbers."""
        digest = _digest(name)
        self.locks.acquire(MOST_CIRCUITS)
        try:
            number = self._find(digest)
            if number is not None:
                return number, False
            number = self._find(bytes(DIGEST_SIZE))
            if number is not None:
                begin = self._records + number * _RECORD
                self._memory.bytes[begin : begin + _RECORD] = bytes(_RECORD)
                self.write(number, numbers)
                self._name(number, digest)
            return number, True
        finally:
            self.locks.release(MOST_CIRCUITS)

    def keep_only(self, names: Collection[str]) -> None:
        """Gives the other circuits up."""
        digests = {_digest(name) for name in names}
        self.locks.acquire(MOST_CIRCUITS)
        try:
            for number, digest in self._named():
                if digest not in digests:
                    self._name(number, bytes(DIGEST_SIZE))
        finally:
            self.locks.release(MOST_CIRCUITS)

    def place_of_copies(self, number: int) -> tuple[int, int]:
        """The word that says which copy counts, and the first word of the first copy."""
        first = (self._records + number * _RECORD) // WORD
        return first, first + 1

    def read(self, number: int) -> tuple[float, ...]:
        """The numbers that count at the moment; with the lock held they stay."""
        begin = self._records + number * _RECORD
        return NUMBERS.unpack_from(self._memory.bytes, begin + WORD + _COPY * self._memory.words[begin // WORD])

    def write(self, number: int, numbers: tuple[float, ...]) -> None:
        """With the lock held: to the copy that does not count, and then it does."""
        begin = self._records + number * _RECORD
        other = 1 - self._memory.words[begin // WORD]
        NUMBERS.pack_into(self._memory.bytes, begin + WORD + _COPY * other, *numbers)
        self._memory.words[begin // WORD] = other

    def probes(self, number: int, generation: int) -> int:
        """Of this generation under way, from all processes."""
        words = _EVERY_PROBE.unpack_from(self._memory.bytes, self._records + number * _RECORD + _PROBES)
        return sum(word & _COUNT for word in words if word >> _COUNT_BITS == generation)

    def add_probes(self, number: int, generation: int, process: int, by: int) -> None:
        """With the lock held."""
        at = (self._records + number * _RECORD + _PROBES) // WORD + process
        word = self._memory.words[at]
        count = word & _COUNT if word >> _COUNT_BITS == generation else 0
        self._memory.words[at] = generation << _COUNT_BITS | max(0, count + by)

    def forget_process(self, process: int) -> None:
        """This process is dead: the probes that it had under way are given back."""
        for number, _ in self._named():
            self.locks.acquire(number)
            try:
                self._memory.words[(self._records + number * _RECORD + _PROBES) // WORD + process] = 0
            finally:
                self.locks.release(number)

    def _find(self, digest: bytes) -> int | None:
        at = self._digests
        while (at := self._memory.bytes.find(digest, at, self._records)) >= 0:
            if not (at - self._digests) % DIGEST_SIZE:
                return (at - self._digests) // DIGEST_SIZE
            at += 1
        return None

    def _named(self) -> Iterator[tuple[int, bytes]]:
        digests = self._memory.bytes[self._digests : self._records]
        for number in range(MOST_CIRCUITS):
            digest = digests[number * DIGEST_SIZE : (number + 1) * DIGEST_SIZE]
            if any(digest):
                yield number, digest

    def _name(self, number: int, digest: bytes) -> None:
        first, second = _DIGESTS.unpack(digest)
        at = (self._digests + number * DIGEST_SIZE) // WORD
        self._memory.words[at + 1] = second
        self._memory.words[at] = first

    def _repair(self, number: int) -> None:
        """A circuit is whole at any moment. A name that is half written is wiped out."""
        if number == MOST_CIRCUITS:
            for each, digest in self._named():
                if not any(digest[: DIGEST_SIZE // 2]) or not any(digest[DIGEST_SIZE // 2 :]):
                    self._name(each, bytes(DIGEST_SIZE))


def _digest(name: str) -> bytes:
    return blake2b(name.encode(), digest_size=DIGEST_SIZE).digest()
