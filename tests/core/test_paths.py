"""The normal form of a path: tables for what is decided, properties for what must always hold."""

import string
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from microgateway.core.paths import PathError, is_plain, normalise

PIECES = [
    "a",
    "b",
    "..",
    ".",
    "",
    "%2e",
    "%2E%2e",
    "%2F",
    "%2f",
    "%5c",
    "\\",
    ";x",
    "..;",
    "%",
    "%zz",
    "%00",
    "%41",
    "%c3%a9",
    "~",
    "é",
    " ",
    "{",
    "%7e",
]

paths = st.lists(st.sampled_from(PIECES), max_size=8).flatmap(
    lambda pieces: st.lists(st.sampled_from(["/", "/", "/", ""]), min_size=len(pieces), max_size=len(pieces)).map(
        lambda joints: "/" + "".join(piece + joint for piece, joint in zip(pieces, joints, strict=True))
    )
)
octets = st.binary(max_size=40).map(lambda raw: b"/" + raw)


def normal_or_none(path: bytes) -> bytes | None:
    try:
        return normalise(path)
    except PathError:
        return None


@pytest.mark.parametrize(
    ("given_path", "normal"),
    [
        ("/", "/"), ("/a", "/a"), ("/a/", "/a/"), ("/a/b", "/a/b"), ("//", "//"), ("//a", "//a"), ("/a//b", "/a//b"),
        ("/a//", "/a//"),
        ("/.", "/"), ("/./", "/"), ("/a/.", "/a/"), ("/a/./b", "/a/b"), ("/a/..", "/"), ("/a/../", "/"), ("/a/b/..",
        "/a/"), ("/a/b/../c", "/a/c"),
        ("/a/b/../../c", "/c"), ("/a//../b", "/a/b"), ("/a//..", "/a/"), ("/.//a", "//a"), ("/a/...", "/a/..."),
        ("/..a", "/..a"), ("/a..", "/a.."),
        ("/.a", "/.a"), ("/a.", "/a."), ("/%2e", "/"), ("/a/%2E%2e/b", "/b"), ("/a/.%2e/b", "/b"), ("/a/%2e./b",
        "/b"), ("/a/%2e/b", "/a/b"),
        ("/%41%5A%61%7a", "/AZaz"), ("/%30%39", "/09"), ("/%2D%2e%5F%7E", "/-._~"), ("/%c3%a9", "/%C3%A9"), ("/%2f",
        "/%2F"), ("/a%2Fb", "/a%2Fb"),
        ("/a%2Fb/../c", "/c"), ("/%5c", "/%5C"), ("/%25", "/%25"), ("/%252e%252e", "/%252e%252e"), ("/%20", "/%20"),
        ("/%3b", "/%3B"), ("/a;b", "/a;b"),
        ("/a;b/../c", "/c"), ("/;", "/;"), ("/a;..", "/a;.."), ("/a%2F.", "/a%2F."), ("/%2F.a", "/%2F.a"),
        ("/a%2Fb..", "/a%2Fb.."), ("/{a}", "/%7Ba%7D"),
        ("/é", "/%C3%A9"), ("/a b", "/a%20b"), ('/"', "/%22"), ("/<>^`|", "/%3C%3E%5E%60%7C"), ("/a\\b", "/a%5Cb"),
        ("/!$&'()*+,=:@", "/!$&'()*+,=:@"),
    ],
)  # fmt: skip
def test_a_path_has_one_form(given_path: str, normal: str) -> None:
    assert normalise(given_path.encode()) == normal.encode()


@pytest.mark.parametrize(
    "path",
    [
        "", "a", "../a", "*", "?", "%2Fa", "/..", "/../", "/../a", "/a/../..", "/a/../../b", "/./..", "/%2e%2e",
        "/.%2e/a", "/a/%2e%2e/..",
        "/%", "/%2", "/%zz", "/%2g", "/%g2", "/a%", "/%%", "/%-1", "/%+1", "/% 1", "/%1 ", "/%0x", "/%００", "/%00",
        "/a%00b", "/a/%00/../b",
        "/..%2f", "/..%2F..", "/a%2f..", "/a%2F%2e%2e%2Fb", "/%2f..", "/a/..%5cb", "/..\\", "/a\\..", "/a\\..\\b",
        "/..;", "/a/..;/b", "/..;x=1/a",
        "/%2e%2e;/a", "/a%5C..;x", "/a%2f..;/b",
    ],
)  # fmt: skip
def test_a_path_that_could_mean_two_things_is_refused(path: str) -> None:
    with pytest.raises(PathError):
        normalise(path.encode())


@given(path=octets | paths.map(str.encode))
@example(path=b"/.//..//a")
@example(path=b"/a/%2e%2e%2f%2e%2e")
@example(path=b"/%252e%252e/")
def test_what_always_holds(path: bytes) -> None:
    normal = normal_or_none(path)
    if normal is None:
        return
    assert normal.startswith(b"/")
    assert normalise(normal) == normal, "it has one form"
    assert not {b".", b".."} & set(normal.split(b"/")), "a dot segment is left"
    assert set(normal) <= set(string.ascii_letters.encode() + string.digits.encode() + b"-._~!$&'()*+,;=:@/%"), normal
    assert b"\0" not in unquote_to_bytes(normal)


@given(path=paths)
def test_no_second_decoding_leaves_the_root_or_a_prefix(path: str) -> None:
    """Upstreams that decode slashes and backslashes and then remove dot segments find none that climbs."""
    normal = normal_or_none(path.encode())
    if normal is None:
        return
    decoded = normal.replace(b"%2F", b"/").replace(b"%5C", b"/")
    assert b".." not in decoded.split(b"/")
    assert b".." not in [segment.partition(b";")[0] for segment in decoded.split(b"/")]


@given(path=octets)
def test_the_quick_look_is_right(path: bytes) -> None:
    """`is_plain` decides nothing of its own: what it lets through is in normal form already."""
    if is_plain(path):
        assert normalise(path + b"%2F") == path + b"%2F", "the long way comes to the same"


@given(
    segments=st.lists(
        st.text(string.ascii_letters + string.digits + "-_~!$&'()*+,=:@", min_size=1), min_size=1, max_size=6
    )
)
def test_escaping_what_need_not_be_changes_nothing(segments: list[str]) -> None:
    plain = "/" + "/".join(segments)
    unreserved = set(string.ascii_letters + string.digits + "-._~")
    escaped = "".join(f"%{ord(letter):02x}" if letter in unreserved else letter for letter in plain)
    assert normalise(escaped.encode()) == normalise(plain.encode()) == plain.encode()


@given(
    segments=st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=5),
    detours=st.lists(st.integers(0, 4), max_size=4),
)
def test_a_detour_comes_back(segments: list[str], detours: list[int]) -> None:
    """`x/..` anywhere, however it is written, changes nothing."""
    winding = list(segments)
    for number, place in enumerate(detours):
        winding[min(place, len(winding) - 1) : 0] = ["detour", ("..", "%2e%2e", ".%2E", "%2e.")[number % 4]]
        place = min(place, len(winding) - 1)
    assert normalise(("/" + "/".join(winding)).encode()) == ("/" + "/".join(segments)).encode()
