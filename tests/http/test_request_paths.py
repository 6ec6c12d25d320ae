"""Paths, over sockets: the one normal form that router, keys and upstream see (http.md, Paths; RFC 3986, 6.2.2)."""

from collections.abc import Iterator

import pytest

from tests.kit.cases import AnyOf, Case, Forwarded, Refused, Seen, check
from tests.kit.configuration import route, service, settings
from tests.kit.fixtures import Pair, running_pair
from tests.kit.gateway import Gateway, running_gateway
from tests.kit.messages import lines
from tests.kit.upstream import Upstream, running_upstream

NORMAL = "RFC 3986, 6.2.2: case and percent-encoding normal forms, dot segments removed; http.md"
REFUSED = "http.md: leaving the root, NUL, a broken `%`, an encoded slash or backslash next to `..` are 400"


def get(target: str | bytes) -> bytes:
    target = target.encode("latin-1") if isinstance(target, str) else target
    return lines(b"GET " + target + b" HTTP/1.1", "Host: a.example")


def normal_rows() -> Iterator[Case]:
    for given, sent in (
        ("/a/./b", "/a/b"), ("/a/../b", "/b"), ("/a/b/..", "/a/"), ("/a/b/../", "/a/"), ("/a/.", "/a/"), ("/.", "/"),
        ("/./", "/"), ("/a/./", "/a/"),
        ("/a/%2e/b", "/a/b"), ("/a/%2E%2e/b", "/b"), ("/a/.%2e/b", "/b"), ("/a/%2e./b", "/b"), ("/%61", "/a"),
        ("/%7Ea", "/~a"), ("/%41%5a", "/AZ"),
        ("/%2d%2D%5F%5f%7e", "/--__~"), ("/%c3%a9", "/%C3%A9"), ("/%2f", "/%2F"), ("/a%2fb", "/a%2Fb"),
        ("/a%2Fb/../c", "/c"), ("/a%5cb", "/a%5CB".replace("B", "b")),
        ("//", "//"), ("//a", "//a"), ("/a//b", "/a//b"), ("/a//", "/a//"), ("///", "///"), ("/a//../b", "/a/b"),
        ("/a/b/../../c", "/c"),
        ("/a/...", "/a/..."), ("/a/..b", "/a/..b"), ("/a/b..", "/a/b.."), ("/.a", "/.a"), ("/a;x=1/b", "/a;x=1/b"),
        ("/a;x/../b", "/b"),
        ("/%25", "/%25"), ("/%252e%252e/a", "/%252e%252e/a"), ("/%2525", "/%2525"), ("/a%20b", "/a%20b"), ("/a+b",
        "/a+b"), ("/%3F", "/%3F"), ("/%23", "/%23"),
        ("/%3b", "/%3B"), ("/a%3Ab", "/a%3Ab"), ("/a?/../b", "/a?/../b"), ("/a?%2e%2e", "/a?%2e%2e"), ("/a/..?x=..",
        "/?x=.."), ("/a?", "/a?"),
        ("/%FF", "/%FF"), ("/%80", "/%80"), ("/%e2%98%83", "/%E2%98%83"), ("/%0a", "/%0A"), ("/%0d%0aX:%20y",
        "/%0D%0AX:%20y"), ("/%7f", "/%7F"),
    ):  # fmt: skip
        if given in ("/%0a", "/%0d%0aX:%20y", "/%7f"):
            expect = AnyOf((Forwarded((Seen(target=sent.encode()),)), Refused()))
            why = "RFC 3986, 2.1: any octet can be written so. Passed on escaped, or refused as Envoy does"
            yield Case(name=given, why=why, sends=get(given), expect=expect)
            continue
        yield Case(name=given, why=NORMAL, sends=get(given), expect=Forwarded((Seen(target=sent.encode()),)))


