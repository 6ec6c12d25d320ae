"""TLS on the proxy port: handshakes, certificates by name, and certificates that change while the gateway runs."""

import contextlib
import hashlib
import logging
import os
import signal
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from microgateway.errors import StartupError
from microgateway.settings import Settings, read_settings
from tests.kit.certificates import Authority, Issued
from tests.kit.client import Client
from tests.kit.configuration import settings
from tests.kit.fixtures import Pair, running_pair
from tests.kit.gateway import running_gateway
from tests.kit.messages import answer, lines
from tests.kit.steps import Call, Close, ReadBody, ReadExactly, ReadToEnd, Reset, Send, WaitFor
from tests.kit.tls import TlsClient, unverified
from tests.kit.waiting import PATIENCE, until
from tests.process.command import RUN, environment, running_command

GET = lines("GET /x HTTP/1.1", "Host: a.example")
UPGRADE = lines(
    "GET /x HTTP/1.1",
    "Host: a.example",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
)
SWITCHED = lines(
    "HTTP/1.1 101 Switching Protocols",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
)
LARGE = 1 << 26
PIECE = bytes(range(256)) * 1024


@dataclass(frozen=True, slots=True)
class Secured:
    """A gateway that speaks TLS, before an upstream, and who has signed its certificate."""

    pair: Pair
    authority: Authority
    issued: Issued

    @property
    def port(self) -> int:
        return self.pair.gateway.port

    @property
    def connections(self) -> tuple[int, int]:
        """How many are open, to clients and to upstreams."""
        return self.pair.gateway.call(
            lambda served: (served.listener.connections, served.listener.upstream_connections)
        )

    def connect(self, name: str | None = "localhost", **options: float) -> TlsClient:
        return TlsClient(self.port, self.authority.client_context(), name=name, **options)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@contextlib.contextmanager
def securely(authority: Authority, *names: str, **overrides: Any) -> Iterator[Secured]:
    issued = authority.issue(*(names or ("localhost",)))
    with running_pair(tls_cert=(issued.certificate,), tls_key=(issued.key,), **overrides) as pair:
        yield Secured(pair, authority, issued)


@pytest.fixture
def secured(authority: Authority) -> Iterator[Secured]:
    with securely(authority) as secured:
        yield secured


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


class TestHandshake:
    def test_a_request_passes_and_its_upstream_is_told_that_it_came_over_tls(self, secured: Secured) -> None:
        context = secured.authority.client_context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        with TlsClient(secured.port, context) as client:
            assert client.ask(GET).body == b"GET /x"
            assert (client.socket.version(), client.socket.selected_alpn_protocol()) == ("TLSv1.3", "http/1.1")
        assert secured.pair.upstream.requests[0].one(b"x-forwarded-proto") == b"https"

    def test_tls_1_2_is_spoken_with_forward_secrecy(self, secured: Secured) -> None:
        with TlsClient(secured.port, unverified(ssl.TLSVersion.TLSv1_2)) as client:
            assert client.ask(GET).status == 200
            cipher = client.socket.cipher()
            assert cipher is not None
            assert cipher[0].startswith("ECDHE-")
            assert "GCM" in cipher[0] or "CHACHA20" in cipher[0]

    def test_tls_1_1_is_refused(self, secured: Secured) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context = unverified(ssl.TLSVersion.TLSv1_1)
        context.set_ciphers("ALL:@SECLEVEL=0")  # or OpenSSL would not even try
        with pytest.raises((ssl.SSLError, ConnectionError)):
            TlsClient(secured.port, context)

    @pytest.mark.parametrize("ciphers", ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA"])
    def test_a_cipher_without_forward_secrecy_or_authentication_is_refused(
        self, secured: Secured, ciphers: str
    ) -> None:
        context = unverified(ssl.TLSVersion.TLSv1_2)
        context.set_ciphers(ciphers)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            TlsClient(secured.port, context)

    @pytest.mark.parametrize("sent", [GET, b"\0" * 64, b"\x16\x03\x01\xff\xff" + b"x" * 100])
    def test_what_is_no_tls_gets_nothing_forwarded(self, secured: Secured, sent: bytes) -> None:
        with Client(secured.port) as client:
            client.send(sent)
            assert b"HTTP" not in client.stream.read_to_end()
        with secured.connect() as client:
            assert client.ask(GET).status == 200
        assert len(secured.pair.upstream.requests) == 1

    def test_a_handshake_that_goes_no_further_is_cut_off(self, authority: Authority) -> None:
        with securely(authority, client_header_timeout=0.5) as secured, Client(secured.port) as client:
            begun = time.monotonic()
            client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc")  # a record's head, and a piece of a client's hello
            client.stream.read_to_end()
            assert client.stream.ended
            assert time.monotonic() - begun >= 0.4

    def test_a_stream_of_handshakes_that_break_off_leaves_nothing_behind(self, secured: Secured) -> None:
        before = open_files()
        for _ in range(50):
            with Client(secured.port) as client:
                client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc")
                client.reset()
        until(lambda: open_files() <= before, "as many open files as before")
        assert secured.connections == (0, 0)


@pytest.fixture(scope="module")
def port_and_serials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, dict[str, int]]]:
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    issued = {
        "default": authority.issue("default.example"),
        "shop": authority.issue("shop.example", "www.shop.example"),
        "any": authority.issue("*.example.org", "*.shop.example"),
        "nameless": authority.issue(),
    }
    with running_pair(tls_cert=tuple(each.joined() for each in issued.values())) as pair:
        yield pair.gateway.port, {name: each.serial for name, each in issued.items()}


