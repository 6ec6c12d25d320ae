"""Fetching a document: within bounds, by http and https, and by nothing else."""

import socket
import threading
import time
from email.message import Message
from pathlib import Path

import pytest

from microgateway.tokens import fetching
from microgateway.tokens.fetching import FetchError, fetch, max_age
from tests.kit.issuer import running_key_server, signing_key


def test_the_document_and_how_long_it_is_fresh() -> None:
    with running_key_server(signing_key()) as server:
        server.fields = {"Cache-Control": "public, max-age=60"}
        fetched = fetch(server.url, None)
        assert (fetched.body, fetched.max_age) == (server.document(), 60.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("max-age=60", 60.0),
        ('public, MAX-AGE="60"', 60.0),
        ("no-cache", 0.0),
        ("no-store, max-age=60", 0.0),
        ("max-age=-1", None),
        ("max-age=soon", None),
        ("max-age=99999999999999999999", 9_999_999_999.0),
        ("", None),
    ],
)
def test_what_cache_control_says(text: str, seconds: float | None) -> None:
    headers = Message()
    headers["Cache-Control"] = text
    assert max_age(headers) == seconds


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(status: int) -> None:
    with running_key_server(signing_key()) as target, running_key_server() as first:
        first.status, first.fields = status, {"Location": target.url}
        assert fetch(first.url, None).body == target.document()


def test_not_for_ever_and_not_to_another_scheme(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    with running_key_server() as server:
        server.status = 302
        for location in (server.url, f"file://{secret}", "ftp://127.0.0.1/", "data:,{}", "//", ""):
            server.fields = {"Location": location}
            with pytest.raises(FetchError):
                fetch(server.url, None)
        assert server.fetches < 20


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/", "data:,{}", "gopher://a/"])
def test_only_http_and_https(url: str) -> None:
    with pytest.raises(FetchError):
        fetch(url, None)


@pytest.mark.parametrize("status", [204, 304, 400, 404, 500, 503])
def test_an_error_is_an_error(status: int) -> None:
    with running_key_server() as server:
        server.status, server.body = status, b""
        if status == 204:
            assert fetch(server.url, None).body == b""
        else:
            with pytest.raises(FetchError):
                fetch(server.url, None)


def test_no_more_than_so_many_bytes() -> None:
    with running_key_server() as server:
        server.body = b" " * (fetching.LARGEST_DOCUMENT + 1)
        with pytest.raises(FetchError, match="bytes"):
            fetch(server.url, None)


def test_nobody_there() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(FetchError):
            fetch(f"http://127.0.0.1:{unused.getsockname()[1]}/", None)


@pytest.mark.parametrize("beginning", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"])
def test_silence_and_nonsense_come_to_an_end(beginning: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "LONGEST_SILENCE", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        accepted: list[socket.socket] = []

        def answer() -> None:
            connection, _ = listening.accept()
            accepted.append(connection)
            connection.sendall(beginning)

        thread = threading.Thread(target=answer)
        thread.start()
        began = time.monotonic()
        with pytest.raises(FetchError):
            fetch(f"http://127.0.0.1:{listening.getsockname()[1]}/", None)
        assert time.monotonic() - began < 4.5, "it is not the usual time that ended it"
        thread.join()
        accepted[0].close()


@pytest.mark.parametrize(
    "answer",
    [
        b"Content-Length: 100\r\n\r\n{}",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\n{}",
    ],
)
def test_half_a_document_is_none(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 OK\r\n" + answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(FetchError):
            fetch(f"http://127.0.0.1:{listening.getsockname()[1]}/", None)
        thread.join()


def test_a_document_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "LONGEST_FETCH", 0.0)
    with running_key_server(signing_key()) as server, pytest.raises(FetchError, match="come to an end"):
        fetch(server.url, None)
