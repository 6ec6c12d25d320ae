"""Token buckets in this process's memory, for keys and for rules. One event loop uses them, so nothing is locked.

Buckets live in rooms: one for the keys' own limits, and one for each rule, with a bucket for every subject that the
rule has seen. A room is bounded. A bucket that is full again says the same as one that was never there, so a sweep
forgets it. Where a room is full of buckets that are in use, subjects that it does not know share one more bucket, and
as long as that one has something to answer for, a new bucket begins with no more than is left in it: so forgetting
never gives anybody more than the limit.
"""

from collections.abc import Collection, Sequence
from copy import copy

from microgateway.core.limit_rules import LimitRule, Subject
from microgateway.core.token_bucket import NANOSECONDS, NEVER, TOKEN, Grant, Limit, TokenBucket
from microgateway.snapshot import Principal

MOST_SUBJECTS = 100_000  # of one rule: about 30 MB
MOST_KEYS = 1_000_000
SWEPT_AT_A_TIME = 2_000  # buckets: about half a millisecond

_FORGOTTEN = Limit(1, 1)
_NO_BUCKET = TokenBucket(_FORGOTTEN, 0)

Limiting = LimitRule | Principal
Claim = tuple[Limiting, Subject]
"""One bucket that a request needs a token from: whose limit it is, and who is counted."""
Told = tuple[Grant | None, Limiting | None, tuple[LimitRule, ...]]
"""What is told of the limits, whose that is, and the rules that would have refused if they were enforced."""
ToldAgain = tuple[int, Limiting | None]
"""The level that the tightest bucket is left with, and whose it is: None where no limit is enforced."""


class Room:
    """The buckets of one limit, and what they have said. `overflowed` counts requests that had to share a bucket."""

    __slots__ = ("_overflow", "_unswept", "admitted", "buckets", "most", "overflowed", "refused", "shadowed")

    def __init__(self, most: int) -> None:
        self.most = most
        self.buckets: dict[Subject, TokenBucket] = {}
        self._overflow: TokenBucket | None = None
        self._unswept: list[Subject] = []
        self.admitted = 0
        self.refused = 0
        self.shadowed = 0
        self.overflowed = 0

    @property
    def subjects(self) -> int:
        """Those that have a bucket now."""
        return len(self.buckets)

    def bucket_of(self, subject: Subject, limit: Limit, now: int) -> TokenBucket:
        """The subject's bucket, with this limit in force; what was used stays used. A new one is not yet kept."""
        bucket = self.buckets.get(subject)
        if bucket is None:
            return self._new_bucket(limit, now)
        if bucket.limit is not limit:  # perhaps an equal one: then it changes nothing, and is at hand the next time
            bucket.change_limit(limit, now)
        return bucket

    def look(self, subject: Subject, limit: Limit, now: int) -> TokenBucket:
        """A copy of what `bucket_of` would find. Nothing is changed, and nothing begun."""
        known = self.buckets.get(subject)
        if known is None and self._overflow is not None:  # it has this one, or would begin with what is left in it
            known = self._overflow
        if known is None:
            return TokenBucket(limit, now)
        bucket = copy(known)
        if bucket.limit != limit:
            bucket.change_limit(limit, now)
        return bucket

    def take(self, subject: Subject, bucket: TokenBucket) -> Grant:
        """One token from this bucket, which is refilled, if there is one. From here on the room remembers it."""
        admitted = bucket.level >= TOKEN
        if admitted:
            bucket.lower(TOKEN)
            self.admitted += 1
        if bucket is self._overflow:
            self.overflowed += 1
        else:
            self.buckets[subject] = bucket
        return Grant(admitted, bucket.limit, bucket.level)

    def is_being_swept(self) -> bool:
        """Whether the present sweep has not yet looked at all that there was when it began."""
        return bool(self._unswept)

    def sweep(self, most: int, now: int) -> int:
        """Forgets full buckets among the next `most`; says how many it looked at."""
        if not self._unswept:
            self._unswept = list(self.buckets)
        looked_at = self._unswept[-most:]
        del self._unswept[-most:]
        buckets = self.buckets
        for subject in looked_at:
            bucket = buckets.get(subject)
            if bucket is not None and bucket.is_full(now):
                bucket.limit = _FORGOTTEN  # for who has it at hand
                del buckets[subject]
        return len(looked_at)

    def _new_bucket(self, limit: Limit, now: int) -> TokenBucket:
        overflow = self._overflow
        if overflow is not None and overflow.limit != limit:
            overflow.change_limit(limit, now)
        if len(self.buckets) >= self.most:
            if overflow is None:
                overflow = self._overflow = TokenBucket(limit, now)
            return overflow
        bucket = TokenBucket(limit, now)
        if overflow is not None:  # this subject may have used it
            if overflow.is_full(now):
                self._overflow = None
            else:
                bucket.lower(limit.capacity - overflow.peek(now).level)
        return bucket


