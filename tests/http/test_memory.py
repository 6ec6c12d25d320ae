"""Heads are remembered to be read quicker: nothing of one request may ever be in another one (http.md, the rule
above all).
"""

import random

from tests.kit.configuration import key, route
from tests.kit.fixtures import Pair, running_pair
from tests.kit.messages import answer, lines
from tests.kit.steps import Send

CHOICES = [
    "X-A: 1", "X-A: 2", "x-a: 1", "X-A:1", "X-A:  1 ", "Cookie: a=1", "Cookie: a=2", "Accept: */*",
    "X-Long: " + "l" * 300, "Connection: X-A", "Connection: keep-alive",
    "Authorization: Basic eDp5", "Authorization: Basic eTp6", "X-Forwarded-For: 192.0.2.1", "X-Request-Id: one",
    "X-Request-Id: two", "Max-Forwards: 3", "TE: trailers",
    "Upgrade: websocket", "X-API-Key: nonsense", "If-None-Match: \"x\"", "X_Forwarded_For: 1",
]  # fmt: skip
KEPT = ("x-a", "cookie", "accept", "x-long", "authorization", "x-request-id", "if-none-match")


def expected_of(chosen: list[str]) -> list[tuple[str, str]]:
    """The end-to-end fields of a request, in order, without what its Connection names."""
    pairs = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in chosen)]
    named = {value.lower() for name, value in pairs if name == "connection"}
    return [(name, value) for name, value in pairs if name in KEPT and name not in named]


def test_every_request_is_its_own() -> None:
    """A thousand requests on few connections, each with other fields, methods, hosts and bodies, compared one by
    one.
    """
    source = random.Random(7)
    with running_pair() as pair:
        for _connection in range(10):
            with pair.gateway.connect() as client:
                for _ in range(100):
                    chosen = source.sample(CHOICES, source.randrange(6))
                    chosen = [
                        line for line in chosen if sum(one.split(":")[0] == line.split(":")[0] for one in chosen) == 1
                    ]
                    method = source.choice(["GET", "POST", "PUT"])
                    body = source.choice([b"", b"hello"]) if method != "GET" else b""
                    host, target = source.choice(["a.example", "b.example:81"]), source.choice(["/a", "/b?c", "/%61"])
                    framing = (f"Content-Length: {len(body)}",) if method != "GET" else ()
                    client.send(lines(f"{method} {target} HTTP/1.1", f"Host: {host}", *chosen, *framing) + body)
                    assert client.read_answer().status == 200
                    _compare(pair, method, target.replace("%61", "a"), host, chosen, body)


def _compare(pair: Pair, method: str, target: str, host: str, chosen: list[str], body: bytes) -> None:
    sent = pair.upstream.requests[-1]
    fields = [(name.lower().decode(), value.decode()) for name, value in sent.head.fields]
    expected = expected_of(chosen)
    given = [pair for pair in fields if pair[0] in KEPT and (pair[0] != "x-request-id" or pair in expected)]
    assert sorted(given) == sorted(expected), (chosen, sent.head.raw)
    assert [pair for pair in given if pair[0] not in ("authorization", "x-request-id")] == [
        pair for pair in expected if pair[0] not in ("authorization", "x-request-id")
    ], "the order changed"
    assert (sent.method.decode(), sent.target.decode(), sent.body) == (method, target, body)
    assert sent.all(b"x-forwarded-host") == [host.encode()]
    assert sent.all(b"x-forwarded-for") == [b"127.0.0.1"]


def test_more_lines_than_are_remembered(pair: Pair) -> None:
    """The memory is bounded: what was forgotten is read again, and means the same."""
    with pair.gateway.connect() as client:
        for number in range(600):
            several = [f"X-{number % 50}-{place}: {number}" for place in range(20)]
            assert client.ask(lines("GET /x HTTP/1.1", "Host: a.example", *several)).status == 200
            sent = pair.upstream.requests[-1]
            assert [value for name, value in sent.head.fields if name.startswith(b"X-%d-" % (number % 50))] == [
                b"%d" % number
            ] * 20


