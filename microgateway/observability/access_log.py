"""The access log: every request as one line of JSON, to standard output or to a file that the operator rotates.

The fields are those of the request log, without what is empty. Runs in the writer, so whoever reads standard output
slowly holds up no request.
"""

import json
import os
import select
import stat
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from select import PIPE_BUF

from microgateway.observability.log_rows import as_mapping
from microgateway.persistence.log_zones import Row

STDOUT = "stdout"
MODE = 0o640
PATIENCE = 1_000  # milliseconds for a pipe's reader
_JSON_FIELDS = ("attempts", "shadowed")


class AccessLog:
    """`target` is STDOUT or a path. `complain` is told what goes wrong; the lines are then lost, and `dropped` counts.

    A pipe whose reader stands still is waited for once, for a moment; then lines are dropped until it takes more.
    """

    def __init__(self, target: str, complain: Callable[[str], None]) -> None:
        self._target = target
        self._complain = complain
        self._descriptor = -1
        self._may_block = True
        self._patience = PATIENCE
        self._unfinished = b""  # the end of a line whose beginning was taken
        self.dropped = 0
        self.reopen()

    def __call__(self, rows: Iterable[Row]) -> None:
        lines = [line(row) for row in rows]
        try:
            self._write(self._unfinished + "".join(lines).encode())
        except OSError as error:
            self._unfinished = b""
            self.dropped += len(lines)
            self._complain(f"the access log can't be written: {error.strerror}")

    def reopen(self) -> None:
        """Opens the file anew: an operator has moved the old one away. Standard output stays as it is."""
        if self._target == STDOUT:
            self._descriptor = 1
        else:
            try:
                descriptor = os.open(self._target, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)
            except OSError as error:
                self._complain(f"the access log {self._target!r} can't be opened: {error.strerror}")
                return
            self.close()
            self._descriptor = descriptor
        self._may_block = not stat.S_ISREG(os.fstat(self._descriptor).st_mode)

    def close(self) -> None:
        if self._descriptor > 1:
            os.close(self._descriptor)
        self._descriptor = -1

    def _write(self, data: bytes) -> None:
        size = PIPE_BUF if self._may_block else len(data)
        taken = 0
        while taken < len(data):
            if self._may_block and not self._takes_more():
                self._drop(
                    data[taken:], is_in_line=data[taken - 1 : taken] != b"\n" if taken else bool(self._unfinished)
                )
                return
            taken += os.write(self._descriptor, data[taken : taken + size])
        self._unfinished = b""
        self._patience = PATIENCE

    def _drop(self, data: bytes, *, is_in_line: bool) -> None:
        """Drops these lines, but for the end of one that has been begun."""
        self._unfinished = b""
        if is_in_line:
            end, newline, data = data.partition(b"\n")
            self._unfinished = end + newline
        self.dropped += data.count(b"\n")

    def _takes_more(self) -> bool:
        """Whether a write of PIPE_BUF bytes would be taken at once (POSIX, poll and pipe)."""
        watched = select.poll()
        watched.register(self._descriptor, select.POLLOUT)
        if watched.poll(self._patience):
            return True
        self._patience = 0
        return False


def line(row: Row) -> str:
    """With its line end. Control characters and whatever is not ASCII are escaped, so one request is one line."""
    fields = {name: value for name, value in as_mapping(row).items() if value not in (None, "")}
    fields["timestamp"] = f"{datetime.fromtimestamp(fields['timestamp'], UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
    for name in _JSON_FIELDS:
        if name in fields:
            fields[name] = json.loads(fields[name])
    return json.dumps(fields, separators=(",", ":")) + "\n"
