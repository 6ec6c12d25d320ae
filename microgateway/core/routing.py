"""Which route takes a request: by method, host and normalised path, and by conditions on header fields and query.

The routes form a tree of path segments, so a look-up costs what the path is long, not what the table is long. Among all
routes that match, one total order decides, of the routes alone, whatever else there is in the table:

1. the higher `priority`;
2. the more definite host: a name, then `*.name`, then any;
3. the more definite path, segment by segment: a literal, then `{param}`, then the end of a prefix; exact before prefix;
4. the one with more conditions;
5. a route that lists its methods before one that takes any;
6. the older route.

Conditions are asked of those routes only that have some and match otherwise. A request for which none of a path's
conditions hold is answered as if those routes were not there: 404, or 405 with the methods of the others.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from struct import Struct
from typing import Generic, Literal, TypeVar

from microgateway.core.conditions import NO_CONDITIONS, NOTHING, Asked, Conditions
from microgateway.core.paths import PathError, normalise
from microgateway.core.route_tree import Candidate, Edit, Node, in_order, word_beside
from microgateway.errors import MicroGatewayError

T = TypeVar("T")
MatchKind = Literal["prefix", "exact"]
_PARAM = re.compile(r"^\{[A-Za-z_][A-Za-z0-9_]*\}$")
_END, _LITERAL, _ANY_SEGMENT, _ANY_REST = 0, 1, 2, 3
_BEFORE_PATH, _AFTER_PATH = Struct(">QB"), Struct(">HBQ")
_NO_PRIORITY, _MOST_CONDITIONS = 1 << 63, (1 << 16) - 1


class PatternError(MicroGatewayError):
    """This is no path that a route can have."""


@dataclass(frozen=True, slots=True)
class PathPattern:
    """A route's path.

    `segments` holds a literal's bytes, or None where a `{param}` takes any segment that is not empty.
    """

    text: str
    match: MatchKind
    segments: tuple[bytes | None, ...]
    params: tuple[str, ...]

    @classmethod
    def parse(cls, text: str, match: MatchKind | None = None) -> "PathPattern":
        """`/a/b`, `/a/{id}`, or `/a/*`, which is the prefix `/a`. Without `match`, a path with a param is exact."""
        if not text.startswith("/"):
            raise PatternError("a path begins with a slash")
        if "?" in text or "#" in text:
            raise PatternError(
                "a path carries no query and no fragment; conditions on the query are fields of their own"
            )
        if text.endswith("/*"):
            text, match = text[:-1], "prefix"
        kind = match or ("exact" if "{" in text else "prefix")
        segments = [_segment(part) for part in text[1:].split("/")]
        if kind == "prefix" and segments[-1] == "":
            segments.pop()  # `/a/` as a prefix is `/a`: what lies below is the same
        return cls._of_segments(segments, kind)

    @classmethod
    def _of_segments(cls, segments: list[str], kind: MatchKind) -> "PathPattern":
        params = tuple(part[1:-1] for part in segments if part.startswith("{"))
        if len(set(params)) != len(params):
            raise PatternError("every {param} of a path has a name of its own")
        compiled = tuple(None if part.startswith("{") else part.encode() for part in segments)
        end = "/" if kind == "prefix" and compiled and compiled[-1] == b"" else ""  # `parse` takes one slash off
        return cls("/" + "/".join(segments) + end, kind, compiled, params)

    def definiteness(self) -> bytes:
        """Sorts the more definite of two patterns that match the same path first. None is the beginning of another."""
        kinds = [_ANY_SEGMENT if segment is None else _LITERAL for segment in self.segments]
        return bytes((*kinds, _LITERAL if self.match == "exact" else _ANY_REST, _END))


def _segment(part: str) -> str:
    if _PARAM.match(part):
        return part
    if "{" in part or "}" in part or "*" in part:
        raise PatternError(f"{part!r} is not a segment: a {{param}} takes a whole one, and '*' stands at the end only")
    try:
        normal = normalise(b"/" + part.encode())[1:].decode()
    except PathError as error:
        raise PatternError(str(error)) from None
    if part and not normal:
        raise PatternError("a path has no dot segments")
    return normal


@dataclass(frozen=True, slots=True)
class Rule(Generic[T]):
    """One route as the table sees it. Empty `hosts` or `methods` mean any; `target` is what a match answers."""

    pattern: PathPattern
    target: T
    hosts: tuple[bytes, ...] = ()
    methods: tuple[bytes, ...] = ()
    priority: int = 0
    age: int = 0
    conditions: Conditions = NO_CONDITIONS

    def rank(self) -> bytes:
        """The total order of the module's head, as bytes that sort so: a look-up that finds several compares them.

        A rule with several hosts ranks by its least definite.
        """
        if not self.hosts:
            host = 2
        else:
            host = 1 if any(name.startswith(b"*.") for name in self.hosts) else 0
        before = _BEFORE_PATH.pack(_NO_PRIORITY - self.priority, host)
        after = _AFTER_PATH.pack(_MOST_CONDITIONS - len(self.conditions), not self.methods, self.age)
        return before + self.pattern.definiteness() + after


@dataclass(frozen=True, slots=True)
class NotRouted:
    """No route takes this request. `allowed` lists the methods that would have found one: empty means unknown path."""

    allowed: tuple[bytes, ...]


UNKNOWN_PATH = NotRouted(())


class Router(Generic[T]):
    """The table of routes, immutable once built."""

    __slots__ = ("_has_params", "_root", "_with_params")

    def __init__(self, rules: Iterable[Rule[T]]) -> None:
        self._root: Node[T] = Node()
        self._with_params = 0  # how many rules have one
        for candidate in sorted(map(Candidate, rules), key=lambda candidate: candidate.order):
            self._append(candidate, candidate.rule.pattern)
        self._has_params = self._with_params > 0

    def __reduce__(self) -> tuple[type["Router[T]"], tuple[list[Rule[T]]]]:
        """Another process builds its own tree of the rules: that is quicker than to read one."""
        return Router, (list(self.rules()),)

    def changed(self, gone: Iterable[Rule[T]], added: Iterable[Rule[T]]) -> "Router[T]":
        """The table without some of its rules, these very objects, and with others. This one stays as it is.

        What that costs does not grow with the table, see `route_tree.py`.
        """
        edit, with_params = Edit(self._root), self._with_params
        for rule in gone:
            edit.remove(rule)
            with_params -= bool(rule.pattern.params)
        for rule in added:
            edit.insert(rule)
            with_params += bool(rule.pattern.params)
        router: Router[T] = Router(())
        router._root, router._with_params, router._has_params = edit.root, with_params, with_params > 0
        return router

    def match(self, method: bytes, host: bytes, path: bytes, asked: Asked = NOTHING) -> T | NotRouted:
        """The route for a normalised path and a lower-case host without port, or why there is none.

        `asked` tells of the request's fields and query, should a condition want to know.
        """
        best: Candidate[T] | None = None
        for candidates in self._on_the_way(path):
            for candidate in candidates:  # sorted, so the first that matches is the best of its place
                methods = candidate.methods
                if (methods is None or method in methods) and (candidate.takes_any or candidate.takes(host, asked)):
                    if best is None or candidate.order < best.order:
                        best = candidate
                    break
        return best.target if best is not None else self._explain_miss(host, path, asked)

    def candidates(self, path: bytes) -> Iterator[T]:
        """Every route whose path matches, whatever its other conditions say."""
        for candidates in self._on_the_way(path):
            for candidate in candidates:
                yield candidate.target

    def rules(self) -> Iterator[Rule[T]]:
        """All of the table, in no order."""
        nodes = [self._root]
        while nodes:
            node = nodes.pop()
            yield from (candidate.rule for candidate in (*node.prefix, *node.exact))
            nodes += node.below()

    def rules_on(self, path: bytes) -> list[Rule[T]]:
        """Those whose path matches, whatever else they ask, the best first."""
        return in_order(candidate for candidates in self._on_the_way(path) for candidate in candidates)

    def rules_of(self, pattern: PathPattern) -> list[Rule[T]]:
        """Those that have this very pattern, but for the names of its params; the best first."""
        node: Node[T] | None = self._root
        for segment in pattern.segments:
            node = None if node is None else node.of(segment)
        if node is None:
            return []
        return [candidate.rule for candidate in (node.exact if pattern.match == "exact" else node.prefix)]

    def overlapping(self, pattern: PathPattern, most: int | None = None) -> list[Rule[T]]:
        """Those that have a path in common with this pattern, so many that are found first; of them the best first."""
        return in_order(islice(self._overlapping(pattern), most))

    def telling_paths(self, pattern: PathPattern) -> Iterator[bytes]:
        """Of the paths that the pattern takes, enough to know what becomes of all: whatever the table does with another
        one, it does with one of these too, or with more reason.

        What a param takes is a segment that no route names there. Below a prefix such a one, or an empty segment, which
        no param takes, stands for every other; and where the tree has ended, one more segment stands for all that could
        follow.
        """
        path, nodes = b"", [self._root]
        for segment in pattern.segments:
            taken = _filling(nodes) if segment is None else segment
            path = b"%b/%b" % (path, taken)
            nodes = [below for node in nodes for below in node.on(taken)]
        if pattern.match == "exact":
            yield path
            return
        if path:
            yield path
        ways = [(path, nodes)]
        while ways:
            path, nodes = ways.pop()
            for segment in (b"", _filling(nodes)):
                below = [one for node in nodes for one in node.on(segment)]
                longer = b"%b/%b" % (path, segment)
                yield longer
                if below:
                    ways.append((longer, below))

    def _overlapping(self, pattern: PathPattern) -> Iterator[Candidate[T]]:
        nodes = [self._root]
        yield from self._root.prefix
        for segment in pattern.segments:
            nodes = [below for node in nodes for below in node.after(segment)]
            for node in nodes:
                yield from node.prefix
        for node in nodes:
            yield from node.exact
        while nodes and pattern.match == "prefix":
            nodes = [below for node in nodes for below in node.below()]
            for node in nodes:
                yield from (*node.prefix, *node.exact)

    def _append(self, candidate: Candidate[T], pattern: PathPattern) -> None:
        node = self._root
        for segment in pattern.segments:
            below = node.of(segment)
            if below is None:
                below = Node()
                node.put(segment, below)
            node = below
        (node.exact if pattern.match == "exact" else node.prefix).append(candidate)
        self._with_params += bool(pattern.params)

    def _on_the_way(self, path: bytes) -> list[list[Candidate[T]]]:
        """The lists of candidates that the path passes on its way down the tree."""
        segments = path.split(b"/")
        if self._has_params:
            return self._on_all_ways(segments)
        node = self._root
        found = [node.prefix] if node.prefix else []
        del segments[0]  # what stands before the first slash: nothing
        for segment in segments:
            below = node.children.get(segment)
            if below is None:
                return found
            node = below
            if node.prefix:
                found.append(node.prefix)
        if node.exact:
            found.append(node.exact)
        return found

    def _on_all_ways(self, segments: list[bytes]) -> list[list[Candidate[T]]]:
        """The same where a segment may lead to a literal and to a param: each node is visited at most once."""
        found: list[list[Candidate[T]]] = []
        ways, last = [(self._root, 1)], len(segments)
        while ways:
            node, depth = ways.pop()
            if node.prefix:
                found.append(node.prefix)
            if depth == last:
                if node.exact:
                    found.append(node.exact)
                continue
            segment = segments[depth]
            if segment and node.any_segment is not None:
                ways.append((node.any_segment, depth + 1))
            child = node.children.get(segment)
            if child is not None:
                ways.append((child, depth + 1))
        return found

    def _explain_miss(self, host: bytes, path: bytes, asked: Asked) -> NotRouted:
        allowed = {
            method
            for candidates in self._on_the_way(path)
            for candidate in candidates
            if candidate.methods is not None and candidate.takes(host, asked)
            for method in candidate.methods
        }
        return NotRouted(tuple(sorted(allowed))) if allowed else UNKNOWN_PATH


def _filling(nodes: list[Node[T]]) -> bytes:
    """A segment that no rule at these places names."""
    return word_beside([node.children for node in nodes], b"any")
