"""One client connection: reads requests strictly and in turn, has each judged, and writes the answers in order."""

import asyncio
import re
from typing import TYPE_CHECKING, cast

from microgateway.core.circuit import Permit
from microgateway.core.field_sections import NO_BODY, FieldSection
from microgateway.core.fields import HeadError
from microgateway.core.framing import Piece
from microgateway.core.requests import RequestHead
from microgateway.data_plane.client_body import ClientBody
from microgateway.data_plane.client_connection import (
    ANSWER,
    BODY,
    CLOSED,
    HEAD,
    MOST_PIPELINED,
    NEVER,
    TUNNEL,
)
from microgateway.data_plane.forwarding import Forwarding
from microgateway.data_plane.gates import cors_fields
from microgateway.data_plane.head_reader import HeadReader
from microgateway.data_plane.peer import Peer
from microgateway.data_plane.pipeline import decide
from microgateway.data_plane.postponing import HeldRequest, Postponing
from microgateway.data_plane.problems import CLIENT_TIMEOUT, TOO_MANY_CONNECTIONS, bad_head
from microgateway.data_plane.request_ids import identify
from microgateway.data_plane.responses import CONTINUE, added_fields, problem_answer
from microgateway.data_plane.tunnel import Tunnel
from microgateway.exchange import Exchange, Postponed, Problem

if TYPE_CHECKING:
    from microgateway.data_plane.plane import Plane

HALF_CLOSE_GRACE = 1.0  # seconds for an answer to begin once the client has stopped sending
_EMPTY_LINES = re.compile(rb"(?:\r\n)+")
_NO_HEAD = RequestHead(b"", FieldSection())


