"""Routes that can never take a request, because others take all of theirs; each with a request that shows it.

A route's requests are without number, but few of them need to be asked about. A request that says nothing which another
route asks for (a segment, a host, a method, a value that stands nowhere in the table) is taken by no route that would
not take every such request. So it is enough to try, of the requests that a route takes, those made of such words, and
to vary only what other routes turn into opposites: how long the path is, an empty segment, a field that one route wants
there and another one wants away. If the table gives none of them to the route, it gives it nothing at all.

The words are looked for on the route's own way, so one of 10 000 routes costs what one of ten does. The table itself is
asked, so what is reported is true of it. Where too many would have to be tried, nothing is said.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, product, takewhile
from typing import Generic, TypeVar
from urllib.parse import quote_from_bytes

from microgateway.core.conditions import Condition
from microgateway.core.route_tree import word_beside
from microgateway.core.routing import NotRouted, Router, Rule

T = TypeVar("T")
MOST_TRIED = 2_000
USUAL_METHODS = (b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"HEAD", b"OPTIONS")
_LETTERS = b"xyzjqkvwXYZJQKVW0123456789"


@dataclass(frozen=True, slots=True)
class Example:
    """A request, as conditions ask it. `host` is lower case, `headers` has lower-case names."""

    method: bytes
    host: bytes
    path: bytes
    headers: dict[bytes, bytes] = field(default_factory=dict)
    query: bytes = b""

    def header(self, name: bytes) -> bytes | None:
        return self.headers.get(name)


@dataclass(frozen=True, slots=True)
class Shadowed(Generic[T]):
    """`target` takes nothing. `examples` are requests that it would take, and who takes them instead."""

    target: T
    examples: tuple[tuple[Example, T], ...]


class Shadows(Generic[T]):
    """Asks one table. It tries `most_tried` requests in all, or, with None, as many as it takes."""

    def __init__(self, router: Router[T], *, most_tried: int | None = None) -> None:
        self._router = router
        self._most_tried = most_tried
        self._tried = 0

    def of(self, rule: Rule[T]) -> Shadowed[T] | None:
        """Why this rule of the table takes nothing, or None: it takes something, or there is too much to try."""
        taken: list[tuple[Example, T]] = []
        for tried, example in enumerate(self._requests(rule)):
            if example is None or tried >= MOST_TRIED or self._tried == self._most_tried:
                return None
            self._tried += 1
            target = self._router.match(example.method, example.host, example.path, example)
            if target is rule.target or isinstance(target, NotRouted):
                return None
            if not any(target is other for _, other in taken):
                taken.append((example, target))
        return Shadowed(rule.target, tuple(taken))

    def cast_by(self, rule: Rule[T], most: int) -> Iterator[Shadowed[T]]:
        """The rules that take nothing because, for some of their requests, of this one. So many are looked at."""
        rank = rule.rank()
        for other in self._router.overlapping(rule.pattern, most):
            shadowed = self.of(other) if other.rank() > rank else None
            if shadowed is not None and any(target is rule.target for _, target in shadowed.examples):
                yield shadowed

    def _requests(self, rule: Rule[T]) -> Iterator[Example | None]:
        """None stands for one that can't be made: no value can be told from all those that conditions ask for."""
        for path in self._router.telling_paths(rule.pattern):
            rivals = list(takewhile(lambda other: other is not rule, self._router.rules_on(path)))
            label = word_beside([{host.partition(b".")[0] for rival in rivals for host in rival.hosts}], b"any")
            value = _value_beside(rivals)
            methods = rule.methods or (_method_beside(rivals),)
            hosts = [_host(name, label) for name in rule.hosts] or [label]
            headers = list(_choices(rule.conditions.headers, [r.conditions.headers for r in rivals], value))
            queries = list(_choices(rule.conditions.query, [r.conditions.query for r in rivals], value))
            for host, method, fields, parameters in product(hosts, methods, headers, queries):
                yield Example(method, host, path, fields, _query(parameters)) if value else None


def _value_beside(rivals: Iterable[Rule[T]]) -> bytes:
    """A letter that no condition of theirs asks for; empty, where they ask for all."""
    conditions = chain.from_iterable((*rival.conditions.headers, *rival.conditions.query) for rival in rivals)
    letters: set[int] = set()
    for condition in conditions:
        letters.update(*condition.values, *(condition.pattern.pieces if condition.pattern else ()))
    return next((b"%c" % letter for letter in _LETTERS if letter not in letters), b"")


def _method_beside(rivals: Iterable[Rule[T]]) -> bytes:
    """One that no rival lists, and if possible one that people know."""
    listed = {method for rival in rivals for method in rival.methods}
    return next((method for method in USUAL_METHODS if method not in listed), word_beside([listed], b"OTHER"))


def _host(name: bytes, label: bytes) -> bytes:
    return label + name[1:] if name.startswith(b"*.") else name


def _choices(
    own: Sequence[Condition], others: Iterable[Sequence[Condition]], value: bytes
) -> Iterator[dict[bytes, bytes]]:
    """What fields, or parameters, a request may have: those that its rule asks for, and of the rest as few as possible.

    A name that some rivals want there and some want away is tried both ways.
    """
    fixed = {condition.name: _wanted(condition, value) for condition in own}
    wishes: dict[bytes, set[bool]] = {}
    for condition in chain.from_iterable(others):
        if condition.name not in fixed:
            wishes.setdefault(condition.name, set()).add(condition.present)
    ways = {
        name: (None, value) if len(wish) == 2 else (None if True in wish else value,) for name, wish in wishes.items()
    }
    for chosen in product(*ways.values()):
        given = {**fixed, **dict(zip(ways, chosen, strict=True))}
        yield {name: text for name, text in given.items() if text is not None}


def _wanted(condition: Condition, value: bytes) -> bytes | None:
    if not condition.present:
        return None
    if condition.pattern is not None:
        return condition.pattern.filled(value)
    return min(condition.values, default=value)


def _query(parameters: dict[bytes, bytes]) -> bytes:
    parts = (
        f"{quote_from_bytes(name, safe='')}={quote_from_bytes(text, safe='')}" for name, text in parameters.items()
    )
    joined = "&".join(parts).encode()
    return b"?" + joined if joined else b""
