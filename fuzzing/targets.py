"""What is done with a mutated message, and what must hold whatever it is. `FindingError` where it does not."""

import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Protocol, TypeVar, cast

import h11

from fuzzing.comparing import answer_difference, doubt_about_answer, doubt_about_head, request_difference
from fuzzing.configuration import configuration
from fuzzing.mutation import pieces
from fuzzing.reading import (
    OurAnswer,
    OurRequest,
    read_body,
    read_our_answer,
    read_our_request,
    read_their_answer,
    read_their_final_answer,
    read_their_request,
)
from fuzzing.scripted import ScriptedUpstream
from fuzzing.wires import Wire, Workbench
from microgateway.core.answers import AnswerReader
from microgateway.core.field_sections import CHUNKED, request_fields
from microgateway.core.fields import Field, HeadError
from microgateway.core.framing import LAST_CHUNK, ChunkedReader, encode_chunk
from microgateway.core.requests import RequestHead
from microgateway.data_plane.peer import Peer
from microgateway.data_plane.pool import Pool
from microgateway.data_plane.rewriting import upstream_head
from microgateway.data_plane.way import Way
from microgateway.exchange import Exchange
from microgateway.snapshot import Destination

T = TypeVar("T")
# White space between a chunk's size and its extension must be accepted (RFC 9112, 7.1.1: BWS), and h11 does not. What
# we forward has neither.
SPACE_BEFORE_EXTENSION = re.compile(rb"(\r\n[0-9A-Fa-f]+)[ \t]+;")
LONG_AFTER = 1_000.0  # seconds, more than any limit
NO_POOL = cast(Pool, None)  # for heads that are written and not sent


class FindingError(AssertionError):
    """What must hold does not hold for this message."""


class Target(Protocol):
    """Checks one message. `counts` tells how many were read, refused or incomplete."""

    counts: Counter[str]

    def check(self, message: bytes, random: Random) -> None: ...


class RequestHeads:
    """The request reader: what it accepts, h11 reads alike, and what we write of it can be read in one way only.

    Its memory of lines is kept from message to message, as in a gateway, and now and then compared with a fresh one.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._table = request_fields()
        self._private: dict[bytes, Field] = {}
        self._destinations = [_destination(prefix) for prefix in (b"/", b"/x", b"/xx")]
        self._peer = Peer("203.0.113.7", 8080, secure=False, trusted_networks=())

    def check(self, message: bytes, random: Random) -> None:
        ours = self._read(message)
        if random.random() < 0.05:
            self._compare_with_fresh(message, ours)
        if ours is None:
            self.counts["refused"] += 1
            return
        self.counts["read"] += 1
        theirs = ask_h11(read_their_request, message)
        if theirs is None:
            raise FindingError("we read a request that h11 finds incomplete")
        difference = request_difference(ours, theirs)
        if difference is not None:
            raise FindingError(difference)
        self._check_written(ours, random.choice(self._destinations))
        if ours.head.section.body == CHUNKED:
            _compare_split(message[message.index(b"\r\n\r\n") + 4 :], ours, random)

    def _read(self, message: bytes) -> OurRequest | None:
        try:
            return read_our_request(message, self._table, self._private)
        except HeadError:
            return None

    def _compare_with_fresh(self, message: bytes, ours: OurRequest | None) -> None:
        """What is remembered must not change a verdict."""
        try:
            fresh = read_our_request(message, request_fields(), {})
        except HeadError:
            fresh = None
        if _said(ours) != _said(fresh):
            raise FindingError(f"remembered: {_said(ours)}, examined anew: {_said(fresh)}")

    def _check_written(self, ours: OurRequest, destination: Destination) -> None:
        """The head that goes to an upstream, with the body behind it, is one request, and this one."""
        exchange = Exchange(ours.head.method, ours.head.path, self._peer.ip, 0.0, 0.0)
        exchange.request_id = b"0" * 32
        exchange.traceparent = b"00-%b-%b-00" % (b"1" * 32, b"2" * 16)
        target = destination.upstream.targets[0]
        way = Way(ours.head, destination, target, NO_POOL, self._peer)
        head = upstream_head(way.lines(ours.head), exchange)
        doubt = doubt_about_head(head)
        if doubt is not None:
            raise FindingError(doubt)
        if not ours.body.complete:
            return
        body = ours.body.payload
        if ours.head.section.body == CHUNKED:
            body = b"".join([*encode_chunk([body]), LAST_CHUNK])
        theirs = ask_h11(read_their_request, head + body)
        expected = (ours.head.method, ours.body.payload, True, 0)
        if theirs is None or (theirs.method, theirs.body.payload, theirs.body.complete, theirs.body.left) != expected:
            raise FindingError(f"we write {head + body!r}, h11 reads {theirs}")


class AnswerHeads:
    """The answer reader, in the same way."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._reader = AnswerReader()
        self._private: dict[bytes, Field] = {}

    def check(self, message: bytes, random: Random) -> None:
        to_head = random.random() < 0.1
        try:
            ours = read_our_answer(message, self._reader, self._private, to_head=to_head)
        except HeadError:
            ours = None
        if ours is None or ours.head.status == 101:  # which is refused later, where one knows what was asked
            self.counts["refused"] += 1
            return
        self.counts["read"] += 1
        self._compare(message, ours, to_head=to_head)
        doubt = doubt_about_answer(ours)
        if doubt is not None:
            raise FindingError(doubt)

    @staticmethod
    def _compare(message: bytes, ours: OurAnswer, *, to_head: bool) -> None:
        theirs = ask_h11(partial(read_their_answer, to_head=to_head), message)
        if theirs is None:
            raise FindingError("we read an answer that h11 finds incomplete")
        difference = answer_difference(ours, theirs)
        if difference is not None:
            raise FindingError(difference)


