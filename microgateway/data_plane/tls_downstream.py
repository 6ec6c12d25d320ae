"""A client's connection over TLS, which can't be half open: the end of one direction is the end of both."""

from microgateway.data_plane.client_connection import ANSWER, LINGER
from microgateway.data_plane.downstream import Downstream


class TlsDownstream(Downstream):
    """The protocol on a client's socket, with TLS in between."""

    __slots__ = ()

    def eof_received(self) -> bool:
        super().eof_received()
        if self._phase is ANSWER and self._forwarding is not None and self._forwarding.answer_begun:
            self.cut_off()
        return False

    def _linger(self, now: float) -> None:
        """Says that the answer is over, and drops what comes until the client has hung up or the time is over."""
        self._phase = LINGER
        self._pending = b""
        self.deadline = now + self._linger_time()
        self.transport.close()
