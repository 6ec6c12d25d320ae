"""What the gateway's process takes: of large bodies only so much, and of a crowd nothing once it has gone."""

import http.client
import threading
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from microgateway.data_plane.heap_trim import CROWD
from tests.kit.certificates import Authority
from tests.kit.messages import answer, lines
from tests.kit.steps import Send, WaitFor
from tests.kit.tls import TlsClient
from tests.kit.upstream import Conversation, Upstream, running_upstream
from tests.kit.waiting import until, until_steady
from tests.process.gateway import Gateway, running_gateway

MEBIBYTE = 1 << 20
BLOCK = bytes(range(256)) * 1_024 + b"an odd length, so that a lost block shows"
BLOCKS = 64 * MEBIBYTE // len(BLOCK) + 1
SIZE = BLOCKS * len(BLOCK)
CHECKSUM = zlib.crc32(BLOCK * BLOCKS)
SOCKETS = SIZE // 2  # what the kernel's buffers on the way may hold; far less as a rule, and never all of it
ALLOWED_GROWTH = 8 * MEBIBYTE


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    with running_gateway(tmp_path_factory.mktemp("memory") / "data") as gateway:
        gateway.operator.create_public_route("/", upstream.url)
        gateway.operator.all("keys")  # all of the control plane that the test needs has been used once
        yield gateway


def peak(gateway: Gateway) -> int:
    """The most memory that the gateway's process has had so far, in bytes."""
    return memory(gateway, "VmHWM")


def resident(gateway: Gateway) -> int:
    """The memory that it has now, in bytes."""
    return memory(gateway, "VmRSS")


def memory(gateway: Gateway, name: str) -> int:
    status = Path(f"/proc/{gateway.command.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1_024


def connect(gateway: Gateway) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", gateway.proxy_port, timeout=30)


@dataclass(slots=True)
class Counted:
    """Blocks that are sent, one after the other, and how many bytes of them have gone so far."""

    sent: int = 0

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(BLOCKS):
            yield BLOCK
            self.sent += len(BLOCK)

    def run(self, talk: Conversation) -> None:
        """As a step: the body of an answer."""
        for block in self:
            talk.stream.send(block)


@dataclass(slots=True)
class Swallow:
    """A step that reads the body of a request, and notes its length and checksum."""

    length: int = 0
    checksum: int = 0

    def run(self, talk: Conversation) -> None:
        while self.length < SIZE:
            piece = talk.stream.read_some()
            self.length += len(piece)
            self.checksum = zlib.crc32(piece, self.checksum)


def test_a_download_for_a_client_that_does_not_read(gateway: Gateway, upstream: Upstream) -> None:
    body = Counted()
    upstream.script(Send(lines("HTTP/1.1 200 OK", f"Content-Length: {SIZE}")), body)
    client = connect(gateway)
    before = peak(gateway)
    client.request("GET", "/down")
    stalled = until_steady(lambda: body.sent)
    assert stalled < SOCKETS, "the gateway has taken what nobody reads"

    received = client.getresponse()
    assert received.status == 200
    length, checksum = 0, 0
    while piece := received.read(MEBIBYTE):
        length, checksum = length + len(piece), zlib.crc32(piece, checksum)
    client.close()
    assert (length, checksum) == (SIZE, CHECKSUM)
    assert peak(gateway) - before < ALLOWED_GROWTH


def test_an_upload_to_a_service_that_does_not_read(gateway: Gateway, upstream: Upstream) -> None:
    body, swallow, read_on = Counted(), Swallow(), threading.Event()
    upstream.script(WaitFor(read_on), swallow, Send(answer(200, body=b"thanks")))
    client = connect(gateway)
    before = peak(gateway)
    uploading = threading.Thread(
        target=client.request, args=("POST", "/up", body), kwargs={"headers": {"Content-Length": str(SIZE)}}
    )
    uploading.start()
    stalled = until_steady(lambda: body.sent)
    assert stalled < SOCKETS, "the gateway has taken what nobody reads"

    read_on.set()
    uploading.join()
    thanks = client.getresponse()
    assert (thanks.status, thanks.read()) == (200, b"thanks")
    client.close()
    assert (swallow.length, swallow.checksum) == (SIZE, CHECKSUM)
    assert peak(gateway) - before < ALLOWED_GROWTH


def test_a_crowd_that_has_gone(tmp_path: Path) -> None:
    """With TLS, where each of them has some 25 kB."""
    authority = Authority(tmp_path)
    issued = authority.issue("localhost")
    secured = running_gateway(
        tmp_path / "data",
        MICROGATEWAY_TLS_CERT=str(issued.certificate),
        MICROGATEWAY_TLS_KEY=str(issued.key),
    )
    with secured as gateway, ExitStack() as crowd:
        context = authority.client_context()
        with TlsClient(gateway.proxy_port, context):
            before = resident(gateway)
        for _ in range(2 * CROWD):  # some of them may come and go between two looks
            crowd.enter_context(TlsClient(gateway.proxy_port, context))
        took = resident(gateway) - before
        assert took > 2 * CROWD * 15_000, f"{took} bytes: not enough to see them go"
        crowd.close()
        until(lambda: resident(gateway) - before < took / 2, "most of its memory is given back")
