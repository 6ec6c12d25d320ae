"""Our readers beside h11, a strict one that we did not write, and llhttp, the one that most upstreams have.

What we accept, h11 accepts and reads alike; the other way round is not asked, since we refuse what RFC 9112 lets a
server repair. `docs/fuzzing.md` tells the whole story; `scripts/fuzz` runs the same for as long as one likes.
"""

from random import Random

import h11
import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzzing.__main__ import Run
from fuzzing.comparing import doubt_about_head, fields_of
from fuzzing.configuration import configuration
from fuzzing.corpus import ANSWERS, REQUESTS
from fuzzing.mutation import MUTATIONS, mutate, pieces
from fuzzing.reading import OurRequest, read_our_answer, read_our_request, read_their_answer, read_their_request
from fuzzing.targets import NO_POOL, AnswerHeads, FindingError, RequestHeads, WholePlane
from microgateway.core.answers import AnswerReader
from microgateway.core.field_sections import request_fields
from microgateway.core.fields import HeadError
from microgateway.data_plane.peer import Peer
from microgateway.data_plane.rewriting import upstream_head
from microgateway.data_plane.way import Way
from microgateway.exchange import Exchange
from microgateway.snapshot import Destination

randoms = st.randoms(use_true_random=False)


def ours(message: bytes) -> OurRequest | None:
    return read_our_request(message, request_fields(), {})


@pytest.mark.parametrize("message", REQUESTS, ids=lambda message: repr(message.split(b"\r\n")[0]))
def test_valid_requests_are_read_alike(message: bytes) -> None:
    target = RequestHeads()
    target.check(message, Random(0))
    assert target.counts == {"read": 1}


@pytest.mark.parametrize("message", ANSWERS, ids=lambda message: repr(message.split(b"\r\n")[0]))
def test_valid_answers_are_read_alike(message: bytes) -> None:
    target = AnswerHeads()
    target.check(message, Random(0))
    assert target.counts == {"refused" if b" 101 " in message else "read": 1}


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(REQUESTS), randoms)
def test_mutated_requests_are_refused_or_read_alike(message: bytes, random: Random) -> None:
    RequestHeads().check(mutate(message, random), random)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(ANSWERS), randoms)
def test_mutated_answers_are_refused_or_read_alike(message: bytes, random: Random) -> None:
    AnswerHeads().check(mutate(message, random), random)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(REQUESTS), st.sampled_from(REQUESTS), randoms)
def test_mutated_requests_go_through_the_whole_data_plane(first: bytes, second: bytes, random: Random) -> None:
    WholePlane().check(mutate(first, random) + second, random)


def test_a_small_fuzzing_run_finds_nothing() -> None:
    """Always the same one; `scripts/fuzz` makes new ones."""
    run = Run(seed=9112)
    run.go(seconds=60.0, most=4_000, tell=lambda _: None)
    assert run.heads["requests"] >= 4_000
    assert run.findings == []


def test_a_run_is_told_by_its_seed() -> None:
    runs = [Run(seed=7), Run(seed=7)]
    told: list[list[str]] = [[], []]
    for run, lines in zip(runs, told, strict=True):
        run.go(seconds=60.0, most=700, tell=lines.append)
    assert runs[0].heads == runs[1].heads
    assert told[0][1:] == told[1][1:], "the counts behind the time"


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_a_mutation_takes_anything(mutation: object) -> None:
    assert callable(mutation)
    for message in (b"", b"\r\n", b"a", *REQUESTS):
        for seed in range(20):
            assert isinstance(mutation(message, Random(seed)), bytes)


@given(st.binary(max_size=50), randoms)
def test_pieces_are_the_message(message: bytes, random: Random) -> None:
    cut = pieces(message, random)
    assert b"".join(cut) == message
    assert all(cut)


# -- the differences that are meant ------------------------------------------------------------------------------------

H11_REFUSES = [
    # RFC 9112, 7.1.1: a recipient must accept (bad) white space before a chunk's extension. It is not passed on.
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1 ;a\r\nx\r\n0\r\n\r\n",
]
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
H11_ACCEPTS = {
    "lists of equal lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx",
    "the same length twice": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    "both framings": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks with HTTP/1.0": b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a length of 20 digits": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n",
    "a folded line": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: a\n\n",
    "a control character": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n",
    "DEL": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n",
    "a host that is none": b"GET / HTTP/1.1\r\nHost: a/b@c\r\n\r\n",
    "an empty host": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "a fragment": b"GET /#a HTTP/1.1\r\nHost: a\r\n\r\n",
    "a quote in the target": b'GET /" HTTP/1.1\r\nHost: a\r\n\r\n',
    "a target that is neither path nor URL": b"GET a HTTP/1.1\r\nHost: a\r\n\r\n",
    "a path that leaves the root": b"GET /.. HTTP/1.1\r\nHost: a\r\n\r\n",
    "CONNECT": b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
    "another version": b"GET / HTTP/1.9\r\nHost: a\r\n\r\n",
    "another expectation": b"GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n",
    "space behind a chunk's size": CHUNKED + b"1 \r\nx\r\n0\r\n\r\n",
    "framing in trailers": CHUNKED + b"0\r\nContent-Length: 1\r\n\r\n",
}


