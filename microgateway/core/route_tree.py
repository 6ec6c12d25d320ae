"""The tree of path segments in which a router keeps its rules, and how another one is made of it.

A tree that is in use is never changed. One with other rules copies the nodes on the way to them and shares all others,
so a change costs what lies beside the way (a node's children are one table, and a table is copied quickly), not what
there is in all; and who still reads the old tree, be it a request in flight or a thread, reads what it always was.
"""

from bisect import insort
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from typing import TYPE_CHECKING, Generic, TypeVar

from microgateway.core.conditions import Asked

if TYPE_CHECKING:
    from microgateway.core.routing import Rule

T = TypeVar("T")


class Candidate(Generic[T]):
    """A rule's conditions, in the shape in which they are asked."""

    __slots__ = ("conditions", "hosts", "methods", "order", "rule", "takes_any", "target", "wildcards")

    def __init__(self, rule: "Rule[T]") -> None:
        self.order = rule.rank()
        self.rule = rule
        self.target = rule.target
        self.takes_any = not rule.hosts and not rule.conditions  # of this path and these methods: no more to ask
        self.conditions = rule.conditions or None
        self.methods = frozenset(rule.methods) or None
        self.hosts = frozenset(name for name in rule.hosts if not name.startswith(b"*.")) if rule.hosts else None
        self.wildcards = tuple(name[1:] for name in rule.hosts if name.startswith(b"*."))

    def takes(self, host: bytes, asked: Asked) -> bool:
        """Whether everything but path and method fits."""
        if self.hosts is None or host in self.hosts or (self.wildcards != () and host.endswith(self.wildcards)):
            return self.conditions is None or self.conditions.hold(asked)
        return False


def word_beside(taken: Sequence[Container[bytes]], word: bytes) -> bytes:
    """This word, or this one and the first number with which it is in none of these."""
    others = (b"%b%d" % (word, number) for number in count(1))
    return next(one for one in chain((word,), others) if not any(one in each for each in taken))


def _order(candidate: Candidate[T]) -> bytes:
    return candidate.order


def in_order(candidates: Iterable[Candidate[T]]) -> "list[Rule[T]]":
    """The rules of these candidates, the best first."""
    return [candidate.rule for candidate in sorted(candidates, key=_order)]


@dataclass(slots=True)
class Node(Generic[T]):
    """A place in the tree: what ends here, what begins here, both the best first, and where each next segment leads."""

    exact: list[Candidate[T]] = field(default_factory=list)
    prefix: list[Candidate[T]] = field(default_factory=list)
    children: "dict[bytes, Node[T]]" = field(default_factory=dict)
    any_segment: "Node[T] | None" = None

    @property
    def is_empty(self) -> bool:
        return not (self.exact or self.prefix or self.children or self.any_segment)

    def copy(self) -> "Node[T]":
        return Node(self.exact.copy(), self.prefix.copy(), self.children.copy(), self.any_segment)

    def below(self) -> "list[Node[T]]":
        return [*self.children.values(), *([self.any_segment] if self.any_segment else ())]

    def on(self, segment: bytes) -> "list[Node[T]]":
        """Where this segment of a request's path leads."""
        child = self.children.get(segment)
        return [node for node in (child, self.any_segment if segment else None) if node is not None]

    def after(self, segment: bytes | None) -> "list[Node[T]]":
        """Where segments lead that a pattern's segment takes."""
        if segment is not None:
            return self.on(segment)
        named = [node for name, node in self.children.items() if name]
        return [*named, self.any_segment] if self.any_segment else named

    def of(self, segment: bytes | None) -> "Node[T] | None":
        """Where this segment of a pattern leads."""
        return self.any_segment if segment is None else self.children.get(segment)

    def put(self, segment: bytes | None, node: "Node[T] | None") -> None:
        """Has it lead there, or nowhere."""
        if segment is None:
            self.any_segment = node
        elif node is None:
            self.children.pop(segment, None)
        else:
            self.children[segment] = node


class Edit(Generic[T]):
    """One change, of as many rules as there are. `root` is the new tree's; the old one stays what it is."""

    def __init__(self, root: Node[T]) -> None:
        self.root = root.copy()
        self._own = {id(self.root): self.root}  # the nodes made here, which may be changed

    def insert(self, rule: "Rule[T]") -> None:
        """Among rules of the same rank it comes last."""
        node = self._way_to(rule)[-1]
        insort(node.exact if rule.pattern.match == "exact" else node.prefix, Candidate(rule), key=_order)

    def remove(self, rule: "Rule[T]") -> None:
        """This very rule, and the places that lead to no other one."""
        way = self._way_to(rule)
        node = way[-1]
        candidates = node.exact if rule.pattern.match == "exact" else node.prefix
        candidates[:] = [candidate for candidate in candidates if candidate.rule is not rule]
        for above, segment, below in reversed(list(zip(way, rule.pattern.segments, way[1:], strict=False))):
            if not below.is_empty:
                break
            above.put(segment, None)

    def _way_to(self, rule: "Rule[T]") -> list[Node[T]]:
        """The nodes from the root to where this rule belongs, all of them this edit's own."""
        way = [self.root]
        for segment in rule.pattern.segments:
            below = way[-1].of(segment)
            if below is None or id(below) not in self._own:
                below = Node() if below is None else below.copy()
                self._own[id(below)] = below
                way[-1].put(segment, below)
            way.append(below)
        return way
