"""A client's connection over TLS, which can't be half open: the end of one direction is the end of both."""

from microgateway.data_plane.client_connection import LINGER
from microgateway.data_plane.downstream import Downstream


class TlsDownstream(Downstream):
    """The protocol on a client's socket, with TLS in between."""

    __slots__ = ()

    def eof_received(self) -> bool:
        super().eof_received()
        return False

    def _linger(self, now: float) -> None:
        """Reads on and drops what comes, until the client has hung up or the time is over.

        Closing instead would wait for the client's closure alert for as long as a slow reader may take for an answer.
        """
        self._phase = LINGER
        self._pending = b""
        self.deadline = now + self._linger_time()
        self._paused = False
        self.transport.resume_reading()
