"""Base URLs: what an operator may write, and what it means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgateway.core.base_urls import BaseUrl, BaseUrlError


@pytest.mark.parametrize(
    ("text", "parsed", "authority"),
    [
        ("http://a.example", BaseUrl("http", "a.example", 80, ""), "a.example"),
        ("http://a.example/", BaseUrl("http", "a.example", 80, ""), "a.example"),
        ("https://a.example", BaseUrl("https", "a.example", 443, ""), "a.example"),
        ("HTTP://A.Example", BaseUrl("http", "a.example", 80, ""), "a.example"),
        ("http://a.example:80", BaseUrl("http", "a.example", 80, ""), "a.example"),
        ("https://a.example:80", BaseUrl("https", "a.example", 80, ""), "a.example:80"),
        ("http://a.example:8080/v1", BaseUrl("http", "a.example", 8080, "/v1"), "a.example:8080"),
        ("http://a.example/v1/", BaseUrl("http", "a.example", 80, "/v1"), "a.example"),
        ("http://a.example/v1/./x/../y", BaseUrl("http", "a.example", 80, "/v1/y"), "a.example"),
        ("http://a.example/%61%2fb", BaseUrl("http", "a.example", 80, "/a%2Fb"), "a.example"),
        ("http://a.example/é", BaseUrl("http", "a.example", 80, "/%C3%A9"), "a.example"),
        ("http://127.0.0.1:9", BaseUrl("http", "127.0.0.1", 9, ""), "127.0.0.1:9"),
        ("http://[::1]:9/x", BaseUrl("http", "::1", 9, "/x"), "[::1]:9"),
        ("http://[0:0:0:0:0:0:0:1]", BaseUrl("http", "::1", 80, ""), "[::1]"),
        ("http://[2001:DB8::1]", BaseUrl("http", "2001:db8::1", 80, ""), "[2001:db8::1]"),
        ("http://user_service:80", BaseUrl("http", "user_service", 80, ""), "user_service"),
        ("http://a.example.", BaseUrl("http", "a.example.", 80, ""), "a.example."),
        ("http://xn--bcher-kva.example", BaseUrl("http", "xn--bcher-kva.example", 80, ""), "xn--bcher-kva.example"),
        (" http://a.example ", BaseUrl("http", "a.example", 80, ""), "a.example"),
        ("http://localhost:65535", BaseUrl("http", "localhost", 65535, ""), "localhost:65535"),
        ("http://" + "a" * 63 + ".example", BaseUrl("http", "a" * 63 + ".example", 80, ""), "a" * 63 + ".example"),
    ],
)
def test_what_a_base_url_means(text: str, parsed: BaseUrl, authority: str) -> None:
    assert BaseUrl.parse(text) == parsed
    assert parsed.authority == authority


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "a.example", "//a.example", "/x", "http:", "http:/", "http://", "http:///x", "http:a.example",
        "http://:80", "http://?x", "ftp://a.example", "ws://a.example",
        "file:///etc/passwd", "unix:/run/x.sock", "javascript:alert(1)", "httpx://a.example", "http://u@a.example",
        "http://u:p@a.example", "http://@a.example",
        "http://a.example?x", "http://a.example?", "http://a.example/?x", "http://a.example#x", "http://a.example#",
        "http://a.example:0", "http://a.example:65536",
        "http://a.example:x", "http://a.example:-1", "http://a.example:80:80", "http://a.example:8 0", "http://a b",
        "http://a.example\\x", "http://a,b", "http://a;b",
        "http://a/b/../../../c", "http://a.example/..", "http://a.example/%2e%2e", "http://a.example/%",
        "http://a.example/%00", "http://a.example/..%2fx",
        "http://[::1", "http://::1", "http://[::g]", "http://[]", "http://[::1]x", "http://[127.0.0.1]",
        "http://[::1%25eth0]", "http://[v1.x]",
        "http://bücher.example", "http://a..example", "http://.example", "http://.", "http://..", "http://a..",
        "http://" + "a" * 64 + ".example", "http://" + "a." * 130,
        "http://a\n.example", "http://a\t.example", "http://a.exam\rple", "http://a\0", "http://%61.example",
        "http://a.example:８０", "http://*", "http://*.example",
    ],
)  # fmt: skip
def test_what_is_no_base_url(text: str) -> None:
    with pytest.raises(BaseUrlError):
        BaseUrl.parse(text)


@given(st.text(alphabet="aA1.-_:/[]@?#%\\ é\n\t", max_size=30).map("http://".__add__) | st.text(max_size=40))
def test_whatever_is_written_is_read_or_refused(text: str) -> None:
    """Never another error, and what was read reads the same from its own text."""
    try:
        url = BaseUrl.parse(text)
    except BaseUrlError:
        return
    assert BaseUrl.parse(url.text) == url
    assert not set(url.text) & set(' \t\r\n\0"<>\\^`{|}?#'), url.text
    assert not url.path.endswith("/")
    url.host.encode("idna")  # as a look-up does: a host that can't be looked up is refused when it is written