class WholePlane:
    """A client's bytes in pieces, through the whole data plane, to an upstream that reads with h11.

    Nothing raises, no answer is a 500, every request that was begun is recorded once, and when time has passed nothing
    is left open. `answers` are what the upstream sends, mutated in their turn; None: it answers well.
    """

    def __init__(self, answers: "MutatedAnswers | None" = None) -> None:
        self.counts: Counter[str] = Counter()
        self._answers = answers
        self._upstream = ScriptedUpstream(answers) if answers else ScriptedUpstream()

    def check(self, message: bytes, random: Random) -> None:
        if self._answers:
            self._answers.random = random
        bench = Workbench(configuration(), on_upstream_write=self._upstream.heard)
        try:
            self._converse(bench, message, random)
        finally:
            self._upstream.forget()

    def _converse(self, bench: Workbench, message: bytes, random: Random) -> None:
        wire = bench.connect()
        for piece in pieces(message, random):
            wire.send(piece)
            if random.random() < 0.5:
                bench.run()
        bench.run()
        for end in random.choice((_nothing, Wire.send_eof, Wire.reset)), _nothing, _nothing:
            end(wire)
            bench.sweep(LONG_AFTER)
        self._judge(bench, wire)

    def _judge(self, bench: Workbench, wire: Wire) -> None:
        statuses = [exchange.status for exchange in bench.exchanges]
        self.counts["read" if 200 in statuses else "refused"] += 1
        if self._upstream.refused:
            raise FindingError(f"the upstream refuses {self._upstream.refused}")
        own = [exchange.status for exchange in bench.exchanges if exchange.upstream_status != exchange.status]
        if 500 in own or 0 in statuses:  # a mutated answer may well say 500
            raise FindingError(f"recorded with status {statuses}")
        if len({id(exchange) for exchange in bench.exchanges}) != len(statuses):
            raise FindingError("recorded twice")
        if any(exchange.stage == "parse" for exchange in bench.exchanges[:-1]):
            raise FindingError(f"it went on behind what can't be understood: {statuses}")
        if len([exchange for exchange in bench.exchanges if exchange.attempts]) < len(self._upstream.requests):
            raise FindingError(f"{len(self._upstream.requests)} requests were forwarded, recorded are {statuses}")
        if bench.plane.downstreams or not wire.closing:
            raise FindingError("a client's connection is open for ever")
        if bench.opened() != bench.really_open():
            raise FindingError(f"{bench.opened()} connections are counted, {bench.really_open()} are open")


