"""The router: tables for what a route takes, and a plain reference that it must always agree with."""

import sys
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from microgateway.core.routing import MatchKind, NotRouted, PathPattern, PatternError, Router, Rule

HOST = b"a.example"


def rule(path: str, target: str = "", *, match: MatchKind | None = None, age: int = 0, priority: int = 0,
         hosts: Sequence[str] = (), methods: Sequence[str] = ()) -> Rule[str]:  # fmt: skip
    return Rule(
        pattern=PathPattern.parse(path, match),
        target=target or path,
        hosts=tuple(host.encode() for host in hosts),
        methods=tuple(method.encode() for method in methods),
        priority=priority,
        age=age,
    )


def found(rules: Sequence[Rule[str]], path: str, method: str = "GET", host: bytes = HOST) -> str | None:
    match = Router(rules).match(method.encode(), host, path.encode())
    return None if isinstance(match, NotRouted) else match


# -- what a path takes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "match", "takes", "leaves"),
    [
        ("/", None, ["/", "/a", "//", "/a/b/", "/%2F"], []),
        ("/public", None, ["/public", "/public/", "/public/a", "/public//", "/public/a/b"], ["/publicly", "/publi",
        "/", "//public", "/public%2Fa", "/Public", "/a/public"]),
        ("/public/", None, ["/public", "/public/a"], ["/publicly"]),
        ("/public/*", None, ["/public", "/public/a"], ["/publicly"]),
        ("/*", None, ["/", "/a"], []),
        ("/public", "exact", ["/public"], ["/public/", "/public/a", "/publicly", "/"]),
        ("/public/", "exact", ["/public/"], ["/public", "/public/a"]),
        ("/", "exact", ["/"], ["/a", "//"]),
        ("/a/{id}", None, ["/a/1", "/a/x%2Fy", "/a/..x"], ["/a", "/a/", "/a/1/", "/a/1/b", "/a//"]),
        ("/a/{id}", "prefix", ["/a/1", "/a/1/", "/a/1/b"], ["/a", "/a/"]),
        ("/a/{id}/b", None, ["/a/1/b"], ["/a/1", "/a/1/b/", "/a//b", "/a/1/c"]),
        ("/{x}/{y}", None, ["/a/b"], ["/a", "/a/b/c", "//b", "/a/"]),
        ("/{x}/*", None, ["/a", "/a/", "/a/b"], ["/", "//"]),
        ("/a//b", None, ["/a//b", "/a//b/c"], ["/a/b", "/a/x/b"]),
        ("/a//", None, ["/a/", "/a//", "/a//b"], ["/a", "/a/b"]),
        ("/%61%2fb", None, ["/a%2Fb", "/a%2Fb/c"], ["/a/b", "/a%2fb"]),
        ("/é", None, ["/%C3%A9"], ["/é"]),
        ("/a.b", None, ["/a.b"], ["/aXb"]),
    ],
)  # fmt: skip
def test_what_a_path_takes(pattern: str, match: MatchKind | None, takes: list[str], leaves: list[str]) -> None:
    rules = [rule(pattern, "it", match=match)]
    assert [path for path in takes if found(rules, path) is None] == []
    assert [path for path in leaves if found(rules, path) is not None] == []


@pytest.mark.parametrize(
    "path",
    ["", "a", "a/b", "*", "/a*", "/*/a", "/a/*b", "/**", "/{", "/}", "/{}", "/{a", "/a}", "/a{b}", "/{a}b",
    "/{a}{b}", "/{a b}", "/{1a}", "/{a-b}", "/{a:b}",
     "/{a}/{a}", "/a?b", "/a#b", "/.", "/..", "/a/../b", "/a/./b", "/%2e", "/a/%2e%2e", "/%", "/%zz", "/%00",
     "/a%2f..", "/..;x", "~/a"],
)  # fmt: skip
def test_what_no_route_can_have(path: str) -> None:
    with pytest.raises(PatternError):
        PathPattern.parse(path)


@given(
    st.lists(st.sampled_from(["a", "", "{x}", "{y}", "%61", "%2f", "é", "b.c"]), min_size=1, max_size=5),
    st.sampled_from([None, "exact", "prefix"]),
)
@example(["a", ""], "prefix")
@example(["", ""], "prefix")
@example(["a", "", ""], "prefix")
def test_a_pattern_reads_its_own_text(segments: list[str], match: MatchKind | None) -> None:
    """What is stored is the text: read again it must be the same pattern."""
    try:
        pattern = PathPattern.parse("/" + "/".join(segments), match)
    except PatternError:
        return
    assert PathPattern.parse(pattern.text, pattern.match) == pattern


