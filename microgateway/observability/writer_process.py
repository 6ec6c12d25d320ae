"""Keeps the log's writer running: starts it, starts it again when it ends by itself, and has it end last."""

import asyncio
import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from microgateway.background import start_task
from microgateway.child_environment import child_environment
from microgateway.observability.log_feed import LogFeed

MODULE = "microgateway.observability.log_writer"
FIRST_PAUSE = 0.5  # seconds before a writer that ended is started again; twice as long each time
LONGEST_PAUSE = 30.0
WELL_AFTER = 60.0  # seconds after which an end is an accident, and not one more in a row
LONGEST_FINISH = 10.0  # seconds for the writer to write what it has


class WriterProcess:
    """One writer at a time, for one feed. `options` are the writer's own, but for the sockets.

    `ears` are the descriptors of sockets of other processes that write to the log too.
    """

    def __init__(self, feed: LogFeed, options: Mapping[str, Any], ears: Sequence[int] = ()) -> None:
        self._feed = feed
        self._ears = ears
        self._options = options
        self._process: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._finishing = False

    async def start(self) -> None:
        """Raises `OSError` where no process can be started."""
        self._feed.start()
        self._process = await self._spawn()
        self._keeping = start_task(self._keep_running(self._process), "keeping the log's writer")

    @property
    def pid(self) -> int | None:
        """The writer's, None while there is none."""
        return None if self._process is None else self._process.pid

    async def stop(self) -> None:
        """Returns when the writer has written everything and ended."""
        self._finishing = True
        if self._keeping is None:
            return
        if self._process is None:  # it ended a moment ago, and what it had not read is still in the socket
            await self._stop_keeping()
            self._process = await self._spawn()
        await self._feed.finish(LONGEST_FINISH)
        try:
            await asyncio.wait_for(self._process.wait(), LONGEST_FINISH)
        except TimeoutError:
            _logger().warning("the log's writer did not end in time; some rows may be lost")
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        await self._stop_keeping()
        self._feed.close()

    async def _keep_running(self, process: asyncio.subprocess.Process) -> None:
        pause = FIRST_PAUSE
        while True:
            began = time.monotonic()
            code = await process.wait()
            if self._finishing:
                return
            self._process = None
            self._feed.writer_ended(unexpectedly=True)
            pause = FIRST_PAUSE if time.monotonic() - began > WELL_AFTER else min(pause * 2, LONGEST_PAUSE)
            _logger().warning("the log's writer ended with %d; it is started again in %g s", code, pause)
            process = self._process = await self._spawn_after(pause)

    async def _spawn_after(self, pause: float) -> asyncio.subprocess.Process:
        """Tries until it succeeds: the machine may have no process or memory to give for a while."""
        while True:
            await asyncio.sleep(pause)
            try:
                return await self._spawn()
            except OSError as error:
                _logger().warning("the log's writer can't be started: %s", error)
                pause = LONGEST_PAUSE

    async def _spawn(self) -> asyncio.subprocess.Process:
        """Options go by standard input: a database's URL may hold a password, and everybody sees a command line."""
        number = self._feed.theirs.fileno()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            MODULE,
            stdin=asyncio.subprocess.PIPE,
            env=child_environment(),
            pass_fds=(number, *self._ears),
            start_new_session=True,  # a Ctrl-C is for the gateway, which has it end when everything is written
        )
        assert process.stdin is not None  # noqa: S101  it was asked for
        process.stdin.write(json.dumps({**self._options, "sockets": [number, *self._ears]}).encode())
        process.stdin.close()
        return process

    async def _stop_keeping(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeping


def _logger() -> logging.Logger:
    return logging.getLogger("microgateway.observability")
