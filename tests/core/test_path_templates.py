"""What a path becomes, and that it can become nothing unsafe."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgateway.core.path_templates import PathTemplate, stripped
from microgateway.core.paths import PathError, normalise
from microgateway.core.routing import MatchKind, PathPattern, PatternError


def filled(template: str, pattern: str, path: str, match: MatchKind | None = None) -> str:
    return PathTemplate.parse(template, PathPattern.parse(pattern, match)).fill(path.encode()).decode()


@pytest.mark.parametrize(
    ("template", "pattern", "path", "sent"),
    [
        ("/new", "/old", "/old", "/new"),
        ("/new", "/old", "/old/a/b", "/new"),
        ("/new/{rest}", "/old", "/old", "/new"),
        ("/new/{rest}", "/old", "/old/", "/new/"),
        ("/new/{rest}", "/old", "/old/a//b/", "/new/a//b/"),
        ("/{rest}", "/old", "/old", "/"),
        ("/{rest}", "/old", "/old/a", "/a"),
        ("/v2/{rest}", "/", "/a/b", "/v2/a/b"),
        ("/v2/{rest}", "/", "/", "/v2/"),
        ("/u/{id}", "/users/{id}", "/users/7", "/u/7"),
        ("/{b}/{a}/{b}", "/{a}/x/{b}", "/1/x/2", "/2/1/2"),
        ("/v2/{id}/{rest}", "/users/{id}/*", "/users/7/posts/1", "/v2/7/posts/1"),
        ("/{id}.json", "/users/{id}", "/users/7", "/7.json"),
        ("/{a}_{b}", "/{a}/{b}", "/x/y", "/x_y"),
        ("/100%25/{id}", "/{id}", "/a%2Fb", "/100%25/a%2Fb"),
        ("/é", "/a", "/a", "/%C3%A9"),
        ("/", "/a", "/a/b", "/"),
    ],
)
def test_what_a_path_becomes(template: str, pattern: str, path: str, sent: str) -> None:
    assert filled(template, pattern, path) == sent


@pytest.mark.parametrize(
    ("template", "pattern"),
    [
        ("new", "/old"), ("/new?a=1", "/old"), ("/new#a", "/old"), ("/{id}", "/old"), ("/{rest}", "/old/{id}"),
        ("/{rest}/a", "/old"), ("/a{rest}", "/old"), ("/{rest}", "/a/{rest}/*"), ("/..", "/old"), ("/a/../b", "/old"),
        ("/.", "/old"), ("/%2e%2e/a", "/old"), ("/%zz", "/old"), ("/%00", "/old"), ("/{id}{id}", "/{id}"),
        ("/.{id}", "/{id}"), ("/{id}..", "/{id}"), ("/{id};v=1", "/{id}"), ("/{id}%2F", "/{id}"), ("/{", "/old"),
        ("/*", "/old"), ("/..%2Fa", "/old"),
    ],
)  # fmt: skip
def test_what_no_template_can_be(template: str, pattern: str) -> None:
    with pytest.raises(PatternError):
        PathTemplate.parse(template, PathPattern.parse(pattern))


SEGMENT = st.text("ab.;%2F5C", min_size=1, max_size=6)


@given(
    st.lists(st.sampled_from(["{a}", "{b}", "x", "", "..", ".", "-", "{a}-{b}", "{a}.", ".x{b}", "a;"]), max_size=3),
    SEGMENT, SEGMENT, st.lists(SEGMENT | st.just(""), max_size=2), st.booleans(),
)  # fmt: skip
def test_what_comes_out_is_in_normal_form(parts: list[str], a: str, b: str, rest: list[str], with_rest: bool) -> None:
    """Nothing that a client sends leaves the root, or turns into what the next reader takes for another path."""
    pattern = PathPattern.parse("/{a}/{b}/*")
    try:
        template = PathTemplate.parse("/" + "/".join([*parts, "{rest}"] if with_rest else parts), pattern)
        path = normalise("/".join(["", a, b, *rest]).encode())
    except (PatternError, PathError):
        return
    if len(path.split(b"/")) < 3 or b"" in path.split(b"/")[1:3]:
        return  # dot segments took off what the params stand for
    sent = template.fill(path)
    assert normalise(sent) == sent


@pytest.mark.parametrize(
    ("path", "segments", "rest"), [("/a/b", 1, "/b"), ("/a", 1, "/"), ("/a/", 1, "/"), ("/a/b//c", 1, "/b//c")]
)
def test_what_is_left_of_a_path(path: str, segments: int, rest: str) -> None:
    assert stripped(path.encode(), segments).decode() == rest
