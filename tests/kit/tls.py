"""A client and an upstream over TLS, with Python's own blocking sockets."""

import contextlib
import socket
import ssl
from collections.abc import Iterator

from cryptography import x509

from tests.kit.client import Client, nothing
from tests.kit.steps import PATIENCE as SCRIPT_PATIENCE
from tests.kit.stream import Stream
from tests.kit.upstream import Conversation, Upstream
from tests.kit.waiting import PATIENCE


class TlsClient(Client):
    """One connection over TLS. `name` is whom it asks for, None for nobody; raises `ssl.SSLError` or `OSError`."""

    def __init__(
        self, port: int, context: ssl.SSLContext, *, name: str | None = "localhost", patience: float = PATIENCE
    ) -> None:
        plain = socket.create_connection(("127.0.0.1", port), patience)
        try:
            # An end without a closure alert counts as a reset (RFC 9112, 9.8)
            self.socket = context.wrap_socket(plain, server_hostname=name, suppress_ragged_eofs=False)
        except OSError:
            plain.close()
            raise
        self.stream = Stream(self.socket, patience)
        self._settle = nothing

    @property
    def serial(self) -> int:
        """Of the certificate that the gateway has shown."""
        shown = self.socket.getpeercert(binary_form=True)
        assert shown is not None
        return x509.load_der_x509_certificate(shown).serial_number


class TlsUpstream(Upstream):
    """The recording upstream behind TLS. `asked_for` are the names of the handshakes, None where there was none."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.asked_for: list[str | None] = []
        self._context = context
        context.sni_callback = lambda connection, name, _: self.asked_for.append(name)
        super().__init__()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def url_of(self, host: str) -> str:
        return f"https://{host}:{self.port}"

    def _accept(self) -> None:
        while (plain := self._next()) is not None:
            sock = self._context.wrap_socket(
                plain, server_side=True, do_handshake_on_connect=False
            )  # at the first read
            talk = Conversation(self, Stream(sock, SCRIPT_PATIENCE), len(self.connections))
            self.connections.append(talk)
            self.changed()
            self._start(lambda talk=talk: self._converse(talk))  # type: ignore[misc]


@contextlib.contextmanager
def running_tls_upstream(context: ssl.SSLContext) -> Iterator[TlsUpstream]:
    upstream = TlsUpstream(context)
    try:
        yield upstream
    finally:
        upstream.stop()


def unverified(version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """For a client that believes anybody, in this version only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context
