"""The Date field, which says when a message was made (RFC 9110, 6.6.1)."""

from email.utils import formatdate


class DateLine:
    """The line of the present second. It is written once, for all messages of that second."""

    __slots__ = ("_line", "_second")

    def __init__(self) -> None:
        self._second = -1
        self._line = b""

    def at(self, wall: float) -> bytes:
        """The line at `wall` seconds since the epoch, with its line end."""
        second = int(wall)
        if second != self._second:
            self._second = second
            self._line = b"Date: %b\r\n" % formatdate(second, usegmt=True).encode("ascii")
        return self._line