class HeldClaim:
    """A claim as a head that comes again keeps it: with the bucket at hand, as long as its room keeps that.

    A bucket that is forgotten has another limit from then on, so one look says whether the one at hand is good.
    """

    __slots__ = ("bucket", "enforced", "limit", "room", "subject", "told")

    def __init__(self, limiting: Limiting, room: Room, subject: Subject) -> None:
        self.limit = limiting.limit
        self.enforced = limiting.enforced
        self.told = limiting if limiting.enforced else None
        self.room = room
        self.subject = subject
        self.bucket = room.buckets.get(subject, _NO_BUCKET)

    def find(self) -> bool:
        """Looks for the bucket once more; says whether it has the claim's limit."""
        self.bucket = self.room.buckets.get(self.subject, _NO_BUCKET)
        return self.bucket.limit is self.limit


class MemoryLimiter:
    """Every bucket there is. `now` is seconds on a clock that never goes back.

    `take` is `take_all` for a request that only its key limits, which is nearly every one.
    """

    def __init__(self, *, most_subjects: int = MOST_SUBJECTS, most_keys: int = MOST_KEYS) -> None:
        self._most_subjects = most_subjects
        self._keys = Room(most_keys)
        self._buckets = self._keys.buckets
        self._rooms: dict[str, Room] = {Principal.space: self._keys}
        self._sweeping: list[Room] = []

    def take(self, client: str, limit: Limit, now: float) -> Grant:
        """One token from the bucket of a key's own limit."""
        instant = int(now * NANOSECONDS)
        bucket = self._buckets.get(client)
        if bucket is None:
            bucket = self._keys.bucket_of(client, limit, instant)
            bucket.refill(instant)  # it may be one that several share
            return self._keys.take(client, bucket)
        if bucket.limit is not limit:
            bucket.change_limit(limit, instant)
        return bucket.take(instant)

    def take_all(self, claims: Sequence[Claim], now: float) -> list[Grant]:
        """One token from every bucket, or none from any where an enforced limit's is empty; in the claims' order.

        A bucket of a limit that is not enforced and is empty stays so, and hinders nobody.
        """
        instant = int(now * NANOSECONDS)
        rooms, found, refused = self._rooms, [], False
        for limiting, subject in claims:
            room = rooms.get(limiting.space) or self._open(limiting.space)
            bucket = room.bucket_of(subject, limiting.limit, instant)
            if bucket.refill(instant) < TOKEN:
                if limiting.enforced:
                    refused = True
                    room.refused += 1
                else:
                    room.shadowed += 1
            found.append((room, subject, bucket))
        if refused:
            return [Grant(bucket.level >= TOKEN, bucket.limit, bucket.level) for _, _, bucket in found]
        return [room.take(subject, bucket) for room, subject, bucket in found]

    def hold(self, claims: Sequence[Claim]) -> list[HeldClaim]:
        """The claims in the form in which `take_again` is quick."""
        rooms = self._rooms
        return [
            HeldClaim(limiting, rooms.get(limiting.space) or self._open(limiting.space), subject)
            for limiting, subject in claims
        ]

    def take_again(self, held: Sequence[HeldClaim], now: float) -> ToldAgain | None:
        """One token from every bucket, where each is known and has one: the tightest verdict, and whose it is.

        None, with nothing taken or counted, where `take_all` must be asked. This is the way of most requests, and most
        find a full bucket: then there is nothing to refill.
        """
        instant = int(now * NANOSECONDS)
        if len(held) != 1:
            return _take_together(held, instant)
        claim = held[0]
        limit = claim.limit
        if claim.bucket.limit is not limit and not claim.find():
            return None
        bucket = claim.bucket
        if instant >= bucket.full_at:
            bucket.updated, bucket.full_at = instant, instant + limit.token_time
            level = limit.after_one
        elif bucket.refill(instant) < TOKEN:
            return None
        else:
            level = bucket.level - TOKEN
            bucket.full_at = bucket.updated + limit.token_time if level == limit.after_one else NEVER
        bucket.level = level
        claim.room.admitted += 1
        return level, claim.told

    def peek(self, claims: Sequence[Claim], now: float) -> list[Grant]:
        """What `take_all` would find, with nothing taken and nothing counted."""
        instant = int(now * NANOSECONDS)
        grants = []
        for limiting, subject in claims:
            room = self._rooms.get(limiting.space) or self._open(limiting.space)
            grants.append(room.bucket_of(subject, limiting.limit, instant).peek(instant))
        return grants

    def look(self, limiting: Limiting, subject: Subject, now: float) -> TokenBucket:
        """A copy of one bucket as it stands under this limit. Unlike `peek` it leaves no trace at all."""
        instant = int(now * NANOSECONDS)
        room = self._rooms.get(limiting.space)
        return TokenBucket(limiting.limit, instant) if room is None else room.look(subject, limiting.limit, instant)

    def room(self, space: str) -> Room:
        """A rule's buckets and counters, to look at."""
        return self._rooms.get(space) or Room(self._most_subjects)

    def sweep(self, now: float) -> None:
        """Forgets some of the buckets that are full; all are looked at in turn."""
        instant, left = int(now * NANOSECONDS), SWEPT_AT_A_TIME
        if not self._sweeping:
            self._sweeping = [room for room in self._rooms.values() if room.buckets]
        while left > 0 and self._sweeping:
            left -= max(1, self._sweeping[-1].sweep(left, instant))
            if not self._sweeping[-1].is_being_swept():
                self._sweeping.pop()

    def keep_only(self, spaces: Collection[str]) -> None:
        """Forgets the buckets of rules that are not among these."""
        for space in [space for space in self._rooms if space not in spaces and space != Principal.space]:
            del self._rooms[space]

    def _open(self, space: str) -> Room:
        room = self._rooms[space] = Room(self._most_subjects)
        return room


