"""The heads of one client connection: how large they may be, and what of the last one need not be read again."""

from collections.abc import Iterable

from microgateway.core.field_sections import TRACEPARENT, FieldSection, is_sane_id, read_section
from microgateway.core.fields import Field, FieldTable, HeadError
from microgateway.core.requests import RequestHead, check_request_line, read_request
from microgateway.data_plane.options import Options

PASSED_OVER = 8  # sections after one that differed in more than its ids

Place = tuple[int, int, bytes]
"""Of a field's value in a text: its start, its end, and the field's name in lower case."""


class HeadReader:
    """Reads a connection's heads within their limits. Remembers its last header section, and lines with credentials."""

    __slots__ = ("_id_places", "_last_section", "_last_text", "_options", "_passed_over", "_private", "_table")

    def __init__(self, options: Options, table: FieldTable) -> None:
        self._options = options
        self._table = table
        self._private: dict[bytes, Field] = {}
        self._last_text: bytes | None = None
        self._last_section: FieldSection | None = None
        self._id_places: list[Place] | None = None  # in the last text; None: they have not been looked for
        self._passed_over = 0  # sections to come whose ids are not looked for

    def read(self, data: bytes, end: int) -> RequestHead:
        """The head that ends at `end`, its empty line left out. Raises `HeadError` with the status to answer.

        Fields that are the same as in the connection's last request, or the same but for its ids, are not read again.
        """
        line_end = data.find(b"\r\n")
        if line_end > self._options.max_request_line:
            raise _line_too_long(self._options.max_request_line)
        line, text, section = data[:line_end], data[line_end:end], self._last_section
        if section is None:
            return read_request(line, self._read_section(text))
        if text == self._last_text:
            return read_request(line, section)
        ids = self._other_ids(text, section)
        if ids is None:
            return read_request(line, self._read_section(text))
        head = read_request(line, section)
        for name, value in ids:
            if name == TRACEPARENT:
                head.traceparent = value
            else:
                head.request_id = value
        return head

    @property
    def remembers(self) -> bool:
        """Whether there is anything to forget."""
        return self._last_section is not None

    def forget(self) -> None:
        """What is remembered of the last request."""
        self._last_text = self._last_section = self._id_places = None
        self._private.clear()

    def _other_ids(self, text: bytes, section: FieldSection) -> list[tuple[bytes, bytes]] | None:
        """The ids in fields that are the last ones but for them, by name; None where more differs, or their lengths.

        That costs 2 µs in vain where it is something else that differs, and then it is likely to next time.
        """
        last = self._last_text
        if last is None or len(text) != len(last) or not section.ids:
            return None
        if self._passed_over:
            self._passed_over -= 1
            return None
        self._passed_over = PASSED_OVER
        if self._id_places is None:
            self._id_places = _id_places(last, section.ids)
        found, position = [], 0
        for start, end, name in self._id_places:
            value = text[start:end]
            if text[position:start] != last[position:start] or not is_sane_id(name, value):
                return None
            found.append((name, value))
            position = end
        if text[position:] != last[position:]:
            return None
        self._passed_over = 0
        return found

    def check_beginning(self, data: bytes) -> None:
        """Part of a head. Raises `HeadError` where it can't become one that is read."""
        options = self._options
        line_end = data.find(b"\r\n", 2)
        if (line_end if line_end >= 0 else len(data) - len(b"\r")) > options.max_request_line:
            raise _line_too_long(options.max_request_line)
        if line_end >= 0 and len(data) - line_end > options.max_header_bytes + len(b"\r\n\r"):
            raise _head_too_large(options.max_header_bytes)
        ends = data.count(b"\r\n")
        if (
            data.count(b"\n") != ends
            or data.count(b"\r") - data.endswith(b"\r") != ends
            or data[0] < 0x0A
            or 0x0E <= data[0] <= 0x20
            or data[0] >= 0x7F
        ):
            raise HeadError("This is not HTTP/1.1: a line ends in something else than CR LF.")
        if line_end >= 0:
            check_request_line(data[:line_end])

    def _read_section(self, text: bytes) -> FieldSection:
        before = self._last_section
        self._last_text = self._last_section = self._id_places = None  # what follows may raise
        options = self._options
        if len(text) > options.max_header_bytes:
            raise _head_too_large(options.max_header_bytes)
        lines = text.split(b"\r\n")
        del lines[0]  # the request line's end
        if len(lines) > options.max_header_fields:
            detail = f"There are more than {options.max_header_fields} header fields."
            raise HeadError(detail, code="header_fields_too_many", status=431)
        self._last_section = section = read_section(lines, self._table, self._private)
        self._last_text = text
        if before is not None:
            _take_over(section, before)
        return section


def _take_over(section: FieldSection, before: FieldSection) -> None:
    """Has a section know what judgement found out with the one before, if both say the same of the client."""
    if (
        section.api_key == before.api_key
        and section.api_key_lines == before.api_key_lines
        and section.authorization is before.authorization is None
        and section.forwarding is before.forwarding is None
    ):
        section.recognised, section.recognised_by = before.recognised, before.recognised_by
        section.was_judged = before.was_judged
        if before.standing is not None and not before.standing.asks_for_fields:
            section.standing = before.standing


def _id_places(text: bytes, ids: Iterable[Field]) -> list[Place]:
    """Where the values of these fields stand, of those whose lines came in their normal form."""
    places = []
    for field in ids:
        line = b"\r\n" + field.line
        end = text.find(line) + len(line)
        if end >= len(line) and text[end : end + 2] in (b"\r\n", b""):
            places.append((end - len(field.value), end, field.name))
    return places


def _line_too_long(limit: int) -> HeadError:
    return HeadError(f"The request line is longer than {limit} bytes.", code="request_line_too_long", status=414)


def _head_too_large(limit: int) -> HeadError:
    return HeadError(f"The header section is longer than {limit} bytes.", code="header_section_too_large", status=431)
