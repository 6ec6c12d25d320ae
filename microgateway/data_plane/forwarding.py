"""One request on its way to an upstream and back: attempts, deadlines, and everything given back exactly once.

A `Forwarding` stands between a client connection and an upstream connection, both of which call it. It ends in exactly
one of: the answer went through whole; a problem was answered instead; the answer was cut off; the client left.
Whichever comes first, `_end` gives back the permit and the upstream connection and records the exchange; whatever comes
later finds `ended` set.
"""

import asyncio
from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING

from microgateway.core.answers import NO_BODY, AnswerHead
from microgateway.core.circuit import Permit
from microgateway.core.cors import ORIGIN
from microgateway.core.field_sections import CHUNKED
from microgateway.core.framing import LAST_CHUNK, Piece, encode_chunk
from microgateway.core.requests import RequestHead
from microgateway.core.retry import Fault, Verdict, judge
from microgateway.core.token_bucket import NANOSECONDS
from microgateway.data_plane.pool import Pool
from microgateway.data_plane.problems import (
    CLIENT_TIMEOUT,
    CONNECT_TIMEOUT,
    NO_CONNECTION_LEFT,
    REQUEST_TIMEOUT,
    UPSTREAM_LOST,
    UPSTREAM_MALFORMED,
    UPSTREAM_TIMEOUT,
    no_healthy_target,
)
from microgateway.data_plane.responses import added_fields, answer_head
from microgateway.data_plane.rewriting import SWITCH, upstream_head
from microgateway.data_plane.target_choice import balancing_key
from microgateway.data_plane.tunnel import Tunnel
from microgateway.data_plane.way import Way
from microgateway.exchange import CLIENT_CLOSED_REQUEST, Exchange, Problem
from microgateway.snapshot import Destination, Target
from microgateway.state.targets import Member

if TYPE_CHECKING:
    from microgateway.data_plane.downstream import Downstream
    from microgateway.data_plane.plane import Plane
    from microgateway.data_plane.upstream import UpstreamConnection

LARGEST_REPLAYED_BODY = 65_536
SMALL = 16_384  # bytes; up to here one copy is cheaper than a second buffer


