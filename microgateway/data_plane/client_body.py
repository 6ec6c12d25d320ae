"""One request's body as it comes from the client: read by its framing, counted, and held to its limit."""

from microgateway.core.field_sections import CHUNKED
from microgateway.core.fields import HeadError
from microgateway.core.framing import BodyReader, ChunkedReader, FixedReader, Piece
from microgateway.data_plane.problems import BODY_TOO_LARGE, bad_head
from microgateway.exchange import Problem


class ClientBody:
    """`announced` is a length in bytes, or CHUNKED; `limit` is in bytes, 0: there is none.

    With a `problem` the request can't go on, and nothing more is to be fed.
    """

    __slots__ = ("_limit", "_reader", "_size", "problem")

    def __init__(self, announced: int, limit: int) -> None:
        self._reader: BodyReader = ChunkedReader() if announced == CHUNKED else FixedReader(announced)
        self._limit = limit
        self._size = 0
        self.problem: Problem | None = BODY_TOO_LARGE if limit and announced > limit else None

    @property
    def done(self) -> bool:
        """Whether it has come whole."""
        return self._reader.done

    def feed(self, data: Piece) -> tuple[list[Piece], int]:
        """What of this is body, and how many bytes were read: those behind them are the next request's."""
        try:
            pieces, consumed = self._reader.feed(data)
        except HeadError as error:
            self.problem = bad_head(error)
            return [], len(data)
        self._size += sum(map(len, pieces))
        if self._limit and self._size > self._limit:
            self.problem = BODY_TOO_LARGE
        return pieces, consumed
