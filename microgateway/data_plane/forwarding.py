"""One request on its way to an upstream and back: attempts, deadlines, and everything given back exactly once.

A `Forwarding` stands between a client connection and an upstream connection, both of which call it. It ends in exactly
one of: the answer went through whole; a problem was answered instead; the answer was cut off; the client left.
Whichever comes first, `_end` gives back the permit and the upstream connection and records the exchange; whatever comes
later finds `ended` set.
"""

from math import inf
from typing import TYPE_CHECKING

from microgateway.core.answers import NO_BODY
from microgateway.core.circuit import Permit
from microgateway.core.field_sections import CHUNKED
from microgateway.core.framing import LAST_CHUNK, Piece, encode_chunk
from microgateway.core.requests import RequestHead
from microgateway.core.retry import Fault, Verdict, judge
from microgateway.core.token_bucket import NANOSECONDS
from microgateway.data_plane.answering import Answering
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
from microgateway.data_plane.rewriting import upstream_head
from microgateway.data_plane.target_choice import balancing_key
from microgateway.data_plane.way import Way
from microgateway.exchange import CLIENT_CLOSED_REQUEST, Exchange, Problem
from microgateway.snapshot import Destination
from microgateway.state.targets import Member

if TYPE_CHECKING:
    from microgateway.data_plane.upstream import UpstreamConnection

LARGEST_REPLAYED_BODY = 65_536


class Forwarding(Answering):
    """The way of one request."""

    __slots__ = ()

    # -- towards the upstream ------------------------------------------------------------------------------------------

    def start(self, head: RequestHead, destination: Destination, permit: Permit, exchange: Exchange) -> None:
        """Takes a request, and sends it if it has no body. Who had a plain request is given the next one, too.

        Where there is nothing to choose, that is `attempt` and `_send`, written out.
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
        if way is None or way.destination is not destination:
            if not destination.upstream.is_simple:
                self.attempt()
                return
            self._target = destination.upstream.targets[0]
            way = self._way()
        if not way.is_plain or not way.pool.idle:
            self.attempt()
            return
        connection = way.pool.idle.popitem()[0]
        if connection.transport.is_closing():  # see `Pool.take`
            self.attempt()
            return
        self._target = way.target
        self._upstream = connection
        exchange.attempts = 1
        exchange.upstream = connection.name
        connection.forwarding = self
        connection.received = False
        connection.requests += 1
        connection.transport.write(upstream_head(head.lines, exchange))
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
        self._send(connection)
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
        connection = None if self._was_stale else pool.take()
        if connection is not None:
            self._send(connection)
        elif pool.is_full():
            self._answer_problem(NO_CONNECTION_LEFT, failed=False)
        else:
            self._pool = pool
            pool.connect(self)

    def _way(self) -> Way:
        """The request's way to the target that was chosen. A head that comes again has it still, and what is written of
        it; of one that differs from the last in nothing but path and query, only that is made anew.
        """
        head, destination, target = self.head, self._destination, self._target
        way: Way | None = head.way
        if way is None or way.target is not target or way.destination is not destination:
            section = head.section
            way = section.way
            if way is None or not way.is_for(head, destination, target):
                pool = self._plane.pools.of(target.url)
                way = section.way = Way(head, destination, target, pool, self._downstream.peer)
            head.way = way
            head.lines = way.lines(head)
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

    def _send(self, connection: "UpstreamConnection") -> None:
        self._way()
        self._upstream = connection
        exchange = self._exchange
        exchange.upstream = connection.name
        connection.forwarding = self
        connection.received = False
        connection.requests += 1
        connection.transport.write(upstream_head(self.head.lines, exchange))
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
            connection.write_body(pieces)

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
        """The answer can't be finished, and the client must see that: its connection ends before its answer does."""
        now = self._plane.now()
        if failed:
            self._settle_as_failed(now, cause)
        else:
            self._settle_as_abandoned()
        self._client_keeps_alive = False
        self._downstream.cut_off()
        self._end(now)

    # -- the end -------------------------------------------------------------------------------------------------------

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