class WholeAnswers:
    """An upstream's bytes in pieces, and its end, through the whole data plane: the client never takes a broken answer
    for a whole one, nor gets another body than h11 reads in what the upstream sent.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def check(self, message: bytes, random: Random) -> None:
        to_head, closed = random.random() < 0.1, random.random() < 0.5
        bench = Workbench(configuration())
        wire = bench.connect()
        wire.send(b"%b / HTTP/1.1\r\nHost: a.example\r\n\r\n" % (b"HEAD" if to_head else b"GET"))
        bench.run()
        upstream = bench.upstream_wires[0]
        for piece in pieces(message, random):
            upstream.send(piece)
        if closed:
            upstream.send_eof()
        bench.run()
        bench.sweep(LONG_AFTER)
        self._judge(message, bench, wire, to_head=to_head, closed=closed)

    def _judge(self, message: bytes, bench: Workbench, wire: Wire, *, to_head: bool, closed: bool) -> None:
        (exchange,) = bench.exchanges
        told = read_their_final_answer(bytes(wire.written), to_head=to_head, closed=not wire.aborted)
        if told is None:
            raise FindingError(f"the client got no answer: {bytes(wire.written)!r}")
        if told.body.complete is not (exchange.code == "" or exchange.upstream_status == 0):
            raise FindingError(f"recorded as {exchange.status} {exchange.code}, the client got {told}")
        if exchange.upstream_status == 0 or not told.body.complete:
            self.counts["refused" if exchange.upstream_status == 0 else "cut off"] += 1
            return
        self.counts["read"] += 1
        meant = ask_h11(partial(read_their_final_answer, to_head=to_head, closed=closed), message)
        if meant is None or (meant.status, meant.body.payload, meant.body.complete) != (
            told.status,
            told.body.payload,
            True,
        ):
            raise FindingError(f"the upstream sent {meant}, the client got {told}")


class MutatedAnswers:
    """A script for an upstream: valid answers, mutated, in pieces."""

    def __init__(self, mutated: Callable[[Random], bytes]) -> None:
        self._mutated = mutated
        self.random = Random(0)  # noqa: S311  what is random here must be repeatable

    def __call__(self, request: object) -> list[bytes]:
        return pieces(self._mutated(self.random), self.random) or [b"\r\n"]


def _nothing(wire: Wire) -> None:
    """The peer does nothing, and time passes."""


def _destination(prefix: bytes) -> Destination:
    destination = configuration().match(b"GET", b"a.example", prefix)
    if not isinstance(destination, Destination):
        raise FindingError(f"no route takes {prefix!r}")
    return destination


def ask_h11(read: Callable[[bytes], T], message: bytes) -> T:
    """What h11 reads in a message that we accept. Where it refuses one of the known differences, that is repaired."""
    try:
        return read(message)
    except h11.RemoteProtocolError as error:
        repaired = SPACE_BEFORE_EXTENSION.sub(rb"\1;", message)
        if repaired == message:
            raise FindingError(f"we accept what h11 refuses: {error}") from None
        return ask_h11(read, repaired)


def _said(request: OurRequest | None) -> object:
    if request is None:
        return None
    head: RequestHead = request.head
    section = head.section
    return head.method, head.path, head.query, head.authority, section.passed_on, section.body, section.api_key


def _compare_split(data: bytes, ours: OurRequest, random: Random) -> None:
    """The same chunked bytes in other pieces are the same body."""
    reader, payload, left = ChunkedReader(), b"", 0
    for piece in pieces(data, random):
        body = read_body(reader, piece)
        payload, left = payload + body.payload, left + body.left
    if (payload, reader.done, left) != (ours.body.payload, ours.body.complete, ours.body.left):
        raise FindingError(f"split, the body is {payload!r}, done {reader.done}, {left} left; whole, {ours.body}")
