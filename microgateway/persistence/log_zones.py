"""What a search may pass over: a zone tells of a few hundred neighbouring rows of the request log what they hold.

An index for each thing that can be asked for would cost every row a dozen writes, most of them to random pages, and
would still not find a text within a path. A zone costs one row for 512. A search reads the zones, two thousand for a
million rows, and then only the rows of those that may hold what it looks for. A zone may say too much, never too
little. It keeps

    words         one line for each value: `m=GET`, `s=404`, `c=4`, `S=` and `R=` with id and name, flags
    fingerprints  four bytes for each request id and trace id
    keys          as words: `K=` with id and name; there may be many
    paths         each path once, in lower case

in this order, since SQLite reads as far into a row as it has to.

This module is for the writer too, a process that starts fast: standard library only.
"""

from binascii import crc32
from collections.abc import Iterator, Sequence
from typing import Any

ROWS_PER_ZONE = 512
COLUMNS = (
    "timestamp",
    "request_id",
    "trace_id",
    "client_ip",
    "path",
    "query",
    "method",
    "status",
    "service_id",
    "service",
    "route_id",
    "route",
    "key_id",
    "key",
    "rate_limited",
    "circuit_open",
    "latency_ms",
    "upstream_ms",
    "stage",
    "code",
    "retries",
    "attempts",
    "breaker",
    "upstream",
    "upstream_status",
    "bytes_in",
    "bytes_out",
    "limited_by",
    "shadowed",
    "simulated",
    "configuration_version",
)
ZONE_COLUMNS = (
    "first_id",
    "last_id",
    "row_count",
    "earliest",
    "latest",
    "slowest",
    "words",
    "fingerprints",
    "keys",
    "paths",
)
Row = tuple[Any, ...]  # the values of COLUMNS
ZoneRow = tuple[int, int, int, float, float, float, str, bytes, str, str]

_TIMESTAMP, _REQUEST_ID, _TRACE_ID, _PATH, _LATENCY = map(
    COLUMNS.index, ("timestamp", "request_id", "trace_id", "path", "latency_ms")
)
_KIND = slice(COLUMNS.index("method"), COLUMNS.index("circuit_open") + 1)  # what makes the words, side by side

_KEY_OF_KIND = slice(COLUMNS.index("key_id") - _KIND.start, COLUMNS.index("key") - _KIND.start + 1)
_KEY = "K"


class Zone:
    """A zone that still takes rows, whose ids begin with `first_id` and have no gaps."""

    def __init__(self, first_id: int) -> None:
        self.first_id = first_id
        self.row_count = 0
        self._kinds: set[Row] = set()
        self._paths: set[str] = set()
        self._fingerprints = bytearray()
        self._earliest, self._latest, self._slowest = float("inf"), float("-inf"), 0.0

    @property
    def next_id(self) -> int:
        return self.first_id + self.row_count

    @property
    def room(self) -> int:
        """How many more rows it takes."""
        return ROWS_PER_ZONE - self.row_count

    def add(self, rows: Sequence[Row]) -> None:
        """Its next rows."""
        self.row_count += len(rows)
        times = [row[_TIMESTAMP] for row in rows]
        self._earliest = min(self._earliest, *times)
        self._latest = max(self._latest, *times)
        self._slowest = max(self._slowest, *(row[_LATENCY] for row in rows))
        self._kinds.update(row[_KIND] for row in rows)
        self._paths.update(row[_PATH].lower() for row in rows)
        for row in rows:
            request_id, trace_id = row[_REQUEST_ID], row[_TRACE_ID]
            self._fingerprints += fingerprint(request_id)
            if trace_id != request_id:
                self._fingerprints += fingerprint(trace_id)

    def row(self) -> ZoneRow:
        """The values of ZONE_COLUMNS."""
        words = {line for kind in self._kinds for line in _words(kind)}
        keys = {word(_KEY, name) for kind in self._kinds for name in kind[_KEY_OF_KIND] if name is not None}
        return (
            self.first_id,
            self.next_id - 1,
            self.row_count,
            self._earliest,
            self._latest,
            self._slowest,
            "".join(sorted(words)) + "\n",
            bytes(self._fingerprints),
            "".join(sorted(keys)) + "\n",
            "\n".join(sorted(self._paths)),
        )


def fingerprint(text: str) -> bytes:
    """Four bytes that stand for an id; others may have the same, and then a zone is read in vain."""
    return crc32(text.encode()).to_bytes(4, "big")


def word(kind: str, value: object) -> str:
    """One line of a zone's words, with the line end before it. Look for it with the line end behind it, too."""
    return f"\n{kind}={str(value).replace(chr(10), ' ')}"


def _words(kind: Row) -> Iterator[str]:
    method, status, service_id, service, route_id, route, _, _, rate_limited, circuit_open = kind
    yield word("m", method)
    yield word("s", status)
    yield word("c", status // 100)
    for letter, values in (("S", (service_id, service)), ("R", (route_id, route))):
        for value in values:
            if value is not None:
                yield word(letter, value)
    yield word("l", int(rate_limited))
    yield word("o", int(circuit_open))