class TestCertificateByName:
    @pytest.mark.parametrize(
        ("asked_for", "shown"),
        [
            ("default.example", "default"),
            ("shop.example", "shop"),
            ("SHOP.Example", "shop"),
            ("www.shop.example", "shop"),  # the exact name before the wildcard
            ("m.shop.example", "any"),
            ("a.example.org", "any"),
            ("a.b.example.org", "default"),  # a wildcard is for one label (RFC 6125, 6.4.3)
            ("example.org", "default"),
            ("unknown.example", "default"),
            (None, "default"),
        ],
    )
    def test_a_client_is_shown_the_certificate_of_the_name_that_it_asks_for(
        self, port_and_serials: tuple[int, dict[str, int]], asked_for: str | None, shown: str
    ) -> None:
        port, serials = port_and_serials
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with TlsClient(port, unverified(version), name=asked_for) as client:
                assert client.serial == serials[shown]
                assert client.ask(GET).status == 200


class TestNewFiles:
    @pytest.fixture(autouse=True)
    def looked_at_often(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("microgateway.data_plane.listener.CHECK_INTERVAL", 0.1)

    def test_they_are_noticed_and_open_connections_go_on(self, secured: Secured) -> None:
        renewed = secured.authority.issue("localhost")
        with secured.connect() as open_before:
            assert open_before.ask(GET).status == 200
            secured.issued.replace_with(renewed)
            until(lambda: self.shown(secured) == renewed.serial, "the new certificate is shown")
            assert self.shown(secured, name=None) == renewed.serial, "to those who ask for nobody, too"
            assert open_before.ask(GET).status == 200
            assert open_before.serial == secured.issued.serial

    def test_broken_ones_change_nothing_and_are_told_once(
        self, secured: Secured, caplog: pytest.LogCaptureFixture
    ) -> None:
        secured.issued.certificate.write_bytes(b"-----BEGIN CERTIFICATE-----\nbroken")
        with caplog.at_level(logging.ERROR, "microgateway.data_plane"):
            until(lambda: bool(caplog.messages), "the log says so")
            for _ in range(3):
                secured.pair.gateway.served.listener._renew_files(only_if_changed=True)  # noqa: SLF001  blocks by design
            assert self.shown(secured) == secured.issued.serial
            (message,) = caplog.messages
        assert str(secured.issued.certificate) in message
        assert "\n" not in message
        renewed = secured.authority.issue("localhost")
        secured.issued.replace_with(renewed)
        until(lambda: self.shown(secured) == renewed.serial, "the mended certificate is shown")

    def test_a_request_in_flight_gets_its_answer(self, secured: Secured) -> None:
        go_on = threading.Event()
        secured.pair.upstream.script(WaitFor(go_on), Send(answer(200, body=b"late")))
        with secured.connect() as client:
            client.send(GET)
            secured.pair.upstream.wait_for_requests(1)
            renewed = secured.authority.issue("localhost")
            secured.issued.replace_with(renewed)
            secured.pair.gateway.call(lambda served: served.listener.renew_files())
            until(lambda: self.shown(secured) == renewed.serial, "the new certificate is shown")
            go_on.set()
            assert client.read_answer().body == b"late"

    def test_hangup_has_the_command_read_them(self, authority: Authority, tmp_path: Path) -> None:
        issued, renewed = authority.issue("localhost"), authority.issue("localhost")
        variables = {"MICROGATEWAY_TLS_CERT": str(issued.certificate), "MICROGATEWAY_TLS_KEY": str(issued.key)}
        with running_command(RUN, environment(tmp_path / "data", **variables)) as run:
            port = int(run.stderr.wait_for(r"Proxy port: +https://127\.0\.0\.1:(\d+)")[1])
            run.stderr.wait_for("Control port: .*")
            with TlsClient(port, authority.client_context()) as open_before:
                assert open_before.ask(GET).status == 401
                before = issued.certificate.stat()
                issued.replace_with(renewed)
                # As old as it was, so that the change is seen by nobody who is not told to look
                for file in (issued.certificate, issued.key):
                    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
                os.kill(run.pid, signal.SIGHUP)

                def shown() -> int:
                    with TlsClient(port, authority.client_context()) as client:
                        return client.serial

                until(lambda: shown() == renewed.serial, "the new certificate is shown")
                assert open_before.ask(GET).status == 401

    def shown(self, secured: Secured, name: str | None = "localhost") -> int:
        with TlsClient(secured.port, unverified(), name=name) as client:
            return client.serial


class TestStart:
    @pytest.mark.parametrize(
        ("fault", "variable", "reason"),
        [
            ("no certificate", "MICROGATEWAY_TLS_CERT", "No such file"),
            ("broken certificate", "MICROGATEWAY_TLS_CERT", "no certificate in PEM form"),
            ("no key", "MICROGATEWAY_TLS_KEY", "No such file"),
            ("broken key", "MICROGATEWAY_TLS_KEY", "no private key in PEM form"),
            ("encrypted key", "MICROGATEWAY_TLS_KEY", "encrypted"),
            ("another's key", "MICROGATEWAY_TLS_KEY", "not that of the certificate"),
            ("key left out", "MICROGATEWAY_TLS_CERT", "no private key in PEM form"),
        ],
    )
    def test_a_missing_or_broken_file_is_told_in_one_line(
        self, authority: Authority, fault: str, variable: str, reason: str
    ) -> None:
        issued = authority.issue("localhost", encrypted=fault == "encrypted key")
        certificate, key = issued.certificate, issued.key
        match fault:
            case "no certificate":
                certificate.unlink()
            case "broken certificate":
                certificate.write_text("hunter2")
            case "no key":
                key.unlink()
            case "broken key":
                key.write_text("hunter2")
            case "another's key":
                key.write_bytes(authority.issue("localhost").key.read_bytes())
        files = {"tls_cert": (certificate,), "tls_key": () if fault == "key left out" else (key,)}
        with (
            pytest.raises(StartupError) as caught,
            running_gateway(services=[], routes=[], settings=settings(**files)),
        ):
            pass
        told = str(caught.value)
        named = certificate if variable.endswith("CERT") else key
        assert told.startswith(f"{variable}: {str(named)!r}: ")
        assert reason in told
        assert "\n" not in told
        assert "hunter2" not in told

    def test_lists_of_files(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MICROGATEWAY_TLS_CERT", "a.pem, b.pem")
        monkeypatch.setenv("MICROGATEWAY_TLS_KEY", ", b.key")
        told: Settings = read_settings()
        assert (told.tls_cert, told.tls_key) == ((Path("a.pem"), Path("b.pem")), (None, Path("b.key")))
        monkeypatch.setenv("MICROGATEWAY_TLS_KEY", "b.key")
        with pytest.raises(StartupError, match=r"^MICROGATEWAY_TLS_KEY has 1 places and MICROGATEWAY_TLS_CERT 2"):
            read_settings()
        monkeypatch.setenv("MICROGATEWAY_TLS_CERT", "a.pem,,b.pem")
        monkeypatch.delenv("MICROGATEWAY_TLS_KEY")
        with pytest.raises(StartupError, match=r"^MICROGATEWAY_TLS_CERT"):
            read_settings()


class TestBodies:
    def test_64_mib_up(self, secured: Secured) -> None:
        sizes: list[int] = []
        upstream = secured.pair.upstream

        def note() -> None:
            request = upstream.requests[-1]
            sizes.append(len(request.body))
            sums.append(hashlib.sha256(request.body).digest())

        sums: list[bytes] = []
        upstream.script(ReadBody(), Call(note), Send(answer(200, body=b"got it")))
        with secured.connect() as client:
            client.send(lines("POST /x HTTP/1.1", "Host: a.example", f"Content-Length: {LARGE}"))
            for _ in range(LARGE // len(PIECE)):
                client.stream.send(PIECE)
            assert client.read_answer(b"POST").body == b"got it"
        assert sizes == [LARGE]
        assert sums == [hashlib.sha256(PIECE * (LARGE // len(PIECE))).digest()]

    def test_64_mib_down(self, secured: Secured) -> None:
        head = lines("HTTP/1.1 200 OK", f"Content-Length: {LARGE}")
        secured.pair.upstream.script(Send(head + PIECE * (LARGE // len(PIECE))))
        with secured.connect() as client:
            told = client.ask(GET)
            assert told.complete
            assert hashlib.sha256(told.body).digest() == hashlib.sha256(PIECE * (LARGE // len(PIECE))).digest()
            assert client.ask(GET).body == b"GET /x"

    def test_an_answer_before_the_end_of_the_body_arrives(self, authority: Authority) -> None:
        """The client goes on sending: closing at once would reset the connection, and take the answer along."""
        with securely(authority, max_body_bytes=1_000) as secured, secured.connect() as client:
            client.send(lines("POST /x HTTP/1.1", "Host: a.example", f"Content-Length: {LARGE}"))
            for _ in range(64):
                client.stream.send(PIECE)
            told = client.read_answer(b"POST")
            assert (told.status, told.one(b"connection")) == (413, b"close")

    def test_who_never_hangs_up_is_hung_up_on(self, authority: Authority) -> None:
        with securely(authority, max_body_bytes=1_000) as secured, secured.connect() as client:
            told = client.ask(lines("POST /x HTTP/1.1", "Host: a.example", "Content-Length: 2000") + b"x", b"POST")
            assert told.status == 413
            client.stream.read_to_end()
            until(lambda: secured.connections == (0, 0), "both are closed")


class TestEnds:
    def test_an_answer_that_is_cut_off_looks_cut_off(self, secured: Secured) -> None:
        head_came = threading.Event()
        head = lines("HTTP/1.1 200 OK", "Content-Length: 10")
        secured.pair.upstream.script(Send(head + b"half"), WaitFor(head_came), Reset())
        with secured.connect() as client:
            client.send(GET)
            client.stream.peek()
            head_came.set()
            assert not client.read_answer().complete

    def test_an_early_answer_that_ends_with_its_connection_ends_with_an_alert(self, secured: Secured) -> None:
        """Without one it would be an answer that was cut off (RFC 9112, 9.8)."""
        secured.pair.upstream.script(Send(lines("HTTP/1.1 200 OK") + b"all there is"), Close())
        with secured.connect() as client:
            told = client.ask(lines("POST /x HTTP/1.0", "Host: a.example", "Content-Length: 10") + b"01234", b"POST")
            assert (told.body, told.complete, told.framed_by) == (b"all there is", True, "close")

    def test_who_stops_sending_within_an_answer_sees_that_it_is_not_whole(self, secured: Secured) -> None:
        held = threading.Event()
        secured.pair.upstream.script(Send(lines("HTTP/1.1 200 OK") + b"some"), WaitFor(held))
        with secured.connect() as client:
            client.send(lines("GET /x HTTP/1.0", "Host: a.example"))
            client.stream.read_until(b"some")
            client.socket.settimeout(0)
            with contextlib.suppress(OSError):  # whatever has come by then of what it would wait for
                client.socket.unwrap()  # sends the alert
            client.assert_closed()
            assert client.stream.was_reset, "for HTTP/1.0 an orderly end would be that of the answer"
            held.set()

    def test_both_sides_are_reset_at_once(self, authority: Authority) -> None:
        begun, ended = threading.Event(), threading.Event()
        with securely(authority) as secured, secured.connect() as client:
            upstream = secured.pair.upstream

            def reset() -> None:
                upstream.connections[0].reset()
                ended.set()

            half = lines("HTTP/1.1 200 OK", "Content-Length: 10") + b"half"
            upstream.script(Send(half), WaitFor(begun), Call(reset))
            client.send(GET)
            client.stream.peek()
            with secured.pair.gateway.held():
                client.reset()
                begun.set()
                assert ended.wait(PATIENCE)
            until(lambda: secured.connections == (0, 0), "both are closed, without an error of the gateway's")

    def test_a_client_that_stops_sending_is_gone(self, secured: Secured, caplog: pytest.LogCaptureFixture) -> None:
        """TLS knows a half-close, but asyncio's transports do not: the upstream is told, and nothing is left."""
        held = threading.Event()
        secured.pair.upstream.script(WaitFor(held))
        with secured.connect() as client:
            client.send(GET)
            secured.pair.upstream.wait_for_requests(1)
            client.socket.unwrap()
            until(lambda: secured.connections == (0, 0), "both are closed")
        held.set()
        assert caplog.messages == []

    @pytest.mark.parametrize("first", ["client", "upstream"])
    def test_a_tunnel_ends_with_either_side(
        self, authority: Authority, caplog: pytest.LogCaptureFixture, first: str
    ) -> None:
        """A client that does not answer the end of the stream with its own is waited for no longer than for a body."""
        close = threading.Event()
        last = ReadToEnd() if first == "client" else WaitFor(close)
        with securely(authority, client_body_timeout=1.0) as secured, secured.connect() as client:
            upstream = secured.pair.upstream
            upstream.script(Send(SWITCHED), ReadExactly(4), Send(b"pong"), last)
            client.send(UPGRADE)
            assert client.read_answer().status == 101
            client.send(b"ping")
            assert client.stream.read_exactly(4) == b"pong"
            if first == "client":
                with contextlib.suppress(OSError):
                    client.socket.unwrap()
            else:
                for talk in upstream.connections:
                    talk.stream.half_close()
                assert client.stream.read_to_end() == b""
            until(lambda: secured.connections == (0, 0), "both are closed")
            close.set()
        assert caplog.messages == []

    def test_a_stop_lets_what_is_in_flight_finish(self, secured: Secured) -> None:
        go_on = threading.Event()
        secured.pair.upstream.script(WaitFor(go_on), Send(answer(200, body=b"late")))
        with secured.connect() as client:
            client.send(GET)
            secured.pair.upstream.wait_for_requests(1)
            secured.pair.gateway.begin_stop()
            until(lambda: not self.accepts(secured.port), "nobody is let in any more")
            go_on.set()
            told = client.read_answer()
            assert (told.body, told.one(b"connection")) == (b"late", b"close")

    def accepts(self, port: int) -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            return False
        return True


def test_without_a_certificate_the_port_speaks_no_tls() -> None:
    with running_pair() as pair:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            TlsClient(pair.gateway.port, unverified())
        assert pair.upstream.requests == []


def test_many_connections_over_tls_at_once(secured: Secured) -> None:
    clients = [secured.connect() for _ in range(40)]
    for number, client in enumerate(clients):
        client.send(lines(f"GET /{number} HTTP/1.1", "Host: a.example"))
    for number, client in enumerate(clients):
        assert client.read_answer().body == b"GET /%d" % number
        client.stream.close()
