"""What a worker has counted, on its way to the control process: one report at a time, and none twice."""

import asyncio

from microgateway.data_plane.listener import Listener
from microgateway.observability.counting import Counting
from microgateway.observability.log_feed import LogFeed
from microgateway.observability.transfer import take_counts, take_usage
from microgateway.observability.usage import Usage
from microgateway.process.link import Kind, Link
from microgateway.process.worker_messages import Report


class Reports:
    """A report that was sent is kept until it is taken, and sent again to the next control process otherwise.

    What is counted meanwhile is in the next one, which is larger only by what is new in kind.
    """

    def __init__(self, counting: Counting, usage: Usage) -> None:
        self._counting = counting
        self._usage = usage
        self._number = 0
        self._under_way: Report | None = None
        self.link: Link | None = None
        self.taken = asyncio.Event()
        self.taken.set()

    def attach(self, link: Link) -> None:
        """To this control process, from now on."""
        self.link = link
        if self._under_way is not None:
            link.send(Kind.REPORT, self._number, self._under_way)

    def send(self, listener: Listener, feed: LogFeed | None) -> bool:
        """Whether it was sent: not while the last one is not taken, nor while there is nobody to take it."""
        if self.link is None or self._under_way is not None:
            return False
        self._number += 1
        self._under_way = Report(
            counts=take_counts(self._counting),
            usage=take_usage(self._usage),
            connections=listener.connections,
            in_flight=listener.in_flight,
            upstream_connections=listener.upstream_connections,
            log=(0, 0) if feed is None else feed.here,
        )
        self.taken.clear()
        self.link.send(Kind.REPORT, self._number, self._under_way)
        return True

    def was_taken(self, number: int) -> None:
        """The control process has counted the report with this number."""
        if number == self._number:
            self._under_way = None
            self.taken.set()
