"""An upstream that can be stopped, and be back at the same address."""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

NOTICE = 0.01  # seconds until the server's loop sees that it is to end


class StoppableUpstream:
    """Answers every GET with its path. Stopped, it refuses connections, and those it had are closed."""

    def __init__(self) -> None:
        self._reservation = socket.socket()  # bound and never listening: nobody else gets the port meanwhile
        self._reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reservation.bind(("127.0.0.1", 0))
        self._port: int = self._reservation.getsockname()[1]
        self._server: _Server | None = None
        self._thread = threading.Thread()
        self.asked = 0  # requests, over all its lives

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        self._server = _Server(("127.0.0.1", self._port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(NOTICE,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if self._server is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._server.hang_up()
        self._server.server_close()  # waits for the connections' threads
        self._server = None

    def close(self) -> None:
        self.stop()
        self._reservation.close()


class _Server(socketserver.ThreadingMixIn, HTTPServer):
    def __init__(self, address: tuple[str, int], upstream: StoppableUpstream) -> None:
        self.upstream = upstream
        self._connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def hang_up(self) -> None:
        for connection in self._connections:
            with contextlib.suppress(OSError):  # the gateway was faster
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave together
    server: _Server

    def do_GET(self) -> None:
        self.server.upstream.asked += 1
        body = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Tests read the answers."""


@contextlib.contextmanager
def stoppable_upstream() -> Iterator[StoppableUpstream]:
    upstream = StoppableUpstream()
    upstream.start()
    try:
        yield upstream
    finally:
        upstream.close()
