"""Conditions on header fields and query: what holds, and what they do to the order of routes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgateway.core.conditions import Condition, Conditions, Glob, parameters
from microgateway.core.field_sections import read_section, request_fields
from microgateway.core.requests import RequestHead, read_request
from microgateway.core.routing import NotRouted, PathPattern, Router, Rule


def head(target: str, *fields: str) -> RequestHead:
    section = read_section([b"Host: a.example", *(field.encode() for field in fields)], request_fields(), {})
    return read_request(f"GET {target} HTTP/1.1".encode(), section)


def header(name: str, *values: str, pattern: str | None = None, present: bool = True) -> Conditions:
    glob = None if pattern is None else Glob.parse(pattern)
    return Conditions(headers=(Condition(name.encode(), frozenset(value.encode() for value in values), glob, present),))


def query(name: str, *values: str, present: bool = True) -> Conditions:
    return Conditions(query=(Condition(name.encode(), frozenset(value.encode() for value in values), None, present),))


@pytest.mark.parametrize(
    ("conditions", "fields", "holds"),
    [
        (header("x-a", "1"), ["X-A: 1"], True),
        (header("x-a", "1"), ["x-a:  1 "], True),
        (header("x-a", "1"), ["X-A: 2"], False),
        (header("x-a", "1"), [], False),
        (header("x-a", "1"), ["X-A: 1", "X-A: 1"], False),
        (header("x-a", "1, 2"), ["X-A: 1", "X-B: 0", "X-A: 2"], True),
        (header("x-a", "a"), ["X-A: A"], False),
        (header("x-a", ""), ["X-A:"], True),
        (header("x-a"), ["X-A:"], True),
        (header("x-a"), ["X-B: 1"], False),
        (header("x-a", present=False), [], True),
        (header("x-a", present=False), ["X-A:"], False),
        (header("x-a", pattern="beta-*"), ["X-A: beta-2"], True),
        (header("x-a", pattern="beta-*"), ["X-A: alpha, beta-2"], False),
        (header("x-a", pattern="*"), [], False),
    ],
)
def test_a_condition_on_a_field(conditions: Conditions, fields: list[str], holds: bool) -> None:
    assert conditions.hold(head("/", *fields)) is holds


@pytest.mark.parametrize(
    ("conditions", "target", "holds"),
    [
        (query("a", "1"), "/?a=1", True),
        (query("a", "1"), "/?b=2&a=1", True),
        (query("a", "1"), "/?a=2", False),
        (query("a", "1"), "/?a=2&a=1", True),
        (query("a", "1"), "/?A=1", False),
        (query("a", "1"), "/", False),
        (query("a", "1"), "/?", False),
        (query("a", "x y"), "/?a=x%20y", True),
        (query("a", "x y"), "/?%61=x+y", True),
        (query("a", "é"), "/?a=%C3%A9", True),
        (query("a", ""), "/?a", True),
        (query("a", ""), "/?a=", True),
        (query("a"), "/?a=7", True),
        (query("a", "b=c"), "/?a=b=c", True),
        (query("a", present=False), "/?b", True),
        (query("a", present=False), "/?a", False),
        (query("a", "%zz"), "/?a=%zz", True),
    ],
)
def test_a_condition_on_the_query(conditions: Conditions, target: str, holds: bool) -> None:
    assert conditions.hold(head(target)) is holds


def test_all_have_to_hold() -> None:
    both = Conditions(header("x-a", "1").headers, query("b", "2").query)
    assert both.hold(head("/?b=2", "X-A: 1"))
    assert not both.hold(head("/?b=2"))
    assert not both.hold(head("/", "X-A: 1"))


def test_the_query_is_read_once_for_all() -> None:
    assert parameters(b"?a=1&&b&a=2&=x") == {b"a": [b"1", b"2"], b"b": [b""], b"": [b"x"]}
    assert parameters(b"") == {}


@given(st.text("ab*", max_size=6), st.text("abc", max_size=8))
def test_a_glob_takes_what_the_same_regular_expression_takes(glob: str, value: str) -> None:
    pattern = re.compile(".*".join(re.escape(piece) for piece in glob.split("*")))
    assert Glob.parse(glob).takes(value.encode()) is (pattern.fullmatch(value) is not None)


def test_a_glob_made_to_be_slow_is_not() -> None:
    """The same as a regular expression would try 2 to the power of 40 ways."""
    assert not Glob.parse("*a" * 40 + "*b").takes(b"a" * 8_000 + b"c")


# -- in the table ------------------------------------------------------------------------------------------------------


def rule(target: str, conditions: Conditions = Conditions(), *, methods: tuple[bytes, ...] = (), age: int = 0,  # noqa: B008
         path: str = "/a", hosts: tuple[bytes, ...] = ()) -> Rule[str]:  # fmt: skip
    return Rule(PathPattern.parse(path), target, hosts, methods, age=age, conditions=conditions)


def found(rules: list[Rule[str]], asked: RequestHead, method: bytes = b"GET") -> str | NotRouted:
    match = Router(rules).match(method, asked.host, asked.path, asked)
    assert Router(rules[::-1]).match(method, asked.host, asked.path, asked) == match, "declaration order means nothing"
    return match


BOTH = Conditions(header("x-a", "1").headers, query("b").query)


def test_more_conditions_are_more_definite_at_the_same_path_only() -> None:
    table = [rule("plain"), rule("one", header("x-a", "1"), age=1), rule("two", BOTH, age=2)]
    assert found(table, head("/a?b", "X-A: 1")) == "two"
    assert found(table, head("/a", "X-A: 1")) == "one"
    assert found(table, head("/a?b", "X-A: 2")) == "plain"
    assert found([rule("plain", path="/a/b"), rule("one", header("x-a", "1"))], head("/a/b", "X-A: 1")) == "plain"


def test_conditions_weigh_more_than_methods_and_age() -> None:
    table = [rule("listed", methods=(b"GET",)), rule("conditional", header("x-a", "1"), age=9)]
    assert found(table, head("/a", "X-A: 1")) == "conditional"
    assert found(table, head("/a")) == "listed"


def test_a_host_weighs_more_than_conditions() -> None:
    table = [rule("named", hosts=(b"a.example",)), rule("conditional", BOTH)]
    assert found(table, head("/a?b", "X-A: 1")) == "named"


def test_a_miss_knows_no_route_whose_conditions_do_not_hold() -> None:
    table = [rule("get", header("x-a", "1"), methods=(b"GET",)), rule("put", methods=(b"PUT",))]
    assert found(table, head("/a"), b"POST") == NotRouted((b"PUT",))
    assert found(table, head("/a", "X-A: 1"), b"POST") == NotRouted((b"GET", b"PUT"))
    assert found(table[:1], head("/a"), b"GET") == NotRouted(())


def test_who_tells_nothing_of_fields_has_none() -> None:
    router = Router([rule("some", header("x-a")), rule("none", header("x-a", present=False))])
    assert router.match(b"GET", b"a.example", b"/a") == "none"
