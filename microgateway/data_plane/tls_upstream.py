"""An upstream's connection over TLS, whose end has to be looked at twice.

A TLS stream is over when the upstream says so with a closure alert. One that merely stops may have been cut off by
anybody on the way, so an answer that ends with its connection is then not whole (RFC 9112, 9.8).
"""

import asyncio
import select
import ssl
from typing import TYPE_CHECKING

from microgateway.core.framing import Piece
from microgateway.data_plane.upstream import UpstreamConnection

if TYPE_CHECKING:
    from microgateway.data_plane.plane import Plane
    from microgateway.data_plane.pool import Pool


class TlsUpstreamConnection(UpstreamConnection):
    """The protocol on an upstream's socket, with TLS in between."""

    __slots__ = ("_was_ended",)

    def __init__(self, plane: "Plane", pool: "Pool") -> None:
        super().__init__(plane, pool)
        self._was_ended = False

    def write_body(self, pieces: list[Piece]) -> None:
        """Not where the connection is reset already: a write that fails would end the reading too.

        So an answer that came before the reset is read (RFC 9112, 9.6), and then the loop meets the reset by itself.
        """
        if not _is_reset(self.transport):
            self.transport.writelines(pieces)

    def eof_received(self) -> bool:
        """uvloop calls this for a closure alert only, asyncio's own loop for any end."""
        self._was_ended = self._has_closure_alert()
        super().eof_received()
        return False  # a TLS transport can't stay half open

    def connection_lost(self, error: Exception | None) -> None:
        """The alert decides, whatever became of the connection below it."""
        super().connection_lost(None if self._was_ended else error or ConnectionAbortedError("no closure alert"))

    def _has_closure_alert(self) -> bool:
        """With it there is an end to read, without it more to wait for."""
        try:
            return bool(self.transport.get_extra_info("ssl_object").read(1) == b"")
        except ssl.SSLZeroReturnError:
            return True
        except ssl.SSLError:
            return False


def _is_reset(transport: asyncio.Transport) -> bool:
    sock = transport.get_extra_info("socket")
    if sock is None:
        return True
    poller = select.poll()
    poller.register(sock.fileno(), 0)  # errors are told unasked
    return bool(poller.poll(0))
