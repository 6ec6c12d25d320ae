"""No body of the control API is larger than any configuration needs to be.

FastAPI's own `max_body_size` answers in plain text, past the handlers that make every error a problem.
"""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from microgateway.control_plane.problems import BodyTooLargeError, problem_of

LARGEST_BODY = 16 * 1024 * 1024  # bytes


class BodyLimit:
    """Reads the body, which JSON needs whole in any case, and hands it on; 413 as soon as it is too large.

    `open_to_all` are paths below which anybody may send something, up to `largest_from_all` bytes.
    """

    def __init__(self, app: ASGIApp, *, largest: int, open_to_all: tuple[str, ...], largest_from_all: int) -> None:
        self._app = app
        self._largest = largest
        self._open_to_all = open_to_all
        self._largest_from_all = largest_from_all

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            first = await self._read(scope, receive)
        except BodyTooLargeError as error:
            await problem_of(error)(scope, receive, send)
        else:
            await self._app(scope, _beginning_with(first, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> Message:
        """The whole body as one message, or the message that the client has gone."""
        path: str = scope["path"]
        is_open = path.removeprefix(scope.get("root_path", "")).startswith(self._open_to_all)
        largest = min(self._largest, self._largest_from_all) if is_open else self._largest
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length) > largest:
            raise _too_large(largest)
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return message
            body += message.get("body", b"")
            if len(body) > largest:
                raise _too_large(largest)
            if not message.get("more_body", False):
                return {"type": "http.request", "body": bytes(body), "more_body": False}


def _too_large(largest: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"A body here has at most {largest} bytes.")


def _beginning_with(first: Message, receive: Receive) -> Receive:
    waiting = [first]

    async def receive_next() -> Message:
        return waiting.pop() if waiting else await receive()

    return receive_next
