"""What client and service do in one round of the gateway's loop, in either order.

Whichever of them it is told of first, an answer that came whole is the client's, half a one is seen to be half, and
nothing is left of the request.
"""

import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.kit.client import Answer, Client
from tests.kit.configuration import route, service
from tests.kit.gateway import Gateway, running_gateway
from tests.kit.messages import answer, chunked, lines
from tests.kit.waiting import until

BODY = b"early" * 1_000
BEGINNING, MORE, MUCH_MORE = b"f" * 1_000, b"m" * 1_000, b"m" * 300_000
UNTIL_CLOSE = lines("HTTP/1.1 200 OK") + BODY
HALF = lines("HTTP/1.1 200 OK", "Content-Length: 9999") + BODY
CHUNKED = lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + chunked(BODY)
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with no time to linger

End = Callable[[socket.socket], None]


def nothing(client: Client) -> None:
    """The client waits for its answer."""


def sends(more: bytes) -> Callable[[Client], None]:
    return lambda client: client.send(more)


def stays(sock: socket.socket) -> None:
    """The service keeps the connection."""


def ends(sock: socket.socket) -> None:
    sock.shutdown(socket.SHUT_WR)


def resets(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    sock.close()


WHOLE: dict[str, tuple[bytes, End]] = {
    "an answer": (answer(200, body=BODY), stays),
    "an answer and the end": (answer(200, body=BODY), ends),
    "an answer and a reset": (answer(200, body=BODY), resets),
    "chunks and a reset": (CHUNKED, resets),
    "an answer of unknown length and the end": (UNTIL_CLOSE, ends),
    "hints and an answer": (lines("HTTP/1.1 103 Early Hints") + answer(200, body=BODY), stays),
    "an answer and more than that": (answer(200, body=BODY) + answer(200, body=b"poison"), stays),
}
BROKEN: dict[str, tuple[bytes, End]] = {
    "half an answer and the end": (HALF, ends),
    "half an answer and a reset": (HALF, resets),
    "half the chunks and the end": (CHUNKED[:-3], ends),
    "an answer of unknown length and a reset": (UNTIL_CLOSE, resets),
    "half a head and a reset": (HALF[:20], resets),
    "no answer and the end": (b"", ends),
    "hints and a reset": (lines("HTTP/1.1 103 Early Hints"), resets),
}


@dataclass(frozen=True, slots=True)
class Stage:
    gateway: Gateway
    listener: socket.socket

    def answers(self, said: tuple[bytes, End]) -> Iterator[tuple[str, Answer]]:
        """What clients of both versions get, whatever they do meanwhile, before or after the service says this."""
        for version in ("1.1", "1.0"):
            get, post = (lines(f"{line} HTTP/{version}", "Host: a.example") for line in ("GET /x", "POST /x"))
            post = post[:-2] + lines("Content-Length: 10000000") + BEGINNING
            for first in ("client", "service"):
                for does in (nothing, Client.half_close):
                    yield f"GET {version}, {first} first", self.answer(get, does, said, first)
                for more in (MORE, MUCH_MORE):
                    got = self.answer(post, sends(more), said, first)
                    yield f"POST {version}, {first} first, {len(more)} bytes more", got

    def answer(self, request: bytes, does: Callable[[Client], None], said: tuple[bytes, End], first: str) -> Answer:
        with self.gateway.connect() as client:
            client.send(request)
            sock, _ = self.listener.accept()
            with sock:
                came = b""
                while not came.endswith(request[-4:]):
                    came += sock.recv(65_536)
                with self.gateway.held():
                    if first == "client":
                        does(client)
                    if said[0]:
                        sock.sendall(said[0])
                    said[1](sock)
                    if first == "service":
                        does(client)
                return client.read_answer()

    def assert_at_rest(self) -> None:
        def left(gateway: Gateway) -> tuple[int, int, int]:
            return gateway.call(
                lambda served: (
                    served.listener.in_flight,
                    served.listener.connections,
                    served.listener.upstream_connections,
                )
            )

        until(lambda: left(self.gateway) == (0, 0, 0), "nothing is left")


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with running_gateway(services=[service(url)], routes=[route("/", retries=0)]) as gateway:
            yield Stage(gateway, listener)


@pytest.mark.parametrize("said", WHOLE.values(), ids=WHOLE)
def test_what_came_whole_arrives_whole(stage: Stage, said: tuple[bytes, End]) -> None:
    for how, got in stage.answers(said):
        assert (got.status, got.body, got.complete) == (200, BODY, True), how
    stage.assert_at_rest()


@pytest.mark.parametrize("said", BROKEN.values(), ids=BROKEN)
def test_what_is_broken_does_not_look_whole(stage: Stage, said: tuple[bytes, End]) -> None:
    for how, got in stage.answers(said):
        assert got.status == 502 or not got.complete, how
    stage.assert_at_rest()