def test_a_refused_line_stays_refused(pair: Pair) -> None:
    """A verdict is remembered with its line: a bad one is bad again, and a good one beside it stays good."""
    for _ in range(3):
        for line, status in ((b"X-A: 1", 200), (b"X-A : 1", 400), (b"X-A: a\x01b", 400), (b"X-A: 1", 200)):
            with pair.gateway.connect() as client:
                assert client.ask(lines("GET /x HTTP/1.1", "Host: a.example", line)).status == status


def test_a_key_of_one_connection_is_no_key_of_another() -> None:
    issued = [key("one"), key("two")]
    with running_pair(routes=[route("/", auth="required")], keys=[one.entity for one in issued]) as pair:
        with pair.gateway.connect() as first, pair.gateway.connect() as second:
            for _ in range(3):
                assert (
                    first.ask(lines("GET /x HTTP/1.1", "Host: a.example", f"X-API-Key: {issued[0].secret}")).status
                    == 200
                )
                assert second.ask(lines("GET /x HTTP/1.1", "Host: a.example")).status == 401
                assert first.ask(lines("GET /x HTTP/1.1", "Host: a.example")).status == 401
                assert (
                    second.ask(lines("GET /x HTTP/1.1", "Host: a.example", f"X-API-Key: {issued[1].secret}")).status
                    == 200
                )
        used = pair.gateway.call(
            lambda served: {name: usage.total_requests for name, usage in served.usage.keys.items()}
        )
    assert used == {"one": 3, "two": 3}


def test_a_key_that_is_revoked_is_none_at_once() -> None:
    """Also on a connection that has just used it."""
    issued = key()
    with (
        running_pair(routes=[route("/", auth="required")], keys=[issued.entity]) as pair,
        pair.gateway.connect() as client,
    ):
        request = lines("GET /x HTTP/1.1", "Host: a.example", f"X-API-Key: {issued.secret}")
        assert client.ask(request).status == 200
        revoked = issued.entity.model_copy(update={"enabled": False})
        pair.gateway.apply(pair.gateway.call(lambda served: served.listener.snapshot).with_key(revoked))
        assert client.ask(request).status == 401
        pair.gateway.apply(pair.gateway.call(lambda served: served.listener.snapshot).with_key(issued.entity))
        assert client.ask(request).status == 200
        pair.gateway.apply(pair.gateway.call(lambda served: served.listener.snapshot).with_keys(()))
        assert client.ask(request).status == 401


def test_an_answers_head_means_another_thing_to_head(pair: Pair) -> None:
    """The same bytes from the same connection: a length is a body for GET, and none for HEAD."""
    pair.upstream.forget()
    head = answer(200, body=b"hello").removesuffix(b"hello")
    with pair.gateway.connect() as client:
        for method in (b"GET", b"HEAD", b"HEAD", b"GET", b"HEAD", b"GET"):
            pair.upstream.script(Send(head + (b"hello" if method == b"GET" else b"")))
            got = client.ask(lines(method + b" /x HTTP/1.1", "Host: a.example"), method)
            assert got.body == (b"hello" if method == b"GET" else b"")
            assert got.one(b"content-length") == b"5"


def test_answers_differ_though_their_heads_begin_alike(pair: Pair) -> None:
    pair.upstream.forget()
    with pair.gateway.connect() as client:
        for number in (1, 2, 1, 3, 1, 1):
            pair.upstream.script(Send(answer(200, f"Set-Cookie: session={number}", "X-Same: 1", body=b"%d" % number)))
            got = client.ask(lines("GET /x HTTP/1.1", "Host: a.example"))
            assert (got.all(b"set-cookie"), got.body) == ([b"session=%d" % number], b"%d" % number)
