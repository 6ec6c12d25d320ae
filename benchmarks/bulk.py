"""Large bodies: what they are made of, and a client that downloads and uploads them over plain sockets.

The same bytes are known on all sides, so that a body can be checked at its end without keeping it.
"""

import http.client
import json
import random
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchmarks.errors import BenchmarkError

MEBIBYTE = 1 << 20
BLOCK_BYTES = 256 * 1024
TIMEOUT = 120.0


def block() -> bytes:
    """The block that every body repeats; noise, so that a lost or doubled piece shows in the checksum."""
    return random.Random(BLOCK_BYTES).randbytes(BLOCK_BYTES)


def pieces(size: int) -> Iterator[memoryview]:
    """A body of `size` bytes, block by block."""
    whole = memoryview(block())
    for start in range(0, size, BLOCK_BYTES):
        yield whole[: min(BLOCK_BYTES, size - start)]


def checksum(size: int) -> int:
    """The CRC32 of a body of `size` bytes."""
    value = 0
    for piece in pieces(size):
        value = zlib.crc32(piece, value)
    return value


@dataclass(frozen=True, slots=True)
class BulkClient:
    """One body at a time through the proxy on `port`. `checked` compares checksums, which costs time at both ends."""

    name: str
    port: int
    prefix: str
    headers: Mapping[str, str]
    checked: bool = False

    def download(self, size: int, *, pause: float = 0.0) -> None:
        """Fetch `size` bytes; after the first block the client reads nothing for `pause` seconds.

        Raises `BenchmarkError` when the status, the length or (checked) the content is wrong.
        """
        connection = self._connect()
        try:
            connection.request("GET", f"{self.prefix}/source/{size}", headers=dict(self.headers))
            answer = connection.getresponse()
            self._expect("status of a download", answer.status, 200)
            count, value, buffer = 0, 0, bytearray(BLOCK_BYTES)
            while received := answer.readinto(buffer):
                if not count:
                    time.sleep(pause)
                count += received
                if self.checked:
                    value = zlib.crc32(memoryview(buffer)[:received], value)
        finally:
            connection.close()
        self._expect("bytes downloaded", count, size)
        if self.checked:
            self._expect("checksum of the download", value, checksum(size))

    def upload(self, size: int, *, pause: float = 0.0) -> None:
        """Send `size` bytes to an upstream that reads no body for `pause` seconds. Raises as `download` does."""
        connection = self._connect()
        target = f"{self.prefix}/sink?pause={pause}&checked={int(self.checked)}"
        try:
            connection.request("POST", target, body=pieces(size), headers={**self.headers, "Content-Length": str(size)})
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        self._expect("status of an upload", answer.status, 200)
        told = json.loads(body)
        self._expect("bytes uploaded", told["bytes"], size)
        if self.checked:
            self._expect("checksum of the upload", told["crc32"], checksum(size))

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)

    def _expect(self, what: str, found: int, wanted: int) -> None:
        if found != wanted:
            raise BenchmarkError(f"{self.name}: {what}: {found}, expected {wanted}")
