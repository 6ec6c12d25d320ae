"""What is written down of the traffic: the request log and the process that writes it, put together from settings."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from importlib.util import find_spec
from typing import Any

from sqlalchemy import URL

from microgateway.errors import StartupError
from microgateway.observability.access_log import MODE, STDOUT
from microgateway.observability.log_book import LogBook
from microgateway.observability.log_feed import LogFeed
from microgateway.observability.recorder import Sink
from microgateway.observability.writer_process import WriterProcess
from microgateway.persistence.database import Database, locate_log, store_url
from microgateway.persistence.migration import REQUEST_LOG
from microgateway.persistence.request_log import RequestLog
from microgateway.settings import Settings

SECONDS_PER_DAY = 86_400
OFF = "off"


class Writing:
    """The log's database, for reading, and the writer with its feed, where there is anything to write.

    `ears` are the descriptors of the sockets by which other processes send to the writer.
    """

    def __init__(self, settings: Settings, database: URL, *, ears: Sequence[int] = ()) -> None:
        where = locate_log(database, settings.data_dir)
        self._database = Database(where, REQUEST_LOG)
        self._feed: LogFeed | None = None
        self._writer: WriterProcess | None = None
        self._access_log = None if settings.access_log == OFF else settings.access_log
        if settings.otel_endpoint is not None:
            require_opentelemetry()
        if writes_anything(settings):
            self._feed = LogFeed()
            self._writer = WriterProcess(self._feed, writer_options(settings, where), ears)

    @property
    def sinks(self) -> Sequence[Sink]:
        """For the recorder."""
        return () if self._feed is None else (self._feed,)

    def book(self, flush: Callable[[], Awaitable[None]]) -> LogBook:
        """For the control plane. `flush` has the recorder send what it has."""
        return LogBook(reader=RequestLog(self._database), feed=self._feed, flush=flush)

    def count_elsewhere(self, rows: Callable[[], tuple[int, int]]) -> None:
        """`rows` says how many other processes have dropped, and how many wait there."""
        if self._feed is not None:
            self._feed.elsewhere = rows

    @property
    def has_file(self) -> bool:
        """Whether there is an access log in a file, which an operator may rotate."""
        return self._access_log not in (None, STDOUT)

    def reopen(self) -> None:
        """Has the access log's file opened anew."""
        if self._feed is not None and self.has_file:
            self._feed.reopen()

    async def open(self) -> None:
        """Raises `StartupError`, with nothing left open."""
        if self._access_log is not None and self.has_file:
            await asyncio.to_thread(_check_file, self._access_log)
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


def writes_anything(settings: Settings) -> bool:
    """Whether there is a writer at all, and exchanges have to be sent to it."""
    return settings.request_log or settings.access_log != OFF or settings.otel_endpoint is not None


def writer_options(settings: Settings, log: URL) -> dict[str, Any]:
    """What the writer is told to do. `log` is where the request log is."""
    return {
        "store": store_url(log) if settings.request_log else None,
        "retention_seconds": settings.log_retention_days * SECONDS_PER_DAY,
        "retention_rows": settings.log_max_rows,
        "access_log": None if settings.access_log == OFF else settings.access_log,
        "tracing": settings.otel_endpoint,
        "service_name": settings.otel_service_name,
    }


def _check_file(path: str) -> None:
    """The writer opens it for itself, but a mistake is told at once, by who can refuse to start."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE))
    except OSError as error:
        raise StartupError(f"MICROGATEWAY_ACCESS_LOG: can't write to {path!r}: {error.strerror}") from error


def require_opentelemetry() -> None:
    """Raises `StartupError` where it is not installed, whole or in part."""
    try:
        found = find_spec("opentelemetry.exporter.otlp.proto.http")
    except ModuleNotFoundError:  # one above it
        found = None
    if found is None:
        raise StartupError(
            "MICROGATEWAY_OTEL_ENDPOINT needs OpenTelemetry: "
            "pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"
        )
