"""TLS to upstreams: whom the gateway believes, what it shows of itself, and what comes of a broken handshake."""

import contextlib
import functools
import hashlib
import logging
import ssl
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from microgateway.data_plane.listener import Listener
from microgateway.entities import Service, ServiceSpec
from tests.control_plane.control import Control
from tests.kit.certificates import Authority
from tests.kit.configuration import route, service, settings
from tests.kit.gateway import Gateway, running_gateway
from tests.kit.messages import answer, lines
from tests.kit.steps import Call, Close, Echo, ReadBody, ReadExactly, Send, WaitFor
from tests.kit.tls import running_tls_upstream
from tests.kit.upstream import running_upstream
from tests.kit.waiting import PATIENCE, until

GET = lines("GET /x HTTP/1.1", "Host: a.example")
LARGE = 1 << 26
PIECE = bytes(range(256)) * 1024
NAME = "shop.example"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name leads to this machine."""

    async def look_up(host: str) -> Sequence[str]:
        return ["127.0.0.1"]

    monkeypatch.setattr("microgateway.testing.Listener", functools.partial(Listener, look_up=look_up))


@contextlib.contextmanager
def before(url: str, tls: dict[str, Any], **overrides: Any) -> Iterator[Gateway]:
    with running_gateway(
        services=[service(url, tls=tls)], routes=[route("/")], settings=settings(**overrides)
    ) as gateway:
        yield gateway


def ask(gateway: Gateway) -> tuple[int, str]:
    """The status, and the body or the problem's code."""
    with gateway.connect() as client:
        told = client.ask(GET)
        return told.status, told.body.decode() if told.status == 200 else told.problem()["code"]


OK = (200, "GET /x")
FAILED = (502, "upstream_tls_failed")


class TestTrust:
    def test_an_upstream_of_an_authority_of_one_s_own(self, authority: Authority) -> None:
        with (
            running_tls_upstream(authority.issue(NAME).server_context()) as upstream,
            before(upstream.url_of(NAME), {"ca_file": str(authority.file)}) as gateway,
        ):
            assert [ask(gateway) for _ in range(3)] == [OK] * 3
            assert upstream.asked_for == [NAME], "one handshake, for the name"
            assert upstream.requests[0].one(b"host") == f"{NAME}:{upstream.port}".encode()

    def test_an_address_is_verified_and_not_asked_for_by_name(self, authority: Authority) -> None:
        with (
            running_tls_upstream(authority.issue("127.0.0.1").server_context()) as upstream,
            before(upstream.url, {"ca_file": str(authority.file)}) as gateway,
        ):
            assert ask(gateway) == OK
            assert upstream.asked_for == [None]  # RFC 6066, 3: an address is no host name

    def test_the_authorities_of_the_system_are_believed_when_none_is_named(
        self, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        with (
            running_tls_upstream(authority.issue(NAME).server_context()) as upstream,
            before(upstream.url_of(NAME), {}) as gateway,
        ):
            assert ask(gateway) == OK

    @pytest.mark.parametrize("fault", ["unknown authority", "another's name", "expired", "no names", "system's only"])
    def test_who_can_t_be_trusted_gets_no_request(
        self, authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: str
    ) -> None:
        signer = Authority(tmp_path, "stranger") if fault == "unknown authority" else authority
        names = {"another's name": ["other.example"], "no names": []}.get(fault, [NAME])
        issued = signer.issue(*names, ended=fault == "expired")
        tls = {} if fault == "system's only" else {"ca_file": str(authority.file)}
        with (
            running_tls_upstream(issued.server_context()) as upstream,
            before(upstream.url_of(NAME), tls, circuit_failure_threshold=3) as gateway,
        ):
            with caplog.at_level(logging.WARNING, "microgateway.data_plane"):
                assert [ask(gateway) for _ in range(4)] == [FAILED] * 3 + [(503, "circuit_open")]
            assert upstream.requests == []
            assert gateway.call(lambda served: served.listener.upstream_connections) == 0
            (message,) = caplog.messages  # told once, not at every request
            assert upstream.url_of(NAME) in message

    def test_everybody_is_believed_where_the_service_says_so(self, authority: Authority) -> None:
        with (
            running_tls_upstream(authority.issue("other.example", ended=True).server_context()) as upstream,
            before(upstream.url_of(NAME), {"verify": False}) as gateway,
        ):
            assert ask(gateway) == OK

    def test_a_server_name_takes_the_place_of_the_host(self, authority: Authority) -> None:
        with running_tls_upstream(authority.issue("inner.example").server_context()) as upstream:
            tls = {"ca_file": str(authority.file), "server_name": "Inner.example."}
            with before(upstream.url, tls) as gateway:
                assert ask(gateway) == OK
            with before(upstream.url, tls | {"server_name": NAME}) as gateway:
                assert ask(gateway) == FAILED
            assert upstream.asked_for == ["inner.example", NAME]
            assert [request.one(b"host") for request in upstream.requests] == [f"127.0.0.1:{upstream.port}".encode()]

    def test_an_upstream_that_speaks_no_tls(self) -> None:
        with running_upstream() as upstream:
            upstream.script_connection(Send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), Close())
            with before(f"https://127.0.0.1:{upstream.port}", {"verify": False}) as gateway:
                assert ask(gateway) == FAILED
                upstream.script_connection(Close())
                assert ask(gateway) == FAILED

    def test_services_that_differ_in_tls_share_no_connection(self, authority: Authority) -> None:
        with running_tls_upstream(authority.issue(NAME).server_context()) as upstream:
            url = upstream.url_of(NAME)
            services = [
                service(url, "careless", tls={"verify": False}),
                service(url, "careful"),
                service(url, "knowing", tls={"ca_file": str(authority.file)}),
                service(url, "also-knowing", tls={"ca_file": str(authority.file)}),
            ]
            routes = [route(f"/{each.id}", service_id=each.id) for each in services]
            with running_gateway(services=services, routes=routes, settings=settings()) as gateway:
                with gateway.connect() as client:

                    def status(path: str) -> int:
                        return client.ask(lines(f"GET /{path} HTTP/1.1", "Host: a.example")).status

                    asked = ["careless", "careful", "careless", "careful", "knowing", "also-knowing", "careful"]
                    assert [status(path) for path in asked] == [200, 502, 200, 502, 200, 200, 502]
                by = {request.target: request.connection for request in upstream.requests}
                assert by[b"/careless"] != by[b"/knowing"]
                assert by[b"/knowing"] == by[b"/also-knowing"]


