"""Which of a service's targets takes the next request.

- *Round robin* goes round by weight, smoothly: of 5, 1 and 1 the heavy one is never asked five times in a row.
- *Least requests* asks the one with the fewest requests under way for its weight, so a slow target gets few.
- *Consistent hash* gives the same key the same target, and when a target goes only its own keys move. This is
  rendezvous hashing (Thaler and Ravishankar, 1996): each target draws a lot for each key, and the highest, by weight,
  has it. Keys fall into places, and who has a place is remembered, so that a request costs one hash.

A balancer is made for the targets that may be asked at the moment; when these change, another takes its place.
"""

import math
from collections.abc import Sequence
from hashlib import blake2b
from random import Random
from typing import Generic, Literal, Protocol, TypeVar

Method = Literal["round_robin", "least_requests", "consistent_hash"]
PLACES = 16_384


class Contender:
    """A target in the eyes of a balancer. `name` tells it from the others; `in_flight` are its requests under way."""

    __slots__ = ("in_flight", "name", "weight")

    def __init__(self, name: str, weight: int) -> None:
        self.name = name
        self.weight = weight
        self.in_flight = 0


C = TypeVar("C", bound=Contender)
C_co = TypeVar("C_co", bound=Contender, covariant=True)


class Balancer(Protocol[C_co]):
    """`key` is whatever a request shall be told apart by; only a consistent hash asks for it."""

    def choose(self, key: bytes) -> C_co: ...


class RoundRobin(Generic[C]):
    """Begins anywhere, so that several gateways that start together don't all begin with the same target."""

    __slots__ = ("_contenders", "_position", "_total", "_turns")

    def __init__(self, contenders: Sequence[C], random: Random) -> None:
        self._contenders = contenders
        self._turns = [0] * len(contenders)
        self._total = sum(contender.weight for contender in contenders)
        alike = len({contender.weight for contender in contenders}) == 1
        self._position = random.randrange(len(contenders)) if alike else -1
        for _ in range(0 if alike else random.randrange(len(contenders))):
            self.choose(b"")

    def copy(self, contenders: Sequence[C]) -> "RoundRobin[C]":
        """For copies of the same contenders, in the same order."""
        other = RoundRobin(contenders, Random(0))  # noqa: S311  where it begins is overwritten
        other._turns, other._position = list(self._turns), self._position
        return other

    def choose(self, key: bytes) -> C:
        contenders = self._contenders
        if self._position >= 0:  # equal weights: in turn
            self._position = position = (self._position + 1) % len(contenders)
            return contenders[position]
        turns = self._turns  # what each is owed; the one that is owed most has it, and pays for all
        best = 0
        for place, contender in enumerate(contenders):
            turns[place] += contender.weight
            if turns[place] > turns[best]:
                best = place
        turns[best] -= self._total
        return contenders[best]


class LeastRequests(Generic[C]):
    """Between those that have equally few, chance decides, by weight."""

    __slots__ = ("_contenders", "_random")

    def __init__(self, contenders: Sequence[C], random: Random) -> None:
        self._contenders = contenders
        self._random = random

    def choose(self, key: bytes) -> C:
        least, ties = math.inf, list[C]()
        for contender in self._contenders:
            load = contender.in_flight / contender.weight
            if load < least:
                least, ties = load, [contender]
            elif load == least:
                ties.append(contender)
        return ties[0] if len(ties) == 1 else _by_weight(ties, self._random)


class ConsistentHash(Generic[C]):
    """The same in every process: nothing but the names, the weights and the key decides."""

    __slots__ = ("_contenders", "_owners")

    def __init__(self, contenders: Sequence[C]) -> None:
        self._contenders = contenders
        self._owners: list[C | None] = [None] * PLACES

    def choose(self, key: bytes) -> C:
        place = _place_of(key)
        owner = self._owners[place]
        if owner is None:
            owner = self._owners[place] = _owner_of(place, self._contenders)
        return owner


def balancer(method: Method, contenders: Sequence[C], random: Random) -> Balancer[C]:
    """One for these contenders, of which there is at least one."""
    if method == "least_requests":
        return LeastRequests(contenders, random)
    if method == "consistent_hash":
        return ConsistentHash(contenders)
    return RoundRobin(contenders, random)


def continued(before: Balancer[C], method: Method, contenders: Sequence[C], random: Random) -> Balancer[C]:
    """One for copies of the same contenders, in the same order, that goes on where the one before is."""
    return before.copy(contenders) if isinstance(before, RoundRobin) else balancer(method, contenders, random)


def choose_once(method: Method, contenders: Sequence[C], key: bytes, random: Random) -> C:
    """For a retry, among those that were not tried. A round has no beginning for it, so there chance decides."""
    if method == "least_requests":
        return LeastRequests(contenders, random).choose(key)
    if method == "consistent_hash":
        return _owner_of(_place_of(key), contenders)
    return _by_weight(contenders, random)


def _by_weight(contenders: Sequence[C], random: Random) -> C:
    return random.choices(contenders, [contender.weight for contender in contenders])[0]


def _place_of(key: bytes) -> int:
    return int.from_bytes(blake2b(key, digest_size=8).digest()) % PLACES


def _owner_of(place: int, contenders: Sequence[C]) -> C:
    """The one with the highest lot: weight / -ln(u), for a u between 0 and 1 that place and name determine."""
    seed = b"%d " % place

    def lot(contender: C) -> float:
        drawn = int.from_bytes(blake2b(seed + contender.name.encode(), digest_size=8).digest())
        return contender.weight / -math.log((drawn + 1) / (2**64 + 1))

    return max(contenders, key=lot)