# -- which of several --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "path", "winner"),
    [
        ([rule("/a", "short"), rule("/a/b", "long")], "/a/b/c", "long"),
        ([rule("/a", "prefix"), rule("/a", "exact", match="exact")], "/a", "exact"),
        ([rule("/a/{id}", "param"), rule("/a/me", "literal", match="exact")], "/a/me", "literal"),
        ([rule("/{x}/b", "late"), rule("/a/{y}", "early")], "/a/b", "early"),
        ([rule("/a/{id}", "param"), rule("/a", "prefix")], "/a/b", "param"),
        ([rule("/a/b", "longer"), rule("/a", "urgent", priority=1)], "/a/b", "urgent"),
        ([rule("/a/b", "longer"), rule("/a", "lazy", priority=-1)], "/a/b", "longer"),
        ([rule("/a/b", "any host"), rule("/a", "named", hosts=["a.example"])], "/a/b", "named"),
        ([rule("/a", "wild", hosts=["*.example"]), rule("/a", "named", hosts=["a.example"])], "/a", "named"),
        ([rule("/a", "any"), rule("/a", "wild", hosts=["*.example"])], "/a", "wild"),
        ([rule("/a", "both", hosts=["a.example", "*.example"]), rule("/a", "named", hosts=["a.example"])], "/a",
        "named"),
        ([rule("/a", "any method"), rule("/a", "listed", methods=["GET"])], "/a", "listed"),
        ([rule("/a/b", "longer"), rule("/a", "listed", methods=["GET"])], "/a/b", "longer"),
        ([rule("/a", "younger", age=2), rule("/a", "older", age=1)], "/a", "older"),
        ([rule("/a/b", "wrong method", methods=["POST"]), rule("/a", "right")], "/a/b", "right"),
        ([rule("/a/b", "wrong host", hosts=["b.example"]), rule("/a", "right")], "/a/b", "right"),
        ([rule("/", "root"), rule("/a", "a")], "/b", "root"),
    ],
)  # fmt: skip
def test_the_order(rules: list[Rule[str]], path: str, winner: str) -> None:
    assert found(rules, path) == winner
    assert found(rules[::-1], path) == winner, "the order of declaration means nothing"


@pytest.mark.parametrize(
    ("hosts", "host", "takes"),
    [
        (["a.example"], b"a.example", True), (["a.example"], b"b.example", False), (["a.example"], b"x.a.example",
        False), (["*.example"], b"a.example", True),
        (["*.example"], b"x.a.example", True), (["*.example"], b"example", False), (["*.example"], b"aexample",
        False), (["*.a.example"], b"xa.example", False),
        (["[::1]"], b"[::1]", True), (["127.0.0.1"], b"127.0.0.1", True), (["a.example", "*.b.example"],
        b"c.b.example", True), ([], b"", True),
        (["a.example"], b"", False), ([], b"anything", True),
    ],
)  # fmt: skip
def test_hosts(hosts: list[str], host: bytes, takes: bool) -> None:
    assert (found([rule("/", "it", hosts=hosts)], "/", host=host) is not None) is takes


def test_a_miss_says_why() -> None:
    router = Router(
        [
            rule("/a", methods=["PUT", "GET"]),
            rule("/a/{id}", methods=["DELETE"]),
            rule("/b", methods=["GET"], hosts=["b.example"]),
        ]
    )
    assert router.match(b"POST", HOST, b"/a") == NotRouted((b"GET", b"PUT"))
    assert router.match(b"POST", HOST, b"/a/1") == NotRouted((b"DELETE", b"GET", b"PUT"))
    assert router.match(b"POST", HOST, b"/c") == NotRouted(())
    assert router.match(b"POST", HOST, b"/b") == NotRouted(()), "a route of another host is no business of this one's"
    assert router.match(b"get", HOST, b"/a") == NotRouted((b"GET", b"PUT")), (
        "methods are case-sensitive (RFC 9110, 9.1)"
    )


def test_a_changed_table_shares_with_the_one_before_it_what_has_not_changed() -> None:
    rules = [rule(f"/{team}/v{version}/{number}") for team in "abcd" for version in "123" for number in range(100)]
    table = Router(rules)
    before = sys.getallocatedblocks()
    changed = table.changed([rules[7]], [rule("/a/v1/new", age=7)])
    assert sys.getallocatedblocks() - before < 100
    assert changed.match(b"GET", HOST, b"/a/v1/new") == "/a/v1/new"
    assert table.match(b"GET", HOST, b"/a/v1/new") == NotRouted(())
    assert len(list(changed.rules())) == len(list(table.rules())) == len(rules)


def test_a_table_that_everything_was_taken_from_is_as_it_was_at_the_beginning() -> None:
    rules = [rule("/any/b"), rule("/a/{x}/c"), rule("/a/{x}", match="prefix"), rule("/", hosts=["b.example"])]
    table = Router(rules[:1]).changed([], rules[1:])
    assert table.match(b"GET", HOST, b"/a/x/c") == "/a/{x}/c"
    for gone in rules:
        table = table.changed([gone], [])
    assert [list(table.rules()), table.match(b"GET", HOST, b"/any/b")] == [[], NotRouted(())]
    assert list(table.telling_paths(PathPattern.parse("/"))) == [b"/", b"/any"], "nothing is left of their ways"