def refused_rows() -> Iterator[Case]:
    for target in (
        "/..", "/../", "/../a", "/a/../..", "/a/../../b", "/%2e%2e", "/%2e%2e/a", "/.%2e/", "/a/%2e%2e/%2e%2e/b",
        "/./..", "/./../a", "/%2E%2E%2Fa",
        "/%00", "/a%00b", "/a/%00/../b", "/%", "/%2", "/%zz", "/%2g", "/a%", "/a%/b", "/%%", "/%-1", "/% 1",
        "/%u002e", "/a%2", "/%C3%A",
        "/..%2f", "/..%2F..%2Fetc", "/a/..%2fb", "/a/..%2f..%2fb", "/a%2f..%2fb", "/a%2f..", "/a%2F%2e%2e",
        "/a/%2e%2e%2fb", "/%2f..", "/..%5c", "/a/..%5Cb",
        "/a%5c..%5cb", "/a%5C..", "/a/..\\b", "/a\\..\\b", "/..\\", "/%2e%2e%5c", "/a/..;/b", "/..;/a", "/..;x=1/a",
        "/a/%2e%2e;/b", "/a/..;", "/a/..%00",
        "/a/..%00/b", "/a%2f..;/b",
    ):  # fmt: skip
        yield Case(name=target, why=REFUSED, sends=get(target), expect=Refused())


@pytest.mark.parametrize("case", [*normal_rows(), *refused_rows()], ids=str)
def test_path(pair: Pair, case: Case) -> None:
    check(case, pair.gateway, pair.upstream)


# -- prefixes, stripping and keys --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(upstream: Upstream) -> Iterator[Gateway]:
    """`/public` is open and everything else under `/private` wants a key; some prefixes are stripped."""
    services = [service(upstream.url), service(upstream.url + "/base/v1", "based")]
    routes = [
        route("/public"),
        route("/private", auth="required"),
        route("/strip", strip_prefix=True),
        route("/strip/deeper/still", strip_prefix=True),
        route("/based", service_id="based"),
        route("/stripped-base", service_id="based", strip_prefix=True),
        route("/item/{id}", match="exact"),
        route("/param/{id}", match="prefix", strip_prefix=True),
        route("/encoded%2Fslash", strip_prefix=True),
        route("/exact", match="exact"),
    ]
    with running_gateway(services=services, routes=routes, settings=settings()) as gateway:
        upstream.settle = gateway.settle
        yield gateway


FORWARDED = [
    ("/public", "/public"), ("/public/", "/public/"), ("/public/a", "/public/a"), ("/public?x", "/public?x"),
    ("/%70ublic/a", "/public/a"),
    ("/private/../public", "/public"), ("/private/%2e%2e/public/a", "/public/a"), ("/./public", "/public"),
    ("/public//private", "/public//private"),
    ("/public/%2e%2Fprivate", "/public/.%2Fprivate"), ("/public/a%2Fb", "/public/a%2Fb"),
    ("/strip", "/"), ("/strip/", "/"), ("/strip/a", "/a"), ("/strip/a/", "/a/"), ("/strip?x", "/?x"), ("/strip/?x",
    "/?x"), ("/strip?", "/?"),
    ("/strip//a", "//a"), ("/strip//", "//"), ("/strip/strip", "/strip"), ("/strip/a/../b", "/b"), ("/strip/a/..",
    "/"), ("/strip/%2e/a", "/a"),
    ("/strip/deeper/still/a", "/a"), ("/strip/deeper/stills", "/deeper/stills"), ("/strip/deeper", "/deeper"),
    ("/strip/%2Fa", "/%2Fa"),
    ("/strip/http://b.example/", "/http://b.example/"), ("/strip/@b.example", "/@b.example"), ("/strip/:80", "/:80"),
    ("/based", "/base/v1/based"), ("/based/a", "/base/v1/based/a"), ("/based/", "/base/v1/based/"),
    ("/based/../based/a", "/base/v1/based/a"),
    ("/stripped-base", "/base/v1/"), ("/stripped-base/", "/base/v1/"), ("/stripped-base/a?b", "/base/v1/a?b"),
    ("/stripped-base//a", "/base/v1//a"),
    ("/item/7", "/item/7"), ("/item/a%2Fb", "/item/a%2Fb"), ("/item/%37", "/item/7"), ("/item/..7", "/item/..7"),
    ("/param/7/a", "/a"), ("/param/7", "/"),
    ("/encoded%2fslash/a", "/a"), ("/encoded%2Fslash", "/"), ("/exact", "/exact"), ("/exact?x", "/exact?x"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "sent"), FORWARDED)