def _take_together(held: Sequence[HeldClaim], now: int) -> ToldAgain | None:
    """`take_again` for several buckets."""
    for claim in held:
        bucket, limit = claim.bucket, claim.limit
        if bucket.limit is not limit:
            if not claim.find():
                return None
            bucket = claim.bucket
        if now < bucket.full_at and bucket.refill(now) < TOKEN:
            return None
    least, bound, tightest = 0, 0, None
    for claim in held:
        bucket, limit = claim.bucket, claim.limit
        if now >= bucket.full_at:
            bucket.updated, bucket.full_at = now, now + limit.token_time
            level = limit.after_one
        else:
            level = bucket.level - TOKEN
            bucket.full_at = bucket.updated + limit.token_time if level == limit.after_one else NEVER
        bucket.level = level
        claim.room.admitted += 1
        if claim.enforced and (
            tightest is None or (level < bound and _is_tighter(level, claim.limit, least, tightest.limit))
        ):
            least, bound, tightest = level, level + TOKEN, claim.told
    return least, tightest


def _is_tighter(level: int, limit: Limit, other_level: int, other: Limit) -> bool:
    """Whether the first has fewer whole tokens left, or as many and a longer way to a full bucket."""
    if limit.capacity == other.capacity and limit.per_minute == other.per_minute:
        return level < other_level
    left, other_left = level // TOKEN, other_level // TOKEN
    if left != other_left:
        return left < other_left
    return (limit.capacity - level) * other.per_minute > (other.capacity - other_level) * limit.per_minute
