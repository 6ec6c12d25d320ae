"""A service that answers before it has got the whole request, and hangs up: the answer is the client's all the same.

To its kernel the service leaves bytes unread, so the gateway is told of a reset, perhaps by its own next write; what
came before the reset can still be read. The gateway is stopped here while all that happens, so that it writes first.
"""

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.kit.client import Answer
from tests.kit.messages import answer, chunked, lines
from tests.kit.steps import Call, Close, ReadExactly, Reset, Send, Step, WaitFor
from tests.kit.upstream import Conversation, Upstream, running_upstream
from tests.process.gateway import Gateway, assert_problem, running_gateway

FIRST, MORE = b"f" * 1_000, b"m" * 100_000
PATIENCE = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Told:
    """A step, and that it is done."""

    step: Step
    done: threading.Event

    def run(self, talk: Conversation) -> None:
        try:
            self.step.run(talk)
        finally:
            self.done.set()


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    with running_gateway(tmp_path_factory.mktemp("early") / "data") as gateway:
        gateway.operator.create_public_route("/", upstream.url)
        yield gateway


def post_to_one_that_hangs_up(
    gateway: Gateway, upstream: Upstream, said: bytes, end: Step, more: bytes = MORE
) -> Answer:
    """The answer to a request whose service says this in the middle of its body, and then is no longer there."""
    begun, goes_on, done = threading.Event(), threading.Event(), threading.Event()
    upstream.forget()
    upstream.script(ReadExactly(len(FIRST)), Call(begun.set), WaitFor(goes_on), Send(said), Told(end, done))
    with gateway.connect() as client:
        client.send(lines("POST /x HTTP/1.1", "Host: a.example", "Content-Length: 10000000"), FIRST)
        assert begun.wait(PATIENCE)
        os.kill(gateway.command.pid, signal.SIGSTOP)
        try:
            client.send(more)
            goes_on.set()
            assert done.wait(PATIENCE)
        finally:
            os.kill(gateway.command.pid, signal.SIGCONT)
        return client.read_answer()


RESET_OR_CLOSED = pytest.mark.parametrize("end", [Reset(), Close()], ids=["reset", "closed"])


@RESET_OR_CLOSED
def test_a_whole_answer(gateway: Gateway, upstream: Upstream, end: Step) -> None:
    refusal = answer(413, "Connection: close", body=b"early" * 10_000)
    got = post_to_one_that_hangs_up(gateway, upstream, refusal, end)
    assert (got.status, got.body) == (413, b"early" * 10_000)


@RESET_OR_CLOSED
def test_one_in_chunks(gateway: Gateway, upstream: Upstream, end: Step) -> None:
    head = lines("HTTP/1.1 413 Too Large", "Transfer-Encoding: chunked")
    got = post_to_one_that_hangs_up(gateway, upstream, head + chunked(b"one", b"two"), end)
    assert (got.status, got.body) == (413, b"onetwo")


@RESET_OR_CLOSED
def test_half_an_answer_stays_half(gateway: Gateway, upstream: Upstream, end: Step) -> None:
    head = lines("HTTP/1.1 413 Too Large", "Content-Length: 1000")
    got = post_to_one_that_hangs_up(gateway, upstream, head + b"half", end)
    assert (got.status, got.body, got.complete) == (413, b"half", False)


# What the gateway writes at once, and what it writes in two parts, of which the second one fails
ONE_WRITE_OR_MORE = pytest.mark.parametrize("more", [MORE, MORE * 3], ids=["one write", "more writes"])


@ONE_WRITE_OR_MORE
def test_an_answer_of_unknown_length_is_whole_after_an_orderly_end(
    gateway: Gateway, upstream: Upstream, more: bytes
) -> None:
    got = post_to_one_that_hangs_up(gateway, upstream, lines("HTTP/1.1 413 Too Large") + b"all of it", Close(), more)
    assert (got.status, got.body, got.complete) == (413, b"all of it", True)


@ONE_WRITE_OR_MORE
def test_and_half_after_a_reset(gateway: Gateway, upstream: Upstream, more: bytes) -> None:
    got = post_to_one_that_hangs_up(gateway, upstream, lines("HTTP/1.1 413 Too Large") + b"who knows", Reset(), more)
    assert (got.status, got.complete) == (413, False)


@RESET_OR_CLOSED
def test_no_answer(gateway: Gateway, upstream: Upstream, end: Step) -> None:
    got = post_to_one_that_hangs_up(gateway, upstream, b"", end)
    assert_problem(got, 502, "upstream_connection_lost", "proxy")


def test_what_is_no_answer(gateway: Gateway, upstream: Upstream) -> None:
    got = post_to_one_that_hangs_up(gateway, upstream, b"SMTP/1.1 200 OK\r\n\r\n", Reset())
    assert_problem(got, 502, "upstream_malformed", "proxy")
