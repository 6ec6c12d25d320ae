"""What a rule asks of a path, and how a subject is named."""

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgateway.core.limit_rules import (
    LONGEST_SUBJECT,
    Condition,
    address_subject,
    limit_lines,
    policy_name,
    value_subject,
)
from microgateway.core.routing import NotRouted, PathPattern, Router, Rule
from microgateway.core.token_bucket import Limit

segments = st.sampled_from(("a", "b", "ab", "{x}", ""))
patterns = st.builds(
    lambda parts, match: PathPattern.parse("/" + "/".join(dict.fromkeys(parts)), match),
    st.lists(segments, max_size=4),
    st.sampled_from(("prefix", "exact", None)),
)
paths = st.builds(
    lambda parts: b"/" + b"/".join(parts), st.lists(st.sampled_from((b"a", b"b", b"ab", b"")), max_size=5)
)
methods = st.sets(st.sampled_from((b"GET", b"POST", b"PUT")), max_size=2)


def takes(pattern: PathPattern, path: bytes) -> bool:
    return not isinstance(Router([Rule(pattern, "it")]).match(b"GET", b"", path), NotRouted)


@given(pattern=patterns, path=paths)
def test_a_rule_takes_the_paths_that_a_route_would_take(pattern: PathPattern, path: bytes) -> None:
    assert Condition(pattern).takes(b"GET", path) == takes(pattern, path)


@given(own=patterns, routes=patterns, path=paths, own_methods=methods, route_methods=methods)
def test_a_route_is_not_left_out_that_a_rule_may_be_for(
    own: PathPattern, routes: PathPattern, path: bytes, own_methods: set[bytes], route_methods: set[bytes]
) -> None:
    rule = Condition(own, own_methods)
    for method in (b"GET", b"POST", b"PUT"):
        if takes(routes, path) and (not route_methods or method in route_methods) and rule.takes(method, path):
            assert rule.may_meet(routes, route_methods)


@pytest.mark.parametrize(
    ("rule", "route", "may_meet"),
    [
        ("/users", "/orders", False),
        ("/users/1", "/users", True),
        ("/users", "/users/1", True),
        ("/users/{id}", "/users", True),
        ("/users/{id}", "/users/1/orders", False),
        ("/", "/users", True),
    ],
)
def test_a_route_elsewhere_is_left_out(rule: str, route: str, may_meet: bool) -> None:
    assert Condition(PathPattern.parse(rule)).may_meet(PathPattern.parse(route), ()) is may_meet


@pytest.mark.parametrize(
    ("address", "subject"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:C000:201", "192.0.2.1"),
        ("2001:db8:0:1::1", "20010db800000001"),
        ("2001:0DB8:0000::2", "20010db800000000"),
        ("fe80::1%eth0", "fe80000000000000"),
        ("", ""),
        ("no:address", "no:address"),
    ],
)
def test_who_an_address_is(address: str, subject: str) -> None:
    assert address_subject(address) == subject


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_all_of_a_64_network_is_one(address: IPv6Address, host: int) -> None:
    other = IPv6Address(int(address) >> 64 << 64 | host)
    if address.ipv4_mapped is None and other.ipv4_mapped is None:
        assert address_subject(str(address)) == address_subject(other.exploded)


@given(one=st.binary(max_size=200), other=st.binary(max_size=200))
def test_values_are_told_apart_and_kept_short(one: bytes, other: bytes) -> None:
    assert (value_subject(one) == value_subject(other)) is (one == other)
    assert len(value_subject(one)) <= LONGEST_SUBJECT


def test_a_limit_is_told_in_lines() -> None:
    name = policy_name('a "b"\\', otherwise="id")
    assert limit_lines(name, Limit(60, 10)) == (
        b'RateLimit-Policy: "a \\"b\\"\\\\";q=60;w=60\r\nX-RateLimit-Limit: 60\r\nRateLimit: "a \\"b\\"\\\\"'
    )
    assert policy_name("naïve", otherwise="rl_1") == b'"rl_1"'
