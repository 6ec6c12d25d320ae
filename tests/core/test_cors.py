"""Which origins a route speaks to, and what it says to them."""

from typing import Any

import pytest

from microgateway.core.cors import Cors, OriginError, check_origin, without_vary_origin


def cors(*origins: str, **options: Any) -> Cors:
    usual = {"methods": ["GET"], "headers": [], "exposed": [], "credentials": False, "max_age": 60}
    return Cors.of(origins=origins, **{**usual, **options})


@pytest.mark.parametrize(
    ("allowed", "origin", "is_allowed"),
    [
        ("https://a.example", b"https://a.example", True),
        ("https://a.example", b"http://a.example", False),
        ("https://a.example", b"https://a.example:8443", False),
        ("https://a.example", b"https://a.example.evil", False),
        ("https://a.example", b"https://A.example", False),
        ("https://*.a.example", b"https://x.a.example", True),
        ("https://*.a.example", b"https://x.y.a.example", True),
        ("https://*.a.example", b"https://a.example", False),
        ("https://*.a.example", b"https://.a.example", False),
        ("https://*.a.example", b"https://xa.example", False),
        ("https://*.a.example", b"http://x.a.example", False),
        ("https://*.a.example", b"httpx://x.a.example", False),
        ("https://*.a.example", b"https://x.b.example", False),
        ("https://*.a.example", b"https://evil.example/.a.example", False),
        ("https://*.a.example", b"https://evil.example:1@x.a.example", False),
        ("https://*.a.example:8443", b"https://x.a.example:8443", True),
        ("https://*.a.example:8443", b"https://x.a.example", False),
        ("https://a.example", b"null", False),
        ("https://a.example", b"", False),
    ],
)
def test_an_origin_is_allowed_exactly_or_by_the_names_below_it(allowed: str, origin: bytes, is_allowed: bool) -> None:
    fields = cors(allowed).fields(origin)
    assert (b"Access-Control-Allow-Origin: %b\r\n" % origin in fields) is is_allowed
    assert fields.endswith(b"Vary: Origin\r\n"), "a cache must not give one origin's answer to another"
    assert is_allowed or fields == b"Vary: Origin\r\n"


def test_everybody_is_told_the_same() -> None:
    everybody = cors("*", exposed=["X-A", "X-B"])
    told = b"Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: X-A, X-B\r\n"
    assert everybody.fields(b"https://a.example") == everybody.fields(None) == told


def test_a_preflight_is_told_what_may_be_sent() -> None:
    told = cors("https://a.example", methods=["GET", "PUT"], headers=["X-A"], credentials=True)
    assert told.fields(b"https://a.example", of_preflight=True).split(b"\r\n")[:-1] == [
        b"Access-Control-Allow-Origin: https://a.example",
        b"Access-Control-Allow-Credentials: true",
        b"Access-Control-Allow-Methods: GET, PUT",
        b"Access-Control-Allow-Headers: X-A",
        b"Access-Control-Max-Age: 60",
        b"Vary: Origin",
    ]
    assert cors("*").fields(None, of_preflight=True) == (
        b"Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Methods: GET\r\nAccess-Control-Max-Age: 60\r\n"
    )


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("*", "*"), ("https://A.Example", "https://a.example"), ("https://a.example:443", "https://a.example"),
        ("http://a.example:443", "http://a.example:443"), ("http://[::1]:080", "http://[::1]"),
        ("http://localhost:65535", "http://localhost:65535"), ("https://*.a.example", "https://*.a.example"),
    ],
)  # fmt: skip
def test_an_origin_is_written_as_browsers_write_it(text: str, origin: str) -> None:
    assert check_origin(text) == origin


@pytest.mark.parametrize(
    "text",
    ["", "null", "a.example", "https://", "https://a.example/", "https://a.example/b", "https://*", "*.a.example",
     "https://a.*.example", "https://a.example:65536", "https://u@a.example", "https://a example"],
)  # fmt: skip
def test_what_is_no_origin(text: str) -> None:
    with pytest.raises(OriginError):
        check_origin(text)


def test_vary_is_said_once() -> None:
    said = cors("https://a.example").fields(None)
    assert without_vary_origin(said, [b"Vary: Accept, Origin"]) == b""
    assert without_vary_origin(said, [b"Vary: Accept"]) == said
