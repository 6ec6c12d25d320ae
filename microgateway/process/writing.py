"""What is written down of the traffic: the request log and the process that writes it, put together from settings."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import URL

from microgateway.errors import StartupError
from microgateway.observability.log_book import LogBook
from microgateway.observability.log_feed import LogFeed
from microgateway.observability.recorder import Sink
from microgateway.observability.writer_process import WriterProcess
from microgateway.persistence.database import Database, locate_log, store_url
from microgateway.persistence.migration import REQUEST_LOG
from microgateway.persistence.request_log import RequestLog
from microgateway.settings import Settings

SECONDS_PER_DAY = 86_400


class Writing:
    """The log's database, for reading, and the writer with its feed, where there is anything to write."""

    def __init__(self, settings: Settings, database: URL) -> None:
        where = locate_log(database, settings.data_dir)
        self._database = Database(where, REQUEST_LOG)
        self._feed: LogFeed | None = None
        self._writer: WriterProcess | None = None
        if settings.request_log:
            self._feed = LogFeed()
            self._writer = WriterProcess(self._feed, writer_options(settings, where))

    @property
    def sinks(self) -> Sequence[Sink]:
        """For the recorder."""
        return () if self._feed is None else (self._feed,)

    def book(self, flush: Callable[[], None]) -> LogBook:
        """For the control plane. `flush` has the recorder send what it has."""
        return LogBook(reader=RequestLog(self._database), feed=self._feed, flush=flush)

    async def open(self) -> None:
        """Raises `StartupError`, with nothing left open."""
        await self._database.open()
        if self._writer is not None:
            try:
                await self._writer.start()
            except OSError as error:
                await self._database.close()
                raise StartupError(f"the log's writer can't be started: {error.strerror or error}") from error

    async def close(self) -> None:
        """Returns when everything is written."""
        if self._writer is not None:
            await self._writer.stop()
        await self._database.close()


def writer_options(settings: Settings, log: URL) -> dict[str, Any]:
    """What the writer is told to do. `log` is where the request log is."""
    return {
        "store": store_url(log) if settings.request_log else None,
        "retention_seconds": settings.log_retention_days * SECONDS_PER_DAY,
        "retention_rows": settings.log_max_rows,
    }
