"""The answer to a request that was forwarded: on its way from the upstream to the client, in our framing."""

import asyncio
from typing import TYPE_CHECKING

from microgateway.core.answers import AnswerHead
from microgateway.core.cors import ORIGIN
from microgateway.core.framing import LAST_CHUNK, Piece, encode_chunk
from microgateway.data_plane.holding import Holding
from microgateway.data_plane.responses import added_fields, answer_head
from microgateway.data_plane.rewriting import SWITCH
from microgateway.data_plane.tunnel import Tunnel

if TYPE_CHECKING:
    from microgateway.data_plane.upstream import UpstreamConnection

SMALL = 16_384  # bytes; up to here one copy is cheaper than a second buffer


class Answering(Holding):
    """What an upstream's connection calls as the answer comes, piece by piece or whole."""

    __slots__ = ()

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
        downstream.spare = self  # type: ignore[assignment]  # a Forwarding: there is no other Answering
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
        """An answer that came in pieces is whole. `reusable`: nothing of it can still come on this connection."""
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
