"""One connection to an upstream: writes requests, reads answers, one at a time.

What comes is never trusted to belong to anybody but the request under way: bytes that arrive when none is, or behind
the end of an answer, close the connection, so that they can't become the beginning of somebody else's answer.
"""

import asyncio
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from microgateway.core.answers import CHUNKED, NO_BODY, UNTIL_CLOSE, AnswerHead
from microgateway.core.fields import Field, HeadError
from microgateway.core.framing import BodyReader, ChunkedReader, FixedReader, Piece, UntilCloseReader
from microgateway.core.requests import WEBSOCKET
from microgateway.data_plane.tunnel import Tunnel

if TYPE_CHECKING:
    from microgateway.data_plane.forwarding import Forwarding
    from microgateway.data_plane.plane import Plane
    from microgateway.data_plane.pool import Pool

READ_SIZE = 65_536  # bytes
MOST_INTERIM_ANSWERS = 16
LONGEST_REMEMBERED_HEAD = 2_048  # bytes
CONTINUE = 100
SWITCHING_PROTOCOLS = 101


class UpstreamConnection(asyncio.Protocol):
    """The protocol on an upstream's socket.

    `requests` counts those sent on it: a reused connection may have gone stale.
    """

    __slots__ = (
        "_answer",
        "_interims",
        "_last_head",
        "_last_text",
        "_pending",
        "_plane",
        "_pool",
        "_private",
        "_reader",
        "forwarding",
        "idle_since",
        "is_counted",
        "name",
        "received",
        "requests",
        "transport",
        "tunnel",
        "was_made",
        "writable",
    )

    transport: asyncio.Transport

    def __init__(self, plane: "Plane", pool: "Pool") -> None:
        self._plane = plane
        self._pool = pool
        self._private: dict[bytes, Field] = {}
        self._last_text = b""  # the last final answer's head, with its empty line
        self._last_head: AnswerHead | None = None
        # One request's lifetime
        self.forwarding: Forwarding | None = None
        self.received = False
        self._pending = b""
        self._answer: AnswerHead | None = None
        self._reader: BodyReader | None = None
        self._interims = 0
        self.tunnel: Tunnel | None = None
        # The connection's lifetime
        self.requests = 0
        self.idle_since = 0.0
        self.was_made = False
        self.is_counted = True  # whether it holds a place in its pool
        self.writable = True
        self.name = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.was_made = True

    def connected(self) -> None:
        """The connection is usable, TLS included."""
        peer = self.transport.get_extra_info("peername")
        self.name = f"{peer[0]}:{peer[1]}" if peer else ""

    def connection_lost(self, error: Exception | None) -> None:
        self._pool.gone(self)
        if error is not None and self.tunnel is None:
            self._read_what_came()
        forwarding = self.forwarding
        if forwarding is None:
            return
        if self.tunnel is not None:
            self.tunnel.end()
            return
        if _is_orderly(error) and type(self._reader) is UntilCloseReader:
            self._finish_answer(forwarding, reusable=False)
            return
        self.forwarding = None
        forwarding.upstream_lost(stale=not self.received and self.requests > 1)

    def _read_what_came(self) -> None:
        """A write has failed, so the loop reads no more; but what came before is still the client's answer.

        An upstream that refuses a large body answers at once, closes, and then resets: the gateway may write before it
        has read that (RFC 9112, 9.6). What came over TLS is lost here; see `write_body` there.
        """
        sock = self.transport.get_extra_info("socket")
        if sock is None or self.transport.get_extra_info("ssl_object") is not None:
            return
        with suppress(OSError):
            while self.forwarding is not None and (data := os.read(sock.fileno(), READ_SIZE)):
                self.data_received(data)

    def write_body(self, pieces: list[Piece]) -> None:
        """More of the request under way."""
        self.transport.writelines(pieces)

    def eof_received(self) -> bool:
        if self.tunnel is not None:
            self.tunnel.upstream_stopped()
            return True
        self._pool.idle.pop(self, None)
        return False  # an upstream that stopped sending is done: close, and let connection_lost judge

    def pause_writing(self) -> None:
        self.writable = False
        if self.forwarding is not None:
            self.forwarding.upstream_is_slow()

    def resume_writing(self) -> None:
        self.writable = True
        if self.forwarding is not None:
            self.forwarding.upstream_caught_up()

    def close(self) -> None:
        """Ends the connection at once; whoever it served is told nothing."""
        self.forwarding = None
        self._pool.idle.pop(self, None)  # now: the next request may come before the loop tells that it is lost
        if self.was_made:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        forwarding, last = self.forwarding, self._last_head
        if forwarding is None:
            self.close()
            return
        text = self._last_text
        if (
            last is not None  # heads are often the same for a second: the last one is not read again
            and last.body == len(data) - len(text)
            and data.startswith(text)
            and self._reader is None
            and not self._pending
            and forwarding.head.method != b"HEAD"
        ):
            self.forwarding = None
            forwarding.answered_whole(last, data[len(text) :], self, last.keep_alive)
            return
        if self.tunnel is not None:
            self.tunnel.from_upstream(data)
            return
        self.received = True
        try:
            if self._reader is not None:
                self._read_body(forwarding, data)
            else:
                self._read_head(forwarding, self._pending + data if self._pending else data)
        except HeadError as error:
            self.close()
            self._forget_answer()
            forwarding.upstream_malformed(str(error))

    def _read_head(self, forwarding: "Forwarding", data: bytes) -> None:
        options = self._plane.options
        end = data.find(b"\r\n\r\n")
        if end < 0 or end > options.max_header_bytes:
            if len(data) > options.max_header_bytes + len(b"\r\n\r") or data.count(b"\n") != data.count(b"\r\n"):
                raise HeadError("The upstream's answer has an endless or malformed head.")
            self._pending = data
            return
        self._pending = b""
        lines = data[:end].split(b"\r\n")
        if len(lines) > options.max_header_fields + 1:
            raise HeadError("The upstream's answer has too many header fields.")
        to_head = forwarding.head.method == b"HEAD"
        answer = self._plane.answers.read(lines, self._private, to_head=to_head)
        if answer.status < 200:
            self._take_interim(forwarding, answer, data, end + 4)
            return
        remembers = end <= LONGEST_REMEMBERED_HEAD and not to_head
        if remembers:
            self._last_text, self._last_head = data[: end + 4], answer
        if not answer.is_dated:
            self._date(answer, remembers=remembers)
        self._take_final(forwarding, answer, data, end + 4)

    def _date(self, answer: AnswerHead, *, remembers: bool) -> None:
        """A proxy with a clock dates what has no date (RFC 9110, 6.6.1). Such a head is soon read anew."""
        plane = self._plane
        answer.passed_on += plane.date.at(plane.wall())
        if remembers:
            plane.undated.add(self)

    def forget_head(self) -> None:
        """The date that the last answer was given is going to be wrong."""
        self._last_head = None

    def _take_interim(self, forwarding: "Forwarding", answer: AnswerHead, data: bytes, position: int) -> None:
        """A 1xx answer: the final one is still to come (RFC 9110, 15.2)."""
        self._interims += 1
        if answer.status == SWITCHING_PROTOCOLS:
            self._switch(forwarding, answer, data[position:])
            return
        if self._interims > MOST_INTERIM_ANSWERS:
            raise HeadError("The upstream sends interim answers without end.")
        if answer.status != CONTINUE:  # which is the gateway's own to say, and was not asked for here
            forwarding.interim_answered(answer)
        if position < len(data):
            self._read_head(forwarding, data[position:])

    def _switch(self, forwarding: "Forwarding", answer: AnswerHead, rest: bytes) -> None:
        switches = answer.upgrade == WEBSOCKET and answer.connection is not None and b"upgrade" in answer.connection
        if not switches or not forwarding.head.asks_for_websocket():
            raise HeadError("The upstream switches protocols without having been asked to.")
        self._last_head = None  # what comes now is no answer
        self.tunnel = forwarding.switched(answer, self.transport)
        if rest:
            self.tunnel.from_upstream(rest)

    def _take_final(self, forwarding: "Forwarding", answer: AnswerHead, data: bytes, position: int) -> None:
        size = len(data) - position
        if answer.body == size:  # no body, or all of it has come with the head: nearly every answer of an API
            self.forwarding = None
            forwarding.answered_whole(answer, data[position:] if size else b"", self, answer.keep_alive)
            return
        if answer.body == NO_BODY:  # bytes behind an answer without body
            self.forwarding = None
            forwarding.answered_whole(answer, b"", self, False)
            return
        self._answer = answer
        if answer.body == CHUNKED:
            self._reader = ChunkedReader()
        else:
            self._reader = UntilCloseReader() if answer.body == UNTIL_CLOSE else FixedReader(answer.body)
        pieces, consumed = self._reader.feed(memoryview(data)[position:]) if size else ([], 0)
        done = self._reader.done
        forwarding.answer_began(answer, pieces, last=done)
        if done:
            self._finish_answer(forwarding, reusable=answer.keep_alive and consumed == size)

    def _read_body(self, forwarding: "Forwarding", data: bytes) -> None:
        reader = cast(BodyReader, self._reader)
        pieces, consumed = reader.feed(data)
        done = reader.done
        forwarding.answer_went_on(pieces, last=done)
        if done:
            keep_alive = self._answer is not None and self._answer.keep_alive
            self._finish_answer(forwarding, reusable=keep_alive and consumed == len(data))

    def _finish_answer(self, forwarding: "Forwarding", *, reusable: bool) -> None:
        until_close = type(self._reader) is UntilCloseReader
        self.forwarding = None
        self._forget_answer()
        if until_close:
            forwarding.answer_went_on([], last=True)
        forwarding.answer_ended(self, reusable=reusable)

    def _forget_answer(self) -> None:
        self._answer = None
        self._reader = None
        self._pending = b""
        self._interims = 0

    def release(self, now: float, reusable: bool) -> None:
        """The request is over: back into the pool, or closed where something of it could still come."""
        self._interims = 0
        if reusable and self.writable and not self.transport.is_closing():
            self.idle_since = now
            self._pool.idle[self] = None
        else:
            self.close()


def _is_orderly(error: Exception | None) -> bool:
    """Whether a connection's end was the upstream's own, perhaps followed by a reset that a write has met.

    Linux says "broken pipe" of a reset behind the end, and "connection reset" of one in the middle.
    """
    return error is None or (isinstance(error, BrokenPipeError) and sys.platform == "linux")
