"""Clients that keep asking on connections of their own while a test does something to the gateway."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from tests.kit.client import Client
from tests.process.gateway import Gateway, request

PAUSE = 0.002  # seconds between an answer and the next request


class Traffic:
    """What the clients were answered: by status, and how often there was no whole answer."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.failures: list[str] = []
        self._lock = threading.Lock()

    @property
    def answers(self) -> int:
        with self._lock:
            return self.statuses.total()

    def note(self, status: int) -> None:
        with self._lock:
            self.statuses[status] += 1

    def fail(self, error: Exception) -> None:
        with self._lock:
            self.failures.append(repr(error))


@contextmanager
def traffic(gateway: Gateway, path: str, *, clients: int = 4) -> Iterator[Traffic]:
    """Each client sends a request soon after the answer to the last, on a new connection where that was closed."""
    seen, over = Traffic(), threading.Event()
    threads = [
        threading.Thread(target=_ask, args=(gateway, request(path), seen, over), daemon=True) for _ in range(clients)
    ]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _ask(gateway: Gateway, asked: bytes, seen: Traffic, over: threading.Event) -> None:
    client: Client | None = None
    try:
        while not over.wait(PAUSE):
            try:
                if client is not None and client.stream.is_ended_by_peer():  # as every pool looks before it sends
                    _close(client)
                    client = None
                client = client or gateway.connect()
                answer = client.ask(asked)
                assert answer.complete, answer
            except (OSError, AssertionError) as error:
                seen.fail(error)
                _close(client)
                client = None
                continue
            seen.note(answer.status)
            if answer.one(b"connection") == b"close":
                _close(client)
                client = None
    finally:
        _close(client)


def _close(client: Client | None) -> None:
    if client is not None:
        client.__exit__(None, None, None)