def test_candidates_are_all_that_take_the_path() -> None:
    router = Router(
        [rule("/a"), rule("/a/{id}"), rule("/", methods=["PUT"]), rule("/a/b", hosts=["b.example"]), rule("/c")]
    )
    assert sorted(router.candidates(b"/a/b")) == ["/", "/a", "/a/b", "/a/{id}"]


# -- the reference -----------------------------------------------------------------------------------------------------

SEGMENTS = ["a", "b", "", "c%2Fd"]
patterns = st.tuples(
    st.lists(st.sampled_from([*SEGMENTS, "{x}"]), min_size=0, max_size=4), st.sampled_from(["exact", "prefix"])
)
rules_of_any_kind = st.lists(
    st.tuples(
        patterns,
        st.sampled_from([(), ("a.example",), ("*.example",), ("b.example", "*.a.example"), ("a.example", "*.example")]),
        st.sampled_from([(), ("GET",), ("POST",), ("GET", "POST")]),
        st.integers(-1, 1),
    ),
    max_size=12,
)
requests = st.tuples(
    st.sampled_from(["GET", "POST", "PUT"]),
    st.sampled_from([b"a.example", b"b.example", b"x.a.example", b"example", b""]),
    st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=5).map(lambda segments: "/" + "/".join(segments)),
)


def takes_path(pattern: PathPattern, path: str) -> bool:
    """A prefix takes what begins with its segments, an exact path what has no more: a param takes any but an empty
    one.
    """
    segments = path.encode().split(b"/")[1:]
    if len(segments) < len(pattern.segments) or (pattern.match == "exact" and len(segments) != len(pattern.segments)):
        return False
    pairs = zip(pattern.segments, segments, strict=False)
    return all(given != b"" if wanted is None else given == wanted for wanted, given in pairs)


def takes_host(hosts: tuple[bytes, ...], host: bytes) -> bool:
    return not hosts or any(host.endswith(name[1:]) if name.startswith(b"*.") else host == name for name in hosts)


def host_rank(hosts: tuple[bytes, ...]) -> int:
    if not hosts:
        return 2
    return 1 if any(name.startswith(b"*.") for name in hosts) else 0


def is_better(one: Rule[int], other: Rule[int]) -> bool:
    """The five rules of the module's head, one after the other."""
    if one.priority != other.priority:
        return one.priority > other.priority
    if host_rank(one.hosts) != host_rank(other.hosts):
        return host_rank(one.hosts) < host_rank(other.hosts)
    for mine, theirs in zip(one.pattern.segments, other.pattern.segments, strict=False):
        if (mine is None) is not (theirs is None):
            return mine is not None
    lengths = (len(one.pattern.segments), len(other.pattern.segments))
    if lengths[0] != lengths[1]:
        return (
            lengths[0] > lengths[1]
        )  # where the shorter one, a prefix, has ended, the longer one still says something
    if one.pattern.match != other.pattern.match:
        return one.pattern.match == "exact"
    if bool(one.methods) is not bool(other.methods):
        return bool(one.methods)
    return one.age < other.age


def reference(rules: Sequence[Rule[int]], method: str, host: bytes, path: str) -> int | NotRouted:
    """Asks every rule, and compares every pair."""
    of_this_path = [rule for rule in rules if takes_path(rule.pattern, path) and takes_host(rule.hosts, host)]
    matching = [rule for rule in of_this_path if not rule.methods or method.encode() in rule.methods]
    if not matching:
        return NotRouted(tuple(sorted({name for rule in of_this_path for name in rule.methods})))
    (best,) = [one for one in matching if all(is_better(one, other) for other in matching if other is not one)]
    return best.target


@settings(max_examples=400, deadline=None)  # a table is built per example
@given(table=rules_of_any_kind, asked=st.lists(requests, min_size=1, max_size=8))
def test_the_router_agrees_with_a_plain_reference(
    table: list[tuple[tuple[list[str], MatchKind], tuple[str, ...], tuple[str, ...], int]],
    asked: list[tuple[str, bytes, str]],
) -> None:
    rules = [
        Rule(
            pattern=PathPattern.parse("/" + "/".join(segments), match),
            target=number,
            hosts=tuple(host.encode() for host in hosts),
            methods=tuple(method.encode() for method in methods),
            priority=priority,
            age=number,
        )
        for number, ((segments, match), hosts, methods, priority) in enumerate(table)
        if segments.count("{x}") < 2
    ]
    router = Router(rules)
    for method, host, path in asked:
        assert router.match(method.encode(), host, path.encode()) == reference(rules, method, host, path)
        expected = sorted(rule.target for rule in rules if takes_path(rule.pattern, path))
        assert sorted(router.candidates(path.encode())) == expected