class Downstream(Postponing):
    """The protocol on a client's socket."""

    __slots__ = (
        "_again",
        "_again_head",
        "_body",
        "_forwarding",
        "_heads",
        "_in_loop",
        "_requests_left",
        "_tunnel",
        "spare",
    )

    def __init__(self, plane: "Plane") -> None:
        super().__init__(plane)
        # The connection's lifetime
        self._heads = HeadReader(plane.options, plane.request_fields)
        self._again = b""  # the last read that was one request and nothing else: the same bytes are the same head
        self._again_head = _NO_HEAD
        self._requests_left = plane.options.client_max_requests
        self.spare: Forwarding | None = None  # that of a request before, as good as new
        self._in_loop = False
        # One request's lifetime
        self._forwarding: Forwarding | None = None
        self._body: ClientBody | None = None
        self._tunnel: Tunnel | None = None

    # -- what the event loop calls -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        plane = self._plane
        self.transport = cast(asyncio.Transport, transport)
        peer, here = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if peer is None or here is None:  # gone before it was accepted
            self.transport.abort()
            return
        secure = transport.get_extra_info("sslcontext") is not None
        self.peer = Peer(peer[0], here[1], secure=secure, trusted_networks=plane.options.trusted_proxies)
        plane.downstreams.add(self)
        self.deadline = plane.now() + plane.options.client_header_timeout
        if len(plane.downstreams) > plane.options.client_max_connections:
            self._refuse(TOO_MANY_CONNECTIONS)

    def connection_lost(self, error: Exception | None) -> None:
        self._phase = CLOSED
        self._plane.downstreams.discard(self)
        self._pending = b""
        if self._forwarding is not None:
            self._forwarding.client_gone()
        elif self._held is not None:
            self._give_up_held(self._held)
        self.spare = None  # each refers to the other, and would wait for the collector

    def eof_received(self) -> bool:
        """The client has stopped sending.

        Its answer may still be wanted (a half-close), or nobody is there any more.
        """
        if self._phase is TUNNEL and self._tunnel is not None:
            self._tunnel.client_stopped()
            return True
        if self._phase is ANSWER:
            self._eof_at = self._plane.now()
            return True
        if self._phase is BODY and self._forwarding is not None:  # the request will never be whole
            if self._forwarding.answer_begun:
                self.cut_off()
            self._forwarding.client_gone()
        return False

    def pause_writing(self) -> None:
        self.writable = False
        if self._forwarding is not None:
            self._forwarding.client_is_slow()

    def resume_writing(self) -> None:
        self.writable = True
        if self._forwarding is not None:
            self._forwarding.client_caught_up()
        elif self._phase is HEAD:
            self._go_on()

    def data_received(self, data: bytes) -> None:
        phase = self._phase
        if phase is HEAD and self.writable:
            if data == self._again and not self._pending:
                self._begin(self._again_head, data, len(data))
                return
            self._pending = self._pending + data if self._pending else data
            self._read_requests()
        elif phase is BODY:
            self._read_body(data)
        elif phase is ANSWER or phase is HEAD:
            self._pending += data
            if len(self._pending) > MOST_PIPELINED:
                self.pause_reading()
        elif phase is TUNNEL and self._tunnel is not None:
            self._tunnel.from_client(data)

    # -- reading -------------------------------------------------------------------------------------------------------

    def _read_requests(self) -> None:
        """As many requests as have come whole, up to one whose answer takes its time, or that the client doesn't read.

        An answer may be there at once; then this loop goes on by itself, and `_go_on` does not begin it a second time.
        """
        self._in_loop = True
        while self._phase is HEAD and self._pending and self.writable:
            data = self._pending
            if data[:2] == b"\r\n":  # RFC 9112, 2.2: an empty line before a request is skipped
                self._pending = data[cast(re.Match[bytes], _EMPTY_LINES.match(data)).end() :]
                continue
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._wait_for_head(data)
                break
            self._pending = b""
            try:
                head = self._heads.read(data, end)
            except HeadError as error:
                self._refuse(bad_head(error), data)
                break
            if end + 4 == len(data) and head.section.body == NO_BODY:
                self._again, self._again_head = data, head
            self._begin(head, data, end + 4)
        self._in_loop = False

    def _wait_for_head(self, data: bytes) -> None:
        """Part of a head, whose time runs from its first byte."""
        try:
            self._heads.check_beginning(data)
        except HeadError as error:
            self._refuse(bad_head(error), data)
            return
        if self._requests_left != self._plane.options.client_max_requests:
            self.deadline = min(self.deadline, self._plane.now() + self._plane.options.client_header_timeout)

    def _begin(self, head: RequestHead, data: bytes, position: int, exchange: Exchange | None = None) -> None:
        """Judges a request, and forwards or answers it. Its body, as far as it has come, begins at `position`.

        `exchange` is the record of a request that is judged for the second time.
        """
        plane = self._plane
        now, wall = plane.now(), plane.wall()
        if exchange is None:
            exchange = self._new_exchange(head, now, wall)
        snapshot = plane.snapshot
        exchange.configuration_version = snapshot.version
        judgement, exchange.level = decide(head, exchange.client_ip, snapshot, plane.state, now, wall)
        exchange.judgement = judgement
        outcome, destination = judgement.outcome, judgement.destination
        if isinstance(outcome, Permit) and destination is not None:
            forwarding, self.spare = self.spare or Forwarding(plane, self), None
            self._forwarding = forwarding
            self.deadline = NEVER
            if head.section.body == NO_BODY:
                self._phase = ANSWER
                if position < len(data):
                    self._pending = data[position:]
                forwarding.start(head, destination, outcome, exchange)
            else:
                forwarding.start(head, destination, outcome, exchange)
                own = destination.max_body
                limit = plane.options.max_body_bytes if own is None else own
                self._begin_body(forwarding, head, limit, memoryview(data)[position:])
        elif isinstance(outcome, Problem):
            self._answer(outcome, head, exchange, data, position)
        elif isinstance(outcome, Postponed):
            self._hold(outcome, HeldRequest(head, data, position, exchange))

    def _new_exchange(self, head: RequestHead, now: float, wall: float) -> Exchange:
        """The record of a request that has just come."""
        plane, section, peer = self._plane, head.section, self.peer
        self._requests_left -= 1
        if not self._requests_left:
            head.keep_alive, head.way = False, None
        client_ip = peer.ip if section.forwarding is None else peer.client_of(section.forwarding)
        traceparent = head.traceparent
        if traceparent is None:
            request_id, traceparent = identify(head, plane.ids)
        else:  # as `identify` has it, written out
            request_id = head.request_id or next(plane.ids)
        exchange = Exchange(head.method, head.path, client_ip, now, wall, head.query, request_id, traceparent)
        if plane.tracer is not None:
            plane.tracer.begin(exchange, head.traceparent)
        return exchange

    def _begin_body(self, forwarding: Forwarding, head: RequestHead, limit: int, data: memoryview) -> None:
        self._body = body = ClientBody(head.section.body, limit)
        self._phase = BODY
        if body.problem is None and head.section.expects_continue and head.minor_version == 1 and not data:
            self.write(CONTINUE)
        pieces = self._take_body(body, data) if data and body.problem is None else []
        if body.problem is None:
            forwarding.start_with_body(pieces, done=body.done)
        else:
            forwarding.client_erred(body.problem)

    def _read_body(self, data: bytes) -> None:
        forwarding, body = cast(Forwarding, self._forwarding), cast(ClientBody, self._body)
        pieces = self._take_body(body, data)
        if body.problem is None:
            forwarding.send_body(pieces, done=body.done)
        else:
            forwarding.client_erred(body.problem)

    def _take_body(self, body: ClientBody, data: Piece) -> list[Piece]:
        """What of this is body. At its end, what stands behind it is the next request."""
        pieces, consumed = body.feed(data)
        if body.done:
            self._phase = ANSWER
            self._body = None
            if consumed < len(data):
                self._pending = bytes(memoryview(data)[consumed:])
        return pieces

    # -- answers of the gateway's own ----------------------------------------------------------------------------------

    def _answer(self, problem: Problem, head: RequestHead, exchange: Exchange, data: bytes, position: int) -> None:
        """Answers a request that is not forwarded.

        A body that has come whole is skipped; one that hasn't ends the connection.
        """
        come = len(data) - position
        request_done = 0 <= head.section.body <= come
        if request_done and head.section.body < come:
            self._pending = data[position + head.section.body :]
        keep_alive = self.write_problem(problem, head, exchange, request_done=request_done)
        self.exchange_ended(exchange, self._plane.now(), keep_alive, request_done)

    def write_problem(self, problem: Problem, head: RequestHead, exchange: Exchange, *, request_done: bool) -> bool:
        """Writes the answer; says whether the connection goes on."""
        keep_alive = head.keep_alive and head.minor_version == 1 and request_done and not self._plane.draining
        exchange.status, exchange.code, exchange.stage = problem.status, problem.code, problem.stage
        with_body = head.method != b"HEAD"
        plane = self._plane
        date = plane.date.at(plane.wall())
        added = date + added_fields(exchange) + cors_fields(head, exchange.judgement, plane.snapshot)
        self.write(problem_answer(problem, exchange.request_id, added, keep_alive=keep_alive, with_body=with_body))
        return keep_alive

    def _refuse(self, problem: Problem, data: bytes = b"") -> None:
        """Answers what never became a request, and ends the connection: where it would go on, nobody can know."""
        plane = self._plane
        now = plane.now()
        head = RequestHead(b"HEAD" if data.startswith(b"HEAD ") else b"", FieldSection())
        request_id, _ = identify(head, plane.ids)
        exchange = Exchange(b"", b"", self.peer.ip, now, plane.wall(), request_id=request_id)
        self.write_problem(problem, head, exchange, request_done=False)
        self.exchange_ended(exchange, now, False, False)

    # -- what a forwarding calls ---------------------------------------------------------------------------------------

    @property
    def is_busy(self) -> bool:
        """Whether a request is under way here, or a tunnel open."""
        return self._forwarding is not None

    def begin_tunnel(self, tunnel: Tunnel) -> None:
        """From now on bytes are the tunnel's, those that came early too."""
        self._tunnel = tunnel
        self._phase = TUNNEL
        if self._pending:
            early, self._pending = self._pending, b""
            tunnel.from_client(early)
        self.transport.resume_reading()

    def exchange_ended(self, exchange: Exchange, now: float, keep_alive: bool, request_done: bool) -> None:
        """The present request is over: records it, and goes on to the next or closes."""
        self._forwarding = None
        exchange.ended = now
        self._plane.record(exchange)
        if self._phase is CLOSED:
            return
        if not request_done:
            self._linger(now)
        elif not keep_alive:
            self._end(now)
        else:
            self.deadline = now + self._plane.idle_timeout
            self._phase = HEAD
            if self._paused or self._pending:
                self._go_on()
            if self._eof_at != NEVER and self._phase is HEAD and not self._pending:
                self._close()  # the client sends no more, and has all its answers

    def _go_on(self) -> None:
        """To the next request, unless the client has answers to read first: they would pile up here without bound."""
        if not self.writable:
            return
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        if not self._in_loop:
            self._read_requests()

    # -- the end -------------------------------------------------------------------------------------------------------

    def _end(self, now: float) -> None:
        """After an answer that said that it is the last.

        Where there are requests that won't be served, or the client could not know it before, so that there may be some
        on their way, the connection ends in two steps (RFC 9112, 9.6).
        """
        unserved = self._pending or self._paused or not self._requests_left or self._plane.draining
        if unserved and self._eof_at == NEVER:
            self._linger(now)
        else:
            self._close()

    def sweep(self, now: float) -> None:
        """Called at short intervals: ends what is overdue."""
        forwarding = self._forwarding
        if forwarding is not None:
            if now - self._eof_at >= HALF_CLOSE_GRACE and not forwarding.answer_begun:
                self.transport.abort()
            else:
                forwarding.check(now)
        elif now >= self.deadline:
            self._overdue()
        elif self._heads.remembers:  # there may be thousands that have forgotten long ago
            self._forget()

    def _forget(self) -> None:
        """An idle connection keeps nothing of its last request: there may be thousands of them."""
        self.spare = None
        self._again, self._again_head = b"", _NO_HEAD
        self._heads.forget()
        self.peer.forget()

    def _overdue(self) -> None:
        if self._held is not None:
            self._judge_again(self._held)
        elif self._phase is HEAD and self._pending:
            self._refuse(CLIENT_TIMEOUT, self._pending)
        elif self._phase is HEAD and self._plane.draining:
            self._close()  # the last answer may still be on its way
        else:
            self.transport.abort()
