"""Token buckets in shared memory, for keys and for rules: exact across all processes that share it.

The same as `limits.py`, and the same contract holds. Keys have a table of their own, so that a flood of addresses takes
no key's place.

A process remembers where it found a bucket. That place may have been given to another when the bucket was full, so it
is looked at again under the lock. Who needs several buckets holds all their locks, taken in one order, before it asks
any of them.
"""

from collections.abc import Collection, Sequence
from hashlib import blake2b

from microgateway.core.limit_rules import Subject
from microgateway.core.token_bucket import NANOSECONDS, TOKEN, Grant, Limit, TokenBucket
from microgateway.snapshot import Principal
from microgateway.state.limits import MOST_SUBJECTS, SWEPT_AT_A_TIME, Claim, Limiting, ToldAgain
from microgateway.state.robust_locks import LOCK_SIZE
from microgateway.state.shared_buckets import DIGEST_SIZE, STRIPES, WAYS, Bucket, BucketTable, Place
from microgateway.state.shared_memory import SharedMemory
from microgateway.state.shared_rooms import ADMITTED, OVERFLOWED, REFUSED, SHADOWED, SUBJECTS, RoomTable

MOST_REMEMBERED = 200_000  # places of one room that a process keeps in mind: about 40 MB
SECRET_SIZE = 32
RETRIES = "retries"  # a room that is no rule's


class SharedLimits:
    """Where everything is in the memory, from byte `offset` on. `create` is called once, by one process."""

    def __init__(self, memory: SharedMemory, offset: int = 0, *, stripes: int = STRIPES, ways: int = WAYS) -> None:
        self.memory = memory
        self._offset = offset
        table_size = BucketTable.size(stripes, ways)
        tables = offset + LOCK_SIZE  # the secret takes up less
        self.keys = BucketTable(memory, tables, stripes=stripes, ways=ways)
        self.rules = BucketTable(memory, tables + table_size, stripes=stripes, ways=ways)
        self.rooms = RoomTable(memory, tables + 2 * table_size)

    @staticmethod
    def size(stripes: int = STRIPES, ways: int = WAYS) -> int:
        """Bytes of memory that all of it takes."""
        return LOCK_SIZE + 2 * BucketTable.size(stripes, ways) + RoomTable.size()

    def create(self, secret: bytes) -> None:
        """`secret` is 32 random bytes: with them nobody outside can tell which subjects share a stripe."""
        self.memory.bytes[self._offset : self._offset + SECRET_SIZE] = secret
        for part in (self.keys, self.rules, self.rooms):
            part.create()

    def close(self) -> None:
        for part in (self.keys, self.rules, self.rooms):
            part.locks.close()

    def digest_of_bucket(self, space: str, subject: Subject) -> bytes:
        """What the bucket of a subject is found by; a text and the same bytes are two subjects."""
        if isinstance(subject, bytes):
            return self._digest(b"bytes", space, subject)
        return self._digest(b"text", space, subject.encode())

    def digest_of_room(self, space: str) -> bytes:
        """What a rule's room is found by."""
        return self._digest(b"room", space, b"")

    def _digest(self, kind: bytes, space: str, subject: bytes) -> bytes:
        secret = self.memory.bytes[self._offset : self._offset + SECRET_SIZE]
        name = b"%b\0%b\0%b" % (kind, space.encode(), subject)
        return blake2b(name, digest_size=DIGEST_SIZE, key=secret).digest()


class SharedRoom:
    """One rule's buckets and counters, as one process uses them; `places` are the buckets that it has found."""

    __slots__ = ("_limits", "_process", "_tag", "number", "overflow", "places", "space", "table")

    def __init__(self, limits: SharedLimits, space: str, process: int) -> None:
        self._limits = limits
        self._process = process
        self.space = space
        self.number = limits.rooms.number_of(limits.digest_of_room(space))
        self._tag = limits.rooms.tag(self.number)
        self.table = limits.keys if space == Principal.space else limits.rules
        self.overflow = Place(limits.rooms.locks, self.number, 0, limits.rooms.bucket(self.number))
        self.places: dict[Subject, Place] = {}

    def count(self, counter: int) -> None:
        """One more, in this process's column."""
        self._limits.rooms.count(self.number, counter, self._process, 1)

    def find(self, subject: Subject, limit: Limit, now: int, *, most: int | None) -> Place:
        """Where the subject's bucket is; it is made where there is none. The shared one's place where there can't be.

        It has `most` buckets, None: as many as there is room for. Takes locks, and holds none when it returns.
        """
        place = self.places.get(subject)
        if place is not None:
            return place
        digest = self._limits.digest_of_bucket(self.space, subject)
        may_make = most is None or self.subjects < most
        place, is_new = self.table.place_of(
            digest, now, self._tag if may_make else None, lambda: self._begin(limit, now)
        )
        if place is None:
            return self.overflow
        if is_new:
            self.count(SUBJECTS)
        if len(self.places) >= MOST_REMEMBERED:
            self.places.clear()
        self.places[subject] = place
        return place

    def _begin(self, limit: Limit, now: int) -> tuple[int, int]:
        """What is missing from a new bucket, and its rate: its subject may have used the shared one."""
        rooms = self._limits.rooms
        rooms.locks.acquire(self.number)
        try:
            return Bucket.missing(self._limits.memory, self.overflow.record, limit, now), limit.per_minute
        finally:
            rooms.locks.release(self.number)

    @property
    def admitted(self) -> int:
        return self._total(ADMITTED)

    @property
    def refused(self) -> int:
        return self._total(REFUSED)

    @property
    def shadowed(self) -> int:
        return self._total(SHADOWED)

    @property
    def overflowed(self) -> int:
        return self._total(OVERFLOWED)

    @property
    def subjects(self) -> int:
        return self._total(SUBJECTS)

    def _total(self, counter: int) -> int:
        return self._limits.rooms.total(self.number, counter)


