"""Where a request goes and how it is written there: noted with its fields, for the next request that has the same."""

from microgateway.core.requests import RequestHead
from microgateway.data_plane.peer import Peer
from microgateway.data_plane.pool import Pool
from microgateway.data_plane.rewriting import lasting_lines
from microgateway.snapshot import Destination, Target


class Way:
    """The way of one client's requests with the same fields to one target, by the connections of `pool`.

    `is_plain`: there is no other target, the answer is passed on as it comes, and the client speaks HTTP/1.1 and goes
    on.
    """

    __slots__ = (
        "_authority",
        "_beginning",
        "_keep_alive",
        "_method",
        "_minor_version",
        "_rest",
        "destination",
        "is_plain",
        "pool",
        "target",
    )

    def __init__(self, head: RequestHead, destination: Destination, target: Target, pool: Pool, peer: Peer) -> None:
        self.destination = destination
        self.target = target
        self.pool = pool
        self.is_plain = (
            destination.upstream.is_simple
            and destination.answer_alteration is None
            and head.keep_alive
            and head.minor_version == 1
        )
        self._method = head.method
        self._minor_version = head.minor_version
        self._authority = head.authority
        self._keep_alive = head.keep_alive
        self._beginning = b"%b %b" % (head.method, target.path)
        self._rest = lasting_lines(head, destination, target, peer)

    def is_for(self, head: RequestHead, destination: Destination, target: Target) -> bool:
        """Whether another request goes this way, one with the same fields: only its path and its query may differ."""
        return (
            self.destination is destination
            and self.target is target
            and self._method == head.method
            and self._authority == head.authority
            and self._keep_alive is head.keep_alive
            and self._minor_version == head.minor_version
        )

    def lines(self, head: RequestHead) -> bytes:
        """What is written of this request, up to the fields that differ in each."""
        alteration = self.destination.alteration
        path = head.path if alteration is None else alteration.path(head.path)
        if path == b"*" and self.target.path:  # the service is no whole server, but what stands below its path
            path = b"/"
        return b"%b%b%b%b" % (self._beginning, path, head.query, self._rest)