class TestClientCertificate:
    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    @pytest.mark.parametrize("in_one_file", [True, False])
    def test_it_is_shown_to_who_wants_it(
        self, authority: Authority, version: ssl.TLSVersion, in_one_file: bool
    ) -> None:
        own = authority.issue("gateway.example")
        context = authority.issue(NAME).server_context(client_authority=authority)
        context.minimum_version = context.maximum_version = version
        shown = (
            {"client_cert_file": str(own.joined())}
            if in_one_file
            else {"client_cert_file": str(own.certificate), "client_key_file": str(own.key)}
        )
        with (
            running_tls_upstream(context) as upstream,
            before(upstream.url_of(NAME), {"ca_file": str(authority.file), **shown}) as gateway,
        ):
            assert ask(gateway) == OK
            assert len(upstream.requests) == 1

    @pytest.mark.parametrize(
        ("version", "code"),
        [
            (ssl.TLSVersion.TLSv1_2, "upstream_tls_failed"),
            (ssl.TLSVersion.TLSv1_3, "upstream_connection_lost"),  # the refusal comes behind the handshake
        ],
    )
    def test_without_one_there_is_no_answer(self, authority: Authority, version: ssl.TLSVersion, code: str) -> None:
        context = authority.issue(NAME).server_context(client_authority=authority)
        context.minimum_version = context.maximum_version = version
        with (
            running_tls_upstream(context) as upstream,
            before(upstream.url_of(NAME), {"ca_file": str(authority.file)}) as gateway,
        ):
            assert ask(gateway) == (502, code)
            assert upstream.requests == []