class Forwarding:
    """The way of one request.

    `active_at`: when either side last moved, in monotonic seconds; the sweep compares it with the limits.
    """

    # Slots, and all of them set: with attributes that come later, Python would make a dictionary for every request
    __slots__ = (
        "_answer_is_chunked",
        "_body",
        "_client_keeps_alive",
        "_destination",
        "_downstream",
        "_exchange",
        "_is_plain",
        "_member",
        "_permit",
        "_plane",
        "_pool",
        "_replayable",
        "_request_done",
        "_target",
        "_tried",
        "_tunnel",
        "_upstream",
        "_waited",
        "_was_stale",
        "active_at",
        "answer_begun",
        "ended",
        "head",
    )

    head: RequestHead
    _destination: Destination
    _exchange: Exchange
    _permit: Permit | None
    _target: Target

    def __init__(self, plane: "Plane", downstream: "Downstream") -> None:
        self._plane = plane
        self._downstream = downstream
        self._upstream: UpstreamConnection | None = None
        self._pool: Pool | None = None
        self._body: Sequence[Piece] = ()  # what has come of the body and may have to be sent (again)
        self._tried: tuple[Target, ...] = ()
        self._tunnel: Tunnel | None = None
        self._member: Member | None = None  # the target in the service's group, where there is one to choose
        self._waited = 0.0  # seconds that the service took to begin its answer
        self._request_done = self._replayable = True
        self._answer_is_chunked = self._client_keeps_alive = False
        self._was_stale = False  # if so, the next attempt is on a fresh connection
        self._is_plain = True  # so far: what is above was not touched

    # -- towards the upstream ------------------------------------------------------------------------------------------

    def start(self, head: RequestHead, destination: Destination, permit: Permit, exchange: Exchange) -> None:
        """Takes a request, and sends it if it has no body. Who had a plain request is given the next one, too.

        Where a head has been before there is mostly nothing left to choose: that is `attempt` and `_send`, written out.
        """
        self.head = head
        self._destination = destination
        self._permit = permit
        self._exchange = exchange
        self.active_at = exchange.started
        self.answer_begun = self.ended = False
        if head.section.body != NO_BODY:
            return
        way: Way | None = head.way
        if way is None or way.destination is not destination or not way.is_plain or not way.pool.idle:
            self.attempt()
            return
        self._target = way.target
        self._upstream = connection = way.pool.idle.popitem()[0]
        exchange.attempts = 1
        exchange.upstream = connection.name
        connection.forwarding = self
        connection.received = False
        connection.requests += 1
        connection.transport.write(upstream_head(way.lines, exchange))
        exchange.sent = self._plane.now()

    def start_with_body(self, pieces: list[Piece], *, done: bool) -> None:
        """Begins with what has come of the body; `done` when that is all of it."""
        size = sum(map(len, pieces))
        self._is_plain = False
        self._exchange.bytes_in = size
        self._body = pieces
        self._request_done = done
        self._replayable = done and size <= LARGEST_REPLAYED_BODY
        self.attempt()

    def send_body(self, pieces: list[Piece], *, done: bool) -> None:
        """More of the client's body. While there is no connection it waits here, and the client is not read from."""
        self._request_done = done
        self.active_at = self._plane.now()
        self._exchange.bytes_in += sum(map(len, pieces))
        if self._upstream is None:
            self._body = [*self._body, *pieces]
            self._downstream.pause_reading()
            return
        self._replayable = False
        self._write_body(self._upstream, pieces, done=done)

    def connected(self, connection: "UpstreamConnection") -> None:
        """The pool made a connection for this request."""
        pool, self._pool = self._pool, None
        now = self._plane.now()
        if self.ended or pool is None:
            connection.release(now, True)
            return
        self.active_at = now
        self._send(connection, self._way(pool))
        self._downstream.resume_reading()

    def connection_failed(self, problem: Problem) -> None:
        """The pool could not make one, for the reason that the problem tells."""
        self._pool = None
        if not self.ended:
            self._attempt_failed(Fault.NOT_CONNECTED, problem)

    def attempt(self) -> None:
        """Sends the request, once there is a connection to send it on."""
        self._is_plain = False
        self._exchange.attempts += 1
        upstream = self._destination.upstream
        if upstream.is_simple:
            self._target = target = upstream.targets[0]
        elif (member := self._choose_member()) is not None:
            self._target = target = member.target
        else:
            return
        pool = self._plane.pools.of(target.url)
        if pool.idle and not self._was_stale:
            self._send(pool.idle.popitem()[0], self._way(pool))
        elif pool.is_full():
            self._answer_problem(NO_CONNECTION_LEFT, failed=False)
        else:
            self._pool = pool
            pool.connect(self)

    def _way(self, pool: Pool) -> Way:
        """The request's way to the target that was chosen. A head that comes again has it still."""
        head, destination, target = self.head, self._destination, self._target
        way: Way | None = head.way
        if way is None or way.target is not target or way.destination is not destination:
            way = head.way = Way(head, destination, target, pool, self._downstream.peer)
        return way

    def _choose_member(self) -> Member | None:
        """One that has not been tried, as long as there are others. None: there is none, and the client was told."""
        upstream, now = self._destination.upstream, self._plane.now()
        # Once a group was asked it is asked again: the request may be of an older configuration than the others
        group = self._plane.state.targets.of(upstream) if self._member is None else self._member.group
        self._member = member = group.choose(balancing_key(upstream, self.head, self._exchange), self._tried, now)
        if member is None:
            self._answer_problem(no_healthy_target(group.retry_after(now)), failed=False)
        else:
            member.in_flight += 1
        return member

    def _send(self, connection: "UpstreamConnection", way: Way) -> None:
        self._upstream = connection
        exchange = self._exchange
        exchange.upstream = connection.name
        connection.forwarding = self
        connection.received = False
        connection.requests += 1
        connection.transport.write(upstream_head(way.lines, exchange))
        if self.head.section.body != NO_BODY:
            body, self._body = list(self._body), self._body if self._replayable else ()
            self._write_body(connection, body, done=self._request_done)
        exchange.sent = self._plane.now()

    def _write_body(self, connection: "UpstreamConnection", pieces: list[Piece], *, done: bool) -> None:
        if self.head.section.body == CHUNKED:
            pieces = encode_chunk(pieces)
            if done:
                pieces.append(LAST_CHUNK)
        if pieces:
            connection.transport.writelines(pieces)

    # -- the answer ----------------------------------------------------------------------------------------------------

    def interim_answered(self, answer: AnswerHead) -> None:
        """An interim answer for the client: passed on, unless it speaks HTTP/1.0, which has none (RFC 9110, 15.2)."""
        if self.head.minor_version == 1:
            self._downstream.write(answer.passed_on + b"\r\n")

    def switched(self, answer: AnswerHead, upstream: asyncio.Transport) -> Tunnel:
        """The upstream agreed to a WebSocket: the client is told, and gets a tunnel."""
        now = self._plane.now()
        exchange = self._exchange
        self.answer_begun = True
        self._waited = now - self.active_at
        exchange.answered, exchange.status, exchange.upstream_status = now, answer.status, answer.status
        self._settle_by_status(answer.status, now)
        self._downstream.write(b"%b%b\r\n%b\r\n" % (answer.passed_on, SWITCH, added_fields(exchange)))
        self._tunnel = tunnel = Tunnel(
            client=self._downstream.transport, upstream=upstream, now=self._plane.now, on_end=self._tunnel_ended
        )
        self._downstream.begin_tunnel(tunnel)
        return tunnel

    def _tunnel_ended(self) -> None:
        if self._tunnel is not None:
            self._exchange.bytes_in, self._exchange.bytes_out = self._tunnel.bytes_in, self._tunnel.bytes_out
        self._upstream = None
        self._end(self._plane.now())

    def answered_whole(self, answer: AnswerHead, body: bytes, connection: "UpstreamConnection", reusable: bool) -> None:
        """The whole answer came at once. A good one, where nothing else is unusual, is this and no more."""
        permit, framing, size = self._permit, answer.framing, len(body)
        if (
            not self._is_plain
            or permit is None
            or permit.circuit.hears_all
            or answer.status >= 400
            or framing is None
            or size > SMALL
            or self._plane.draining
        ):
            self._answer_whole(answer, body, connection, reusable=reusable)
            return
        now, exchange, downstream = self._plane.now(), self._exchange, self._downstream
        exchange.answered = now
        exchange.status = exchange.upstream_status = answer.status
        exchange.bytes_out = size
        self._permit = self._upstream = None
        self.ended = True
        downstream.transport.write(answer_head(answer.passed_on, exchange, framing, body))
        connection.release(now, reusable)
        downstream.spare = self
        downstream.exchange_ended(exchange, now, True, True)

    def _answer_whole(
        self, answer: AnswerHead, body: bytes, connection: "UpstreamConnection", *, reusable: bool
    ) -> None:
        now = self._plane.now()
        downstream, permit, size = self._downstream, self._permit, len(body)
        if size <= SMALL:
            downstream.transport.write(self._client_head(answer, now, body))
        else:
            downstream.transport.write(self._client_head(answer, now))
            downstream.transport.write(body)
        self._exchange.bytes_out = size
        if answer.status >= 400 or self._member is not None or (permit is not None and permit.circuit.hears_all):
            self._waited = now - self.active_at
            self._settle_by_status(answer.status, now)
            self._leave_member()
        else:
            self._permit = None  # a success tells a circuit without failures nothing: nearly every answer
        self._upstream = None
        if not downstream.writable:
            connection.transport.resume_reading()  # it was paused for this client; the next one may be quick
        connection.release(now, reusable and self._request_done)
        self._end(now)

    def answer_began(self, answer: AnswerHead, pieces: list[Piece], *, last: bool) -> None:
        """The head came, and the first of the body."""
        now = self._plane.now()
        self._waited, self.active_at = now - self.active_at, now
        self._downstream.write(self._client_head(answer, now))
        if answer.body < 0:  # nobody knows when a stream ends, and a probe must not wait for that
            self._settle_by_status(answer.status, now)
        self.answer_went_on(pieces, last=last)

    def answer_went_on(self, pieces: list[Piece], *, last: bool) -> None:
        """More of the answer's body."""
        self.active_at = self._plane.now()
        self._exchange.bytes_out += sum(map(len, pieces))
        if self._answer_is_chunked:
            pieces = encode_chunk(pieces)
            if last:
                pieces.append(LAST_CHUNK)
        if pieces:
            self._downstream.writelines(pieces)

    def answer_ended(self, connection: "UpstreamConnection", *, reusable: bool) -> None:
        now = self._plane.now()
        self._settle_by_status(self._exchange.status, now)
        self._upstream = None
        if not self._downstream.writable:
            connection.transport.resume_reading()  # it was paused for this client; the next one may be quick
        connection.release(now, reusable and self._request_done)
        self._end(now)

    def _client_head(self, answer: AnswerHead, now: float, body: bytes = b"") -> bytes:
        """The answer's head as the client gets it: end-to-end fields as they came, our own, and our framing."""
        exchange, client, framing = self._exchange, self.head, answer.framing
        self.answer_begun = True
        exchange.answered = now
        exchange.status = exchange.upstream_status = answer.status
        keep_alive = client.keep_alive and self._request_done and not self._plane.draining
        if keep_alive and framing is not None and client.minor_version:
            self._client_keeps_alive = True
        else:
            framing = self._framing(framing, keep_alive=keep_alive)
        passed_on, alteration = answer.passed_on, self._destination.answer_alteration
        if alteration is not None:
            passed_on = alteration.apply(passed_on, client.header(ORIGIN))
        return answer_head(passed_on, exchange, framing, body)

    def _framing(self, framing: bytes | None, *, keep_alive: bool) -> bytes:
        """The lines that tell where the answer and the connection end, for the cases that are not the usual one."""
        client = self.head
        self._is_plain = False
        if framing is None and client.minor_version == 1:
            self._answer_is_chunked = True
            framing = b"Transfer-Encoding: chunked\r\n"
        elif framing is None:
            framing, keep_alive = b"", False  # HTTP/1.0 has no chunks: the end of the connection is the end of the body
        self._client_keeps_alive = keep_alive
        if not keep_alive:
            return framing + b"Connection: close\r\n"
        return framing if client.minor_version else framing + b"Connection: keep-alive\r\n"

    # -- what goes wrong -----------------------------------------------------------------------------------------------

    def upstream_lost(self, *, stale: bool) -> None:
        """The upstream closed the connection before its answer was whole.

        `stale`: it may have done so before it got the request.
        """
        self._upstream = None
        if not self.ended:
            self._attempt_failed(Fault.STALE if stale else Fault.LOST, UPSTREAM_LOST)

    def upstream_malformed(self, reason: str) -> None:
        """The upstream sent what is not HTTP; its connection is closed already."""
        self._upstream = None
        if not self.ended:
            self._attempt_failed(Fault.MALFORMED, UPSTREAM_MALFORMED)

    def _attempt_failed(self, fault: Fault, problem: Problem) -> None:
        """Repeats the request where that is safe and allowed, otherwise answers the problem."""
        plane, destination, exchange = self._plane, self._destination, self._exchange
        now = plane.now()
        instant = int(now * NANOSECONDS)
        verdict = judge(
            fault,
            method=self.head.method,
            replayable=self._replayable or fault is Fault.NOT_CONNECTED,
            answer_begun=self.answer_begun,
            was_stale_before=self._was_stale,
            retries_left=destination.retries - (exchange.attempts - 1 - self._was_stale),
            seconds_left=inf if destination.timeout is None else exchange.started + destination.timeout - now,
            budget=plane.state.retry_budgets.of(destination.upstream.id, instant),
            now=instant,
        )
        exchange.note_attempt(fault.value, verdict.value, self._target.url.authority, now)
        if not verdict.repeats:
            self._answer_problem(problem, failed=True)
            return
        if self._member is not None:
            self._member.in_flight -= 1
            if verdict is not Verdict.REPEAT_STALE:
                self._member.failed(problem.code, now)
        self._was_stale = self._was_stale or verdict is Verdict.REPEAT_STALE
        self._tried = (*self._tried, self._target)
        self._let_go()
        self.active_at = now
        self.attempt()

    def client_gone(self) -> None:
        """The client left: the upstream is told at once, and its place is freed."""
        if self.ended:
            return
        if self._tunnel is not None:
            self._tunnel.end()
            return
        now = self._plane.now()
        if not self.answer_begun:
            self._exchange.status = CLIENT_CLOSED_REQUEST
        self._exchange.code = "client_closed_request"
        self._settle_as_abandoned()
        self._end(now)

    def client_erred(self, problem: Problem) -> None:
        """What the client sent of its body is broken, too large or too late, so the request never gets done."""
        self._request_done = False
        self._answer_problem(problem, failed=False)

    def check(self, now: float) -> None:
        """Called by the sweep: ends what is overdue."""
        if self._tunnel is not None:
            if now - self._tunnel.active_at >= self._plane.options.client_idle_timeout:
                self._tunnel.end()
            return
        timeout, options, upstream = self._destination.timeout, self._plane.options, self._destination.upstream
        quiet = now - self.active_at
        waits_for_client = self._pool is None and (
            not self._downstream.writable
            or (not self._request_done and (self._upstream is None or self._upstream.writable))
        )
        if timeout is not None and now - self._exchange.started >= timeout:
            self._answer_problem(REQUEST_TIMEOUT, failed=not waits_for_client)
        elif self._pool is not None:
            if quiet >= (upstream.connect_timeout or options.upstream_connect_timeout):
                self._attempt_failed(Fault.NOT_CONNECTED, CONNECT_TIMEOUT)
        elif waits_for_client:
            if quiet >= options.client_body_timeout:
                self._answer_problem(CLIENT_TIMEOUT, failed=False)
        elif quiet >= (upstream.read_timeout or options.upstream_read_timeout):
            self._attempt_failed(Fault.TIMED_OUT, UPSTREAM_TIMEOUT)

    def _answer_problem(self, problem: Problem, *, failed: bool) -> None:
        """Ends with an answer of the gateway's own. `failed`: it is the service's fault, which its circuit is told."""
        if self.answer_begun:
            self._exchange.code = problem.code
            self._cut_off(problem.code, failed=failed)
            return
        now = self._plane.now()
        if failed:
            self._settle_as_failed(now, problem.code)
        else:
            self._settle_as_abandoned()
        self._client_keeps_alive = self._downstream.write_problem(
            problem, self.head, self._exchange, request_done=self._request_done
        )
        self._end(now)

    def _cut_off(self, cause: str, *, failed: bool) -> None:
        """The answer can't be finished, and the client must see that:

        its connection ends without an end to the answer.
        """
        now = self._plane.now()
        if failed:
            self._settle_as_failed(now, cause)
        else:
            self._settle_as_abandoned()
        self._client_keeps_alive = False
        self._downstream.cut_off()
        self._end(now)

    # -- backpressure --------------------------------------------------------------------------------------------------

    def upstream_is_slow(self) -> None:
        self._downstream.pause_reading()

    def upstream_caught_up(self) -> None:
        self.active_at = self._plane.now()
        self._downstream.resume_reading()

    def client_is_slow(self) -> None:
        if self._upstream is not None:
            self._upstream.transport.pause_reading()

    def client_caught_up(self) -> None:
        self.active_at = self._plane.now()
        if self._upstream is not None:
            self._upstream.transport.resume_reading()

    # -- giving back, exactly once -------------------------------------------------------------------------------------

    def _settle_by_status(self, status: int, now: float) -> None:
        permit = self._permit
        if permit is not None:
            self._permit = None
            permit.circuit.answered(permit, status, now, self._waited)
            if self._member is not None:
                self._member.answered(status, now)

    def _settle_as_failed(self, now: float, cause: str) -> None:
        permit, self._permit = self._permit, None
        if permit is not None:
            permit.circuit.failed(permit, now, cause)
            if self._member is not None:
                self._member.failed(cause, now)

    def _settle_as_abandoned(self) -> None:
        permit, self._permit = self._permit, None
        if permit is not None:
            permit.circuit.abandoned(permit)

    def _leave_member(self) -> None:
        """The request is no longer under way at the target that was chosen."""
        member, self._member = self._member, None
        if member is not None:
            member.in_flight -= 1

    def _let_go(self) -> None:
        """Of the connection to the upstream, or of the one that is being made: neither can be used any more."""
        if self._upstream is not None:
            connection, self._upstream = self._upstream, None
            connection.close()
        if self._pool is not None:
            pool, self._pool = self._pool, None
            pool.cancel(self)

    def _end(self, now: float) -> None:
        self.ended = True
        if self._upstream is not None or self._pool is not None:
            self._let_go()
        if self._member is not None:
            self._leave_member()
        self._body = ()
        self._downstream.exchange_ended(self._exchange, now, self._client_keeps_alive, self._request_done)
