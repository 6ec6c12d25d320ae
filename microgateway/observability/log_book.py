"""The request log as the control plane sees it: to be read, brought up to date, and cleared."""

from collections.abc import Awaitable, Callable

from microgateway.observability.log_feed import LogCounts, LogFeed, LogUnavailableError
from microgateway.persistence.request_log import RequestLog


class LogBook:
    """`feed` None: nothing is written, and what is there can be read. `flush` sends what the recorder has."""

    def __init__(self, *, reader: RequestLog, feed: LogFeed | None, flush: Callable[[], Awaitable[None]]) -> None:
        self.reader = reader
        self._feed = feed
        self._flush = flush

    @property
    def counts(self) -> LogCounts:
        return LogCounts() if self._feed is None else self._feed.counts

    async def settle(self, patience: float) -> None:
        """Waits until what has ended by now is written, at most so many seconds: a reader then sees it."""
        if self._feed is not None:
            await self._flush()
            await self._feed.settle(patience)

    async def clear(self, before: float | None, patience: float) -> None:
        """Deletes what is of before this moment, None: everything. Raises `LogUnavailableError`."""
        if self._feed is None:
            raise LogUnavailableError("The request log is off.")
        await self._flush()
        await self._feed.clear(before, patience)