class TestFiles:
    def test_a_file_that_breaks_later_fails_its_requests_until_it_is_mended(self, authority: Authority) -> None:
        good = authority.file.read_bytes()
        with running_tls_upstream(authority.issue(NAME).server_context()) as upstream:
            kept = service(upstream.url_of(NAME), tls={"ca_file": str(authority.file)})
            authority.file.write_text("broken")
            with running_gateway(services=[kept], routes=[route("/")], settings=settings()) as gateway:
                assert ask(gateway) == FAILED
                authority.file.unlink()
                assert ask(gateway) == FAILED
                authority.file.write_bytes(good)
                assert ask(gateway) == OK

    def test_a_file_that_changes_counts_for_new_connections(self, authority: Authority, tmp_path: Path) -> None:
        with (
            running_tls_upstream(authority.issue(NAME).server_context()) as upstream,
            before(upstream.url_of(NAME), {"ca_file": str(authority.file)}) as gateway,
        ):
            assert ask(gateway) == OK
            authority.file.write_bytes(Authority(tmp_path, "stranger").file.read_bytes())
            gateway.served.listener._renew_files(only_if_changed=True)  # noqa: SLF001  blocks by design, as a thread's
            upstream.script(Echo(), Close())
            assert ask(gateway) == OK, "on the connection that is open"
            until_closed(gateway)
            assert ask(gateway) == FAILED

    @pytest.mark.parametrize(
        ("fault", "field"),
        [
            ("no authority", "tls.ca_file"),
            ("broken authority", "tls.ca_file"),
            ("a folder", "tls.ca_file"),
            ("no certificate", "tls.client_cert_file"),
            ("no key", "tls.client_key_file"),
            ("another's key", "tls.client_key_file"),
            ("encrypted key", "tls.client_key_file"),
            ("key without certificate", "tls"),
            ("no host name", "tls.server_name"),
            ("unknown", "tls.unknown"),
        ],
    )
    async def test_what_can_t_be_used_is_refused_when_it_is_saved(
        self, authority: Authority, tmp_path: Path, control: Control, fault: str, field: str
    ) -> None:
        own = authority.issue("gateway.example", encrypted=fault == "encrypted key")
        broken = tmp_path / "broken.pem"
        broken.write_text("broken")
        pair = {"client_cert_file": str(own.certificate), "client_key_file": str(own.key)}
        faults: dict[str, dict[str, Any]] = {
            "no authority": {"ca_file": str(tmp_path / "nowhere.pem")},
            "broken authority": {"ca_file": str(broken)},
            "a folder": {"ca_file": str(tmp_path)},
            "no certificate": pair | {"client_cert_file": str(tmp_path / "nowhere.pem")},
            "no key": pair | {"client_key_file": str(tmp_path / "nowhere.pem")},
            "another's key": pair | {"client_key_file": str(authority.issue("a.example").key)},
            "encrypted key": pair,
            "key without certificate": {"client_key_file": str(own.key)},
            "no host name": {"server_name": "a b"},
            "unknown": {"unknown": 1},
        }
        body = {"name": "shop", "base_url": "https://shop.example", "tls": faults[fault]}
        with pytest.raises(ValidationError) as caught:
            ServiceSpec.model_validate(body)
        assert [".".join(map(str, error["loc"])) for error in caught.value.errors()] == [field]
        told = await control.post("/api/services", body, status=422)
        assert [error["field"] for error in told["errors"]] == [field]

    async def test_what_is_saved_comes_back(self, authority: Authority, control: Control) -> None:
        tls = {"ca_file": str(authority.file), "server_name": "inner.example"}
        kept = await control.service("shop", base_url="https://shop.example", tls=tls)
        path = f"/api/services/{kept['id']}"
        assert kept["tls"] == tls | {"verify": True, "client_cert_file": None, "client_key_file": None}
        assert (await control.get(path))["tls"] == kept["tls"]
        assert (await control.patch(path, {"tls": None}))["tls"]["ca_file"] is None
        assert (await control.get(path))["tls"]["ca_file"] is None

    def test_what_is_kept_stays_readable_though_its_file_has_gone(self, authority: Authority) -> None:
        kept = service("https://shop.example", tls={"ca_file": str(authority.file)})
        authority.file.unlink()
        assert Service.model_validate(kept.model_dump()) == kept


