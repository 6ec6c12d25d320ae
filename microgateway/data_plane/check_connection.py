"""The connection of one health check: one request, and the status of its answer, read as strictly as any other."""

import asyncio
from typing import cast

from microgateway.core.answers import AnswerReader
from microgateway.core.fields import Field, HeadError

LONGEST_HEAD = 32_768  # bytes, interim answers included
MOST_FIELDS = 200


class CheckConnection(asyncio.Protocol):
    """Closed once the status is known: what else comes is of no interest."""

    def __init__(self, answers: AnswerReader) -> None:
        self._answers = answers
        self._private: dict[bytes, Field] = {}
        self._transport: asyncio.Transport | None = None
        self._status: asyncio.Future[int] | None = None
        self._pending = b""
        self._lost = False
        self.was_made = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.was_made = True

    async def ask(self, request: bytes) -> int:
        """The status of the answer. Raises `HeadError`, or `ConnectionError` when there is none."""
        if self._transport is None or self._lost:
            raise ConnectionResetError("the connection was closed at once")
        self._status = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._status

    def data_received(self, data: bytes) -> None:
        if self._status is None or self._status.done():
            return
        self._pending += data
        try:
            self._read_heads(self._status)
        except HeadError as error:
            self._status.set_exception(error)

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = True
        if self._status is not None and not self._status.done():
            self._status.set_exception(ConnectionResetError("the connection was closed before an answer had come"))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _read_heads(self, status: asyncio.Future[int]) -> None:
        """Up to the first that is not an interim one (RFC 9110, 15.2)."""
        while (end := self._pending.find(b"\r\n\r\n")) >= 0:
            lines = self._pending[:end].split(b"\r\n")
            self._pending = self._pending[end + 4 :]
            if len(lines) > MOST_FIELDS:
                raise HeadError("it has too many header fields")
            head = self._answers.read(lines, self._private, to_head=False)
            if head.status >= 200 or head.status == 101:
                status.set_result(head.status)
                return
        if len(self._pending) > LONGEST_HEAD:
            raise HeadError("its head has no end")
