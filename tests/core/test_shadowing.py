"""Routes that nothing reaches: stories, and a universe of requests to compare with."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgateway.core.conditions import Condition, Conditions, Glob
from microgateway.core.field_sections import read_section, request_fields
from microgateway.core.requests import read_request
from microgateway.core.routing import MatchKind, NotRouted, PathPattern, Router, Rule
from microgateway.core.shadowing import Example, Shadows


def header(name: str, value: str | None = None, *, pattern: str | None = None, present: bool = True) -> Condition:
    values = frozenset() if value is None else frozenset((value.encode(),))
    return Condition(name.encode(), values, None if pattern is None else Glob.parse(pattern), present)


def rule(path: str, target: str, *, match: MatchKind | None = None, hosts: Sequence[str] = (),
         methods: Sequence[str] = (), headers: Sequence[Condition] = (), query: Sequence[Condition] = (),
         **fields: Any) -> Rule[str]:  # fmt: skip
    return Rule(
        pattern=PathPattern.parse(path, match),
        target=target,
        hosts=tuple(host.encode() for host in hosts),
        methods=tuple(method.encode() for method in methods),
        conditions=Conditions(tuple(headers), tuple(query)),
        **fields,
    )


def unreachable(rules: Sequence[Rule[str]]) -> dict[str, set[str]]:
    """Whom nothing reaches, and who takes it instead."""
    shadows = Shadows(Router(rules))
    found = [shadows.of(rule) for rule in rules]
    return {one.target: {taker for _, taker in one.examples} for one in found if one is not None}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([rule("/a", "one", age=1), rule("/a", "two", age=2)], {"two": {"one"}}),
        ([rule("/", "all", priority=1), rule("/a/b", "below")], {"below": {"all"}}),
        ([rule("/", "all"), rule("/a/b", "below")], {}),
        ([rule("/a/{id}", "param", priority=1), rule("/a/me", "me", match="exact")], {"me": {"param"}}),
        ([rule("/a/{id}", "param", priority=1), rule("/a/me", "me")], {}),
        ([rule("/a/{id}/*", "param", priority=1), rule("/a/me", "me")], {"me": {"param"}}),
        ([rule("/a/{id}/*", "param", priority=1), rule("/a", "a")], {}),
        ([rule("/a/b", "one", hosts=["a.example"]), rule("/a/b", "two", hosts=["b.example"])], {}),
        ([rule("/", "all", hosts=["*.example"]), rule("/a", "a", hosts=["a.example", "*.example"])], {}),
        ([rule("/", "all", hosts=["*.example"], priority=1), rule("/a", "a", hosts=["a.example"])], {"a": {"all"}}),
        ([rule("/a", "get", methods=["GET"]), rule("/a", "any")], {}),
        ([rule("/a", "any", priority=1), rule("/a", "get", methods=["GET"])], {"get": {"any"}}),
        ([rule("/a", "get", methods=["GET"], age=1), rule("/a", "put", methods=["PUT"], age=2),
          rule("/a", "both", methods=["GET", "PUT"], age=3)], {"both": {"get", "put"}}),
        ([rule("/a", "there", headers=[header("x-a")]), rule("/a", "away", headers=[header("x-a", present=False)]),
          rule("/a", "rest")], {"rest": {"there", "away"}}),
        ([rule("/a", "there", headers=[header("x-a")]), rule("/a", "rest")], {}),
        ([rule("/a", "wide", headers=[header("x-a", pattern="b*")], age=1),
          rule("/a", "narrow", headers=[header("x-a", "beta")], age=2)], {"narrow": {"wide"}}),
        ([rule("/a", "narrow", headers=[header("x-a", "beta")], age=1),
          rule("/a", "wide", headers=[header("x-a", pattern="b*")], age=2)], {}),
        ([rule("/a", "one", query=[header("q", "1")], age=1),
          rule("/a", "two", query=[header("q", "1"), header("r")], priority=-1)], {"two": {"one"}}),
        ([rule("/a/", "slash", match="exact", priority=1), rule("/a", "a")], {}),
        ([rule("/a", "exactly", match="exact"), rule("/a/{x}/*", "param"), rule("/a//", "empty"), rule("/a", "a")],
         {"a": {"exactly", "param", "empty"}}),
    ],
)  # fmt: skip
def test_whom_nothing_reaches(rules: list[Rule[str]], expected: dict[str, set[str]]) -> None:
    assert unreachable(rules) == expected


def test_the_example_is_a_request_that_the_route_would_take() -> None:
    hidden = rule("/a/{id}/*", "hidden", hosts=["*.example"], methods=["PUT"], headers=[header("x-a", pattern="b-*")],
                  query=[header("q", "1&2")], priority=-1)  # fmt: skip
    rules = [rule("/a", "all"), hidden]
    shadowed = Shadows(Router(rules)).of(hidden)
    assert shadowed is not None
    ((example, taker),) = shadowed.examples
    assert b"*" not in example.host
    lines = [b"Host: %b" % example.host, *(b"%b: %b" % pair for pair in example.headers.items())]
    line = b"%b %b%b HTTP/1.1" % (example.method, example.path, example.query)
    head = read_request(line, read_section(lines, request_fields(), {}))
    assert Router(rules).match(head.method, head.host, head.path, head) == taker == "all"
    assert Router([hidden]).match(head.method, head.host, head.path, head) == "hidden"


def test_who_hides_whom_is_asked_of_the_one_that_is_saved() -> None:
    saved = rule("/a", "saved", priority=1)
    same = rule("/a", "same", match="exact")
    rules = [saved, rule("/a/b", "below"), rule("/", "rest"), rule("/c", "elsewhere"), same]
    assert [one.target for one in Shadows(Router(rules)).cast_by(saved, 10)] == ["same", "below"]
    assert list(Shadows(Router(rules)).cast_by(rules[1], 10)) == []


def test_a_param_hides_what_it_takes() -> None:
    saved = rule("/a/{id}", "saved", priority=1)
    rules = [saved, rule("/a/me", "me", match="exact"), rule("/a/me/more", "more"), rule("/b/me", "elsewhere")]
    assert [one.target for one in Shadows(Router(rules)).cast_by(saved, 10)] == ["me"]


def test_more_than_is_to_be_tried_says_nothing() -> None:
    hidden = rule("/a", "hidden", age=2)
    shadows = Shadows(Router([rule("/a", "one", age=1), hidden]), most_tried=3)  # two for each of the first questions
    assert [shadows.of(hidden) is None for _ in range(3)] == [False, True, True]


def test_more_than_can_be_tried_says_nothing() -> None:
    """Forty methods for sixty hosts would be 2 400 requests: better no warning than a slow one."""
    methods, hosts = [f"M{number}" for number in range(40)], [f"h{number}.example" for number in range(60)]
    assert (
        unreachable([rule("/", "all", priority=1), rule("/a", "a", methods=methods, hosts=hosts, match="exact")]) == {}
    )


# -- the universe ------------------------------------------------------------------------------------------------------

SEGMENTS = ["a", "", "{x}"]
OPTIONS: list[tuple[Condition, ...]] = [
    (), (header("x-a"),), (header("x-a", present=False),), (header("x-a", "1"),), (header("x-a", pattern="1*"),),
    (header("x-a", pattern="*2"),),
]  # fmt: skip
tables = st.lists(
    st.tuples(
        st.lists(st.sampled_from(SEGMENTS), max_size=2),
        st.sampled_from(["exact", "prefix"]),
        st.sampled_from([(), ("a.example",), ("*.example",), ("a.example", "*.b")]),
        st.sampled_from([(), ("GET",), ("PUT",), ("GET", "PUT")]),
        st.sampled_from(OPTIONS),
        st.sampled_from([(), (header("q"),), (header("q", present=False),), (header("q", "1"),)]),
        st.integers(-1, 1),
    ),
    min_size=1,
    max_size=6,
)
PATHS = [b"/" + b"/".join(segments) for length in (1, 2, 3) for segments in product([b"a", b"", b"n"], repeat=length)]
UNIVERSE = [
    Example(method, host, path, {} if value is None else {b"x-a": value}, query)
    for method in (b"GET", b"PUT", b"N")
    for host in (b"a.example", b"n.example", b"n.b", b"n")
    for path in PATHS
    for value in (None, b"1", b"12", b"2", b"n", b"1n", b"n2")
    for query in (b"", b"?q=1", b"?q=n")
]


@settings(max_examples=25, deadline=None)
@given(tables)
def test_unreachable_is_what_no_request_of_a_universe_reaches(table: list[Any]) -> None:
    """Patterns have two segments at most, so three tell all paths apart; every other word has one beside it."""
    rules = [
        rule("/" + "/".join(f"{{x{place}}}" if part == "{x}" else part for place, part in enumerate(segments)),
             f"rule {number}", match=match, hosts=hosts, methods=methods, headers=headers, query=query,
             priority=priority, age=number)
        for number, (segments, match, hosts, methods, headers, query, priority) in enumerate(table)
    ]  # fmt: skip
    router = Router(rules)
    reached = set()
    for asked in UNIVERSE:
        reached.add(router.match(asked.method, asked.host, asked.path, asked))
    shadows = Shadows(router)
    for one in rules:
        found = shadows.of(one)
        assert (found is not None) is (one.target not in reached), one
        for example, taker in found.examples if found else ():
            assert router.match(example.method, example.host, example.path, example) == taker
            alone = Router([one]).match(example.method, example.host, example.path, example)
            assert not isinstance(alone, NotRouted)
