"""JSON merge patch, by the examples of RFC 7396, appendix A, whose patch is an object."""

from typing import Any

import pytest

from microgateway.control_plane.merge_patch import apply_patch


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_the_examples_of_the_standard(target: object, patch: dict[str, Any], result: object) -> None:
    assert apply_patch(target, patch) == result


def test_the_target_stays_what_it_was() -> None:
    target = {"a": {"b": "c"}, "d": 1}
    apply_patch(target, {"a": {"b": None}, "d": None})
    assert target == {"a": {"b": "c"}, "d": 1}