@pytest.mark.parametrize("message", H11_REFUSES)
def test_what_only_h11_refuses(message: bytes) -> None:
    """The list is short, and each has its reason."""
    read = ours(message)
    assert read is not None
    assert read.body.complete
    with pytest.raises(h11.RemoteProtocolError):
        read_their_request(message)


@pytest.mark.parametrize("message", H11_ACCEPTS.values(), ids=H11_ACCEPTS.keys())
def test_what_only_we_refuse(message: bytes) -> None:
    assert read_their_request(message) is not None
    if message.startswith(b"GET / HTTP/1.1\n"):
        assert ours(message) is None, "its end never comes, and the connection says so earlier"
        return
    with pytest.raises(HeadError):
        ours(message)


def test_what_only_we_refuse_of_an_answer() -> None:
    for message in (
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ):
        assert read_their_answer(message, to_head=False) is not None
        with pytest.raises(HeadError):
            read_our_answer(message, AnswerReader(), {}, to_head=False)


# -- what the comparison itself is worth -------------------------------------------------------------------------------


class _Lax(RequestHeads):
    """As if our reader had let this pass: the request is read from a repaired copy of the message."""

    def __init__(self, repaired: bytes) -> None:
        super().__init__()
        self._repaired = repaired

    def _read(self, message: bytes) -> OurRequest | None:
        return ours(self._repaired)


SMUGGLED = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"


@pytest.mark.parametrize(
    "message",
    [
        SMUGGLED.replace(b"Content-Length: 3", b"Content-Length: 2"),
        SMUGGLED.replace(b"Content-Length: 3", b"Transfer-Encoding: chunked"),
        SMUGGLED.replace(b"Content-Length: 3", b"Content-Length : 3"),
        SMUGGLED.replace(b"Host: a", b"Host: b"),
        SMUGGLED.replace(b"POST", b"PUT"),
        SMUGGLED.replace(b" / ", b" /b "),
        SMUGGLED.replace(b" / ", b" /? "),
        SMUGGLED.replace(b"Host: a", b"Host: a\r\nX: y"),
        SMUGGLED.replace(b"abc", b"ab"),
        SMUGGLED.replace(b"Host: a", b"Host: a\r\nX-API-Key: k"),
        SMUGGLED.replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
)
def test_a_difference_would_be_noticed(message: bytes) -> None:
    with pytest.raises(FindingError):
        _Lax(SMUGGLED).check(message, Random(0))


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n",
        b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX:1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX_Forwarded-For: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET",
        b"GET a HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_a_doubtful_head_would_be_noticed(head: bytes) -> None:
    assert doubt_about_head(head) is not None


# -- llhttp, on what we write ------------------------------------------------------------------------------------------


class _Collector:
    """What httptools tells of one request."""

    def __init__(self) -> None:
        self.url = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.messages = 0

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.messages += 1


METHODS_OF_LLHTTP = (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"PROPFIND")


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(REQUESTS), randoms)
def test_llhttp_reads_what_we_write_as_we_mean_it(message: bytes, random: Random) -> None:
    try:
        read = ours(mutate(message, random))
    except HeadError:
        return
    if read is None or read.head.method not in METHODS_OF_LLHTTP or read.head.asks_for_websocket():
        return
    destination = configuration().match(read.head.method, read.head.host, b"/")
    assert isinstance(destination, Destination)
    exchange = Exchange(read.head.method, read.head.path, "192.0.2.1", 0.0, 0.0)
    exchange.request_id = b"r"
    exchange.traceparent = b"t"
    peer = Peer("192.0.2.1", 80, secure=False, trusted_networks=())
    way = Way(read.head, destination, destination.upstream.targets[0], NO_POOL, peer)
    head = upstream_head(way.lines(read.head), exchange)
    collector = _Collector()
    parser = httptools.HttpRequestParser(collector)
    parser.feed_data(head)
    assert (parser.get_method(), parser.get_http_version()) == (read.head.method, "1.1")
    assert collector.url == read.head.path + read.head.query
    assert collector.fields == fields_of(head.partition(b"\r\n")[2][:-2])
    assert collector.messages == (1 if read.head.section.body == 0 else 0)
