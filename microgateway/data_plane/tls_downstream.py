"""A client's connection over TLS, which can't be half open: the end of one direction is the end of both."""

from microgateway.data_plane.downstream import LINGER_TIME, Downstream, Phase


class TlsDownstream(Downstream):
    """The protocol on a client's socket, with TLS in between."""

    __slots__ = ()

    def eof_received(self) -> bool:
        super().eof_received()
        return False

    def _linger(self, now: float) -> None:
        """The answer says that the connection closes, but its end can't be shown without closing it, and that would

        reset it while the client still sends: so it stays open, and what comes is dropped, until the client has hung
        up or the time is over.
        """
        self._phase = Phase.LINGER
        self._pending = b""
        self.deadline = now + LINGER_TIME
        self._paused = False
        self._transport.resume_reading()
