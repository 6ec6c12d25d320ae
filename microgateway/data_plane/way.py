"""Where a request goes and how it is written there: noted with its head, for the next time that the same head comes."""

from microgateway.core.requests import RequestHead
from microgateway.data_plane.peer import Peer
from microgateway.data_plane.pool import Pool
from microgateway.data_plane.rewriting import lasting_lines
from microgateway.snapshot import Destination, Target


class Way:
    """The way of one head to one target, by the connections of `pool`.

    `lines` is what is written, up to the fields that differ in each request. `is_plain`: there is no other target, the
    answer is passed on as it comes, and the client speaks HTTP/1.1 and goes on.
    """

    __slots__ = ("destination", "is_plain", "lines", "pool", "target")

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
        self.lines = lasting_lines(head, destination, target, peer)
