"""A byte source and sink: `GET …/source/N` answers N bytes, `POST …/sink` counts what it is sent. Nothing is kept.

Run as a program: `python -m benchmarks.bulk_upstream PORT`.
"""

import asyncio
import json
import sys
import zlib
from collections.abc import Iterator
from typing import cast
from urllib.parse import parse_qs, urlsplit

import httptools
import uvloop

from benchmarks.bulk import pieces


class BulkUpstream(asyncio.Protocol):
    """One connection. A source writes only while the transport takes more; a sink can refuse to read for a while."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._pending: Iterator[memoryview] = iter(())
        self._writable = True
        self._start_request()

    def _start_request(self) -> None:
        self._url = b""
        self._count = 0
        self._value = 0
        self._checked = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of asyncio's

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_headers_complete(self) -> None:
        query = parse_qs(urlsplit(self._url.decode()).query)
        self._checked = query.get("checked") == ["1"]
        pause = float(query.get("pause", ["0"])[0])
        if pause:
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(pause, self._transport.resume_reading)

    def on_body(self, body: bytes) -> None:
        self._count += len(body)
        if self._checked:
            self._value = zlib.crc32(body, self._value)

    def on_message_complete(self) -> None:
        *_, kind, last = ["", *urlsplit(self._url.decode()).path.split("/")]
        if kind == "source":
            self._head("application/octet-stream", int(last))
            self._pending = pieces(int(last))
            self._pump()
        else:
            told = json.dumps({"bytes": self._count, "crc32": self._value}).encode()
            self._head("application/json", len(told))
            self._transport.write(told)
        self._start_request()

    def _head(self, kind: str, length: int) -> None:
        self._transport.write(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n".encode())

    def _pump(self) -> None:
        while self._writable:
            piece = next(self._pending, None)
            if piece is None:
                return
            self._transport.write(piece)

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._pump()

    def connection_lost(self, exc: Exception | None) -> None:
        self._pending = iter(())


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(BulkUpstream, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
