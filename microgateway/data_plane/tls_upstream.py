"""An upstream's connection over TLS, whose end has to be looked at twice.

A TLS stream is over when the upstream says so with a closure alert. One that merely stops may have been cut off by
anybody on the way, so an answer that ends with its connection is then not whole (RFC 9112, 9.8).
"""

import ssl

from microgateway.data_plane.upstream import UpstreamConnection


class TlsUpstreamConnection(UpstreamConnection):
    """The protocol on an upstream's socket, with TLS in between."""

    __slots__ = ("_truncation",)

    _truncation: Exception | None

    def connected(self) -> None:
        self._truncation = None
        super().connected()

    def eof_received(self) -> bool:
        if not self._was_ended_properly():
            self._truncation = ConnectionAbortedError("the upstream's TLS stream stopped without an end")
        super().eof_received()
        return False  # a TLS transport can't stay half open

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error or self._truncation)

    def _was_ended_properly(self) -> bool:
        """Whether the closure alert came: then there is an end to read, otherwise more to wait for."""
        stream = self.transport.get_extra_info("ssl_object")
        try:
            return bool(stream.read(1) == b"")
        except ssl.SSLZeroReturnError:
            return True
        except ssl.SSLError:
            return False