class TestBytes:
    def test_64_mib_each_way(self, authority: Authority) -> None:
        whole = hashlib.sha256(PIECE * (LARGE // len(PIECE))).digest()
        sums: list[bytes] = []
        with (
            running_tls_upstream(authority.issue(NAME).server_context()) as upstream,
            before(upstream.url_of(NAME), {"ca_file": str(authority.file)}) as gateway,
            gateway.connect() as client,
        ):
            head = lines("HTTP/1.1 200 OK", f"Content-Length: {LARGE}")
            note = Call(lambda: sums.append(hashlib.sha256(upstream.requests[-1].body).digest()))
            upstream.script(ReadBody(), note, Send(head + PIECE * (LARGE // len(PIECE))))
            client.send(lines("POST /x HTTP/1.1", "Host: a.example", f"Content-Length: {LARGE}"))
            for _ in range(LARGE // len(PIECE)):
                client.stream.send(PIECE)
            told = client.read_answer(b"POST")
            assert told.complete
            assert (sums, hashlib.sha256(told.body).digest()) == ([whole], whole)

    @pytest.mark.parametrize("properly", [True, False])
    def test_an_answer_that_ends_with_its_connection_is_whole_only_if_tls_says_so(
        self, authority: Authority, properly: bool
    ) -> None:
        """RFC 9112, 9.8: otherwise anybody on the way could cut it short."""
        with (
            running_tls_upstream(authority.issue(NAME).server_context()) as upstream,
            before(upstream.url_of(NAME), {"ca_file": str(authority.file)}) as gateway,
            gateway.connect() as client,
        ):
            begun = threading.Event()

            def end() -> None:
                sock = upstream.connections[0].stream.sock
                assert isinstance(sock, ssl.SSLSocket)
                if properly:
                    with contextlib.suppress(OSError):
                        sock.unwrap()
                upstream.connections[0].close()

            upstream.script(Send(b"HTTP/1.1 200 OK\r\n\r\nall there is"), WaitFor(begun), Call(end))
            client.send(GET)
            client.stream.peek()
            begun.set()
            told = client.read_answer()
            assert told.complete is properly
            if properly:
                assert told.body == b"all there is"

    def test_it_is_whole_though_a_reset_follows_at_once(self, authority: Authority) -> None:
        """As it does where the service has not read all of the request."""
        with (
            running_tls_upstream(authority.issue(NAME).server_context()) as upstream,
            before(upstream.url_of(NAME), {"ca_file": str(authority.file)}) as gateway,
            gateway.connect() as client,
        ):
            begun, ended = threading.Event(), threading.Event()

            def end() -> None:
                sock = upstream.connections[0].stream.sock
                assert isinstance(sock, ssl.SSLSocket)
                sock.settimeout(0)
                with contextlib.suppress(ssl.SSLWantReadError):
                    sock.unwrap()  # sends the alert, and would wait for the gateway's
                upstream.connections[0].reset()
                ended.set()

            upstream.script(Send(b"HTTP/1.1 200 OK\r\n\r\nall there is"), WaitFor(begun), Call(end))
            client.send(GET)
            client.stream.peek()
            with gateway.held():
                begun.set()
                assert ended.wait(PATIENCE)
            told = client.read_answer()
            assert (told.body, told.complete) == (b"all there is", True)

    def test_an_early_answer_outlives_the_reset_that_follows_it(self, authority: Authority) -> None:
        """Both come before the gateway has written more of the request: it does not write, and reads."""
        with (
            running_tls_upstream(authority.issue(NAME).server_context()) as upstream,
            before(upstream.url_of(NAME), {"ca_file": str(authority.file)}) as gateway,
            gateway.connect() as client,
        ):
            begun, goes_on, ended = threading.Event(), threading.Event(), threading.Event()

            def end() -> None:
                upstream.connections[0].reset()
                ended.set()

            refusal = answer(413, body=b"early" * 10_000)
            upstream.script(ReadExactly(5), Call(begun.set), WaitFor(goes_on), Send(refusal), Call(end))
            client.send(lines("POST /x HTTP/1.1", "Host: a.example", f"Content-Length: {LARGE}"), b"first")
            assert begun.wait(PATIENCE)
            with gateway.held():
                client.send(PIECE)
                goes_on.set()
                assert ended.wait(PATIENCE)
            told = client.read_answer(b"POST")
            assert (told.status, told.body) == (413, b"early" * 10_000)


def until_closed(gateway: Gateway) -> None:
    until(
        lambda: gateway.call(lambda served: int(served.listener.upstream_connections)) == 0,
        "the gateway notices that its connections are closed",
    )