def test_a_path_of_a_route(gateway: Gateway, upstream: Upstream, given: str, sent: str) -> None:
    """http.md: after stripping the rest is absolute again, and a prefix ends with a segment."""
    known = len(upstream.requests)
    with gateway.connect() as client:
        answer = client.ask(get(given))
    assert answer.status == 200, answer
    assert [request.target for request in upstream.requests_since(known)] == [sent.encode()]


@pytest.mark.parametrize(
    ("target", "statuses"),
    [
        ("/publicly", {404, 401}), ("/publi", {404, 401}), ("/public;x", {404, 401}), ("/Public", {404, 401}),
        ("/public%2Fa", {404, 401}), ("//public", {404, 401}),
        ("/public%2f..%2fprivate", {400}), ("/public/..%2fprivate", {400}), ("/public/..%5cprivate", {400}),
        ("/public/..;/private", {400}),
        ("/public/../private", {401}), ("/public/%2e%2e/private", {401}), ("/public/./../private/a", {401}),
        ("/%70rivate", {401}), ("/./private", {401}),
        ("/private", {401}), ("/private/", {401}), ("/private?x", {401}), ("/private;x", {404, 401}), ("/PRIVATE",
        {404, 401}), ("/public/../../private", {400}),
        ("/exact/", {404, 401}), ("/exact/a", {404, 401}), ("/item", {404, 401}), ("/item/", {404, 401}),
        ("/item/7/", {404, 401}), ("/item/7/a", {404, 401}),
        ("/stripe", {404, 401}), ("/strip%2Fa", {404, 401}), ("/strip/../private", {401}), ("/strip/..", {404, 401}),
        ("/basedx", {404, 401}),
        ("/encoded/slash", {404, 401}), ("/encoded%252Fslash", {404, 401}), ("/", {404, 401}), ("/item/%2e%2e", {404,
        401}),
    ],
)  # fmt: skip
def test_a_path_that_is_no_way_in(gateway: Gateway, upstream: Upstream, target: str, statuses: set[int]) -> None:
    """http.md: a stranger is told 401 or 404, and no spelling of a path goes around a key."""
    known = len(upstream.requests)
    with gateway.connect() as client:
        answer = client.ask(get(target))
        assert answer.status in statuses, answer
        answer.problem()
    upstream.rest()
    assert upstream.requests_since(known) == []


def test_the_whole_server_is_what_stands_below_the_base_of_a_service(upstream: Upstream) -> None:
    """`OPTIONS *` (RFC 9112, 3.2.4) must not become a path beside the base, such as `/base*`."""
    routes, known = [route("/")], len(upstream.requests)
    for base, target in (("", b"*"), ("/base", b"/base/")):
        with running_gateway(services=[service(upstream.url + base)], routes=routes, settings=settings()) as gateway:
            upstream.settle = gateway.settle
            with gateway.connect() as client:
                assert client.ask(lines("OPTIONS * HTTP/1.1", "Host: a.example")).status == 200
        assert upstream.requests_since(known)[-1].target == target


def test_the_gateway_says_where_it_went_wrong() -> None:
    """Whatever the path was, the answer to it says nothing of what is behind the gateway."""
    with running_pair(routes=[route("/a")]) as pair, pair.gateway.connect() as client:
        answer = client.ask(get("/nowhere"))
        assert str(pair.upstream.port).encode() not in answer.head.raw + answer.body
