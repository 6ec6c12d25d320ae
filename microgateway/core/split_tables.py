"""A table that another one is made of without copying all of it.

A dict that is shared must be copied to be changed, and with 100 000 entries that takes some milliseconds of an event
loop. Here the entries lie in many dicts, by their hashes, and of those that are changed only are there copies.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")
PARTS = 256  # of 400 entries each, where there are 100 000


class SplitTable(Mapping[K, V]):
    """Immutable, and in no order. A look-up is one of a list and one of a dict."""

    __slots__ = ("_parts", "_size")

    def __init__(self, entries: Mapping[K, V]) -> None:
        parts: list[dict[K, V]] = [{} for _ in range(PARTS)]
        for key, value in entries.items():
            parts[hash(key) % PARTS][key] = value
        self._parts = parts
        self._size = len(entries)

    def __getitem__(self, key: K) -> V:
        return self._parts[hash(key) % PARTS][key]

    def __iter__(self) -> Iterator[K]:
        for part in self._parts:
            yield from part

    def __len__(self) -> int:
        return self._size

    def find(self, key: K) -> V | None:
        """None where it is not there."""
        return self._parts[hash(key) % PARTS].get(key)

    def changed(self, put: Mapping[K, V], gone: Iterable[K] = ()) -> "SplitTable[K, V]":
        """The table with these entries, and without those that are `gone` and not put."""
        parts = self._parts.copy()
        own: set[int] = set()
        for key in (*put, *gone):
            number = hash(key) % PARTS
            if number not in own:
                own.add(number)
                parts[number] = parts[number].copy()
            if key in put:
                parts[number][key] = put[key]
            else:
                parts[number].pop(key, None)
        table: SplitTable[K, V] = SplitTable.__new__(SplitTable)
        table._parts = parts
        table._size = self._size + sum(len(parts[number]) - len(self._parts[number]) for number in own)
        return table