_Wanted = tuple[SharedRoom, Subject, Limit, bool]
"""A claim with its room at hand; the last says whether the limit is enforced."""


class HeldKey:
    """A key's own limit, alone, as `hold` keeps it; `place` is where its bucket was when it was last found."""

    __slots__ = ("place", "principal")

    def __init__(self, principal: Principal) -> None:
        self.principal = principal
        self.place: Place | None = None


class SharedLimiter:
    """Every bucket there is, as one process uses them. `process` is its number, below `MOST_PROCESSES`.

    `now` is seconds on a clock that never goes back and that all the processes share, as a machine's monotonic one.
    """

    def __init__(self, limits: SharedLimits, *, process: int, most_subjects: int = MOST_SUBJECTS) -> None:
        self._limits = limits
        self._memory = limits.memory
        self._process = process
        self._most_subjects = most_subjects
        self._rooms: dict[str, SharedRoom] = {}
        self._keys = self._open(Principal.space)
        self._places = self._keys.places
        self._take_plainly = limits.keys.take_plainly
        limits.keys.forgotten = limits.rules.forgotten = self._forgotten

    def take(self, client: str, limit: Limit, now: float) -> Grant:
        """One token from the bucket of a key's own limit."""
        place = self._places.get(client)
        if place is not None:
            grant = self._limits.keys.take(place, limit, int(now * NANOSECONDS))
            if grant is not None:
                return grant
        return self._take_together([(self._keys, client, limit, True)], int(now * NANOSECONDS))[0]

    def take_all(self, claims: Sequence[Claim], now: float) -> list[Grant]:
        """One token from every bucket, or none from any where an enforced limit's is empty; in the claims' order.

        A bucket of a limit that is not enforced and is empty stays so, and hinders nobody.
        """
        return self._take_together(self._wanted(claims), int(now * NANOSECONDS))

    def hold(self, claims: Sequence[Claim]) -> Sequence[HeldKey | None]:
        """The claims in the form in which `take_again` is quick: a key's own limit alone. For others it is None."""
        if not claims:
            return ()
        limiting = claims[0][0]
        return (HeldKey(limiting) if len(claims) == 1 and isinstance(limiting, Principal) else None,)

    def take_again(self, held: Sequence[HeldKey | None], now: float) -> ToldAgain | None:
        """One token where only a key's own limit is asked and its bucket is at hand; otherwise `take_all` is asked."""
        if not held:
            return 0, None
        key = held[0]
        if key is None:
            return None
        place = key.place
        if place is None:
            place = key.place = self._places.get(key.principal.id)
            if place is None:
                return None
        level = self._take_plainly(place, key.principal.limit, int(now * NANOSECONDS))
        if level < 0:
            key.place = None  # it may be another's place by now
            return None
        return level, key.principal

    def peek(self, claims: Sequence[Claim], now: float) -> list[Grant]:
        """What `take_all` would find, with nothing taken and nothing counted."""
        wanted, instant = self._wanted(claims), int(now * NANOSECONDS)
        places = self._hold(wanted, instant)
        try:
            return [_as_it_stands(limit, gone) for limit, gone in self._missing(wanted, places, instant)]
        finally:
            _release(places)

    def look(self, limiting: Limiting, subject: Subject, now: float) -> TokenBucket:
        """A copy of one bucket as it stands under this limit. Unlike `peek` it leaves no trace at all."""
        instant = int(now * NANOSECONDS)
        bucket = TokenBucket(limiting.limit, instant)
        bucket.lower(self._missing_of(limiting, subject, instant))
        return bucket

    def room(self, space: str) -> SharedRoom:
        """A rule's buckets and counters, to look at."""
        return self._rooms.get(space) or self._open(space)

    def sweep(self, now: float) -> None:
        """Forgets some of the buckets that are full; all are looked at in turn."""
        for table in (self._limits.keys, self._limits.rules):
            table.sweep(SWEPT_AT_A_TIME // 2, int(now * NANOSECONDS))

    def keep_only(self, spaces: Collection[str]) -> None:
        """Forgets where the buckets of rules are that are not among these. Their memory is `reclaim`'s to give back."""
        for space in [space for space in self._rooms if space not in spaces and space != Principal.space]:
            del self._rooms[space]

    def reclaim(self, spaces: Collection[str]) -> None:
        """Gives up the rooms of rules that are not among these. For one process only, once no other uses them."""
        self.keep_only(spaces)
        kept = (*spaces, Principal.space, RETRIES)
        self._limits.rooms.keep_only({self._limits.digest_of_room(space) for space in kept})

    def take_retry(self, service_id: str, limit: Limit, now: int) -> bool:
        """One of the retries that a service may get; `now` is nanoseconds."""
        return self._take_together([(self.room(RETRIES), service_id, limit, True)], now)[0].admitted

    def _missing_of(self, limiting: Limiting, subject: Subject, now: int) -> int:
        """What is missing from a bucket, or, where there is none, from the shared one that it would begin with."""
        limits, space, limit = self._limits, limiting.space, limiting.limit
        table = limits.keys if space == Principal.space else limits.rules
        place, _ = table.place_of(limits.digest_of_bucket(space, subject), now, None, lambda: (0, 0))
        if place is not None:
            place.locks.acquire(place.number)
            try:
                return Bucket.missing(self._memory, place.record, limit, now) if table.holds(place) else 0
            finally:
                place.locks.release(place.number)
        number = limits.rooms.known(limits.digest_of_room(space))
        if number is None:
            return 0
        limits.rooms.locks.acquire(number)
        try:
            return Bucket.missing(self._memory, limits.rooms.bucket(number), limit, now)
        finally:
            limits.rooms.locks.release(number)

    def _wanted(self, claims: Sequence[Claim]) -> list[_Wanted]:
        return [(self.room(limiting.space), subject, limiting.limit, limiting.enforced) for limiting, subject in claims]

    def _take_together(self, wanted: Sequence[_Wanted], now: int) -> list[Grant]:
        places = self._hold(wanted, now)
        try:
            found = self._missing(wanted, places, now)
            refused = False
            for (limit, gone), (room, _, _, enforced) in zip(found, wanted, strict=True):
                if limit.capacity - gone < TOKEN:
                    refused = refused or enforced
                    room.count(REFUSED if enforced else SHADOWED)
            if refused:
                return [_as_it_stands(limit, gone) for limit, gone in found]
            return [self._spend(one, place, now) for one, place in zip(wanted, places, strict=True)]
        finally:
            _release(places)

    def _missing(self, wanted: Sequence[_Wanted], places: Sequence[Place], now: int) -> list[tuple[Limit, int]]:
        return [
            (limit, Bucket.missing(self._memory, place.record, limit, now))
            for (_, _, limit, _), place in zip(wanted, places, strict=True)
        ]

    def _spend(self, wanted: _Wanted, place: Place, now: int) -> Grant:
        room, _, limit, _ = wanted
        admitted, missing = Bucket.spend(self._memory, place.record, limit, now)
        if admitted:
            room.count(ADMITTED)
        if place is room.overflow:
            room.count(OVERFLOWED)
        return Grant(admitted, limit, limit.capacity - missing)

    def _hold(self, wanted: Sequence[_Wanted], now: int) -> list[Place]:
        """Where these buckets are, with all their locks held; `_release` lets go of them."""
        while True:
            places = [
                room.find(subject, limit, now, most=None if room is self._keys else self._most_subjects)
                for room, subject, limit, _ in wanted
            ]
            _acquire(places)
            gone = [
                one
                for one, place in zip(wanted, places, strict=True)
                if place is not one[0].overflow and not one[0].table.holds(place)
            ]
            if not gone:
                return places
            _release(places)
            for room, subject, _, _ in gone:
                room.places.pop(subject, None)

    def _open(self, space: str) -> SharedRoom:
        room = self._rooms[space] = SharedRoom(self._limits, space, self._process)
        return room

    def _forgotten(self, tag: int) -> None:
        room = self._limits.rooms.room_of(tag)
        if room is not None:
            self._limits.rooms.count(room, SUBJECTS, self._process, -1)


def _as_it_stands(limit: Limit, missing: int) -> Grant:
    level = limit.capacity - missing
    return Grant(level >= TOKEN, limit, level)


def _acquire(places: Sequence[Place]) -> None:
    """Each lock once, in the order of their addresses, so that no two processes wait for each other."""
    if len(places) == 1:
        places[0].locks.acquire(places[0].number)
        return
    for _, place in sorted({place.address: place for place in places}.items()):
        place.locks.acquire(place.number)


def _release(places: Sequence[Place]) -> None:
    for place in {place.address: place for place in places}.values():
        place.locks.release(place.number)
