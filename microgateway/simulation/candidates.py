"""Why a route took a request, and why the others on its path did not.

Every question is asked of the router itself, about a table of this one route with all of its conditions but one kind
taken away: so what is said to fail is what fails in traffic.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from microgateway.core.conditions import NO_CONDITIONS, Condition, Conditions
from microgateway.core.requests import RequestHead
from microgateway.core.routing import NotRouted, Router, Rule
from microgateway.snapshot import CompiledRoute

RANK = "another route comes before it"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A route whose path takes the request. `failed` are the conditions that don't hold, empty for the chosen one."""

    rule: Rule[CompiledRoute]
    chosen: bool
    failed: tuple[str, ...]

    @property
    def is_preflight(self) -> bool:
        """Whether this is the part of a route that answers browsers."""
        return self.rule.target.is_preflight


def candidates(routes: Router[CompiledRoute], head: RequestHead, match: object) -> list[Candidate]:
    """All routes whose path takes it, in the order in which they are preferred."""
    found = []
    for rule in routes.rules_on(head.path):
        failed = tuple(_failed(rule, head))
        chosen = rule.target is match
        found.append(Candidate(rule, chosen, failed if failed or chosen else (RANK,)))
    return found


def _failed(rule: Rule[CompiledRoute], head: RequestHead) -> Iterator[str]:
    bare = replace(rule, methods=(), hosts=(), conditions=NO_CONDITIONS)
    if rule.methods and not _takes(replace(bare, methods=rule.methods), head):
        yield f"method: {_text(head.method)} is not {_either(rule.methods)}"
    if rule.hosts and not _takes(replace(bare, hosts=rule.hosts), head):
        yield f"host: {_text(head.host) or 'none'} is not {_either(rule.hosts)}"
    for condition in rule.conditions.headers:
        if not _takes(replace(bare, conditions=Conditions(headers=(condition,))), head):
            yield f"header {_text(condition.name)}: {_wanted(condition)}, and it is {_given(head, condition)}"
    for condition in rule.conditions.query:
        if not _takes(replace(bare, conditions=Conditions(query=(condition,))), head):
            yield f"query parameter {_text(condition.name)}: {_wanted(condition)}"


def _takes(rule: Rule[CompiledRoute], head: RequestHead) -> bool:
    return not isinstance(Router([rule]).match(head.method, head.host, head.path, head), NotRouted)


def _wanted(condition: Condition) -> str:
    if not condition.present:
        return "it must not be there"
    if condition.pattern is not None:
        return f"it must be like {_text(b'*'.join(condition.pattern.pieces))}"
    return f"it must be {_either(sorted(condition.values))}" if condition.values else "it must be there"


def _given(head: RequestHead, condition: Condition) -> str:
    value = head.header(condition.name)
    return "missing" if value is None else repr(_text(value))


def _either(values: tuple[bytes, ...] | list[bytes]) -> str:
    return " or ".join(map(_text, values))


def _text(octets: bytes) -> str:
    return octets.decode("latin-1")
