"""An upgraded connection (RFC 6455 by way of RFC 9110, 7.8): from here on bytes pass both ways, and nobody reads them.

A tunnel takes the place of a request's forwarding after its 101. Either side may stop sending first; the other is told
with an end of its own, and the tunnel is over when both have ended, when one is gone, or when nothing has moved for the
idle time.
"""

import asyncio
from collections.abc import Callable


class Tunnel:
    """Two transports and their backpressure. `active_at`: when a byte last passed, in monotonic seconds."""

    __slots__ = ("_client", "_ended", "_now", "_on_end", "_upstream", "active_at", "bytes_in", "bytes_out")

    def __init__(
        self,
        *,
        client: asyncio.Transport,
        upstream: asyncio.Transport,
        now: Callable[[], float],
        on_end: Callable[[], None],
    ) -> None:
        self._client = client
        self._upstream = upstream
        self._now = now
        self._on_end = on_end
        self._ended = 0
        self.active_at = now()
        self.bytes_in = 0
        self.bytes_out = 0

    def from_client(self, data: bytes) -> None:
        """Passes on what the client sent."""
        self.active_at = self._now()
        self.bytes_in += len(data)
        self._upstream.write(data)

    def from_upstream(self, data: bytes) -> None:
        """Passes on what the upstream sent."""
        self.active_at = self._now()
        self.bytes_out += len(data)
        self._client.write(data)

    def client_stopped(self) -> None:
        """The client sends no more."""
        self._stopped(self._upstream)

    def upstream_stopped(self) -> None:
        """The upstream sends no more."""
        self._stopped(self._client)

    def end(self) -> None:
        """Closes both sides, after what was written has gone out. May be called again."""
        on_end, self._on_end = self._on_end, _nothing
        self._client.close()
        self._upstream.close()
        on_end()

    def _stopped(self, other: asyncio.Transport) -> None:
        if self._on_end is _nothing:  # over TLS the end of a side may come after that of the tunnel
            return
        self._ended += 1
        if self._ended == 2 or not other.can_write_eof():
            self.end()
        else:
            other.write_eof()


def _nothing() -> None:
    """Told to nobody any more."""
