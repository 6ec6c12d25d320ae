"""TLS on both sides: which certificate a client is shown, and which certificates of upstreams are believed.

Both are made of files, and files are replaced while the gateway runs. What is made of new files serves the connections
that begin from then on; those that are open keep what they began with. While a new file is broken, the old ones stay in
force and the log says so once.
"""

import asyncio
import logging
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from microgateway.errors import MicroGatewayError
from microgateway.snapshot import UpstreamTls

CHECK_INTERVAL = 2.0  # seconds between two looks at whether files have changed
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2: forward secret and authenticated ones only; 1.3 has no others
PROTOCOLS = ["http/1.1"]

T = TypeVar("T")
PemPair = tuple[Path, Path | None]  # a certificate with its chain, and its key where that is in a file of its own
_Stamps = tuple[tuple[int, int, int] | None, ...]


class TlsFileError(MicroGatewayError):
    """A file of certificates or keys is missing or makes no sense. `holds_key`: it is the key's."""

    def __init__(self, path: Path, reason: str, *, holds_key: bool = False) -> None:
        super().__init__(f"{str(path)!r}: {reason}")
        self.holds_key = holds_key


class MadeOfFiles(Generic[T]):
    """A value that is made of files, and made anew when they change. All methods block: they belong in a thread."""

    def __init__(self, files: Sequence[Path], make: Callable[[], T]) -> None:
        """Raises what `make` raises."""
        self._files = files
        self._make = make
        self._lock = threading.Lock()
        self._stamps = _stamps(files)  # taken first: what is written meanwhile is seen as a change
        self.value = make()

    def renew(self, *, only_if_changed: bool) -> None:
        """Makes it anew, or keeps what there is where that fails."""
        with self._lock:
            stamps = _stamps(self._files)
            if only_if_changed and stamps == self._stamps:
                return
            self._stamps = stamps
            try:
                self.value = self._make()
            except TlsFileError as error:
                logging.getLogger("microgateway.data_plane").error("TLS: the old files stay in force: %s", error)


# -- what clients are shown ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Certificates:
    """TLS contexts by the names that their certificates are for. `wildcards` are without `*.` in front."""

    default: ssl.SSLContext
    exact: Mapping[str, ssl.SSLContext] = field(default_factory=dict)
    wildcards: Mapping[str, ssl.SSLContext] = field(default_factory=dict)

    def of(self, name: str | None) -> ssl.SSLContext:
        """The context for the name that a client asks for, the default for one that is not known."""
        if name is None:
            return self.default
        name = name.lower().rstrip(".")
        return self.exact.get(name) or self.wildcards.get(name.partition(".")[2]) or self.default


class ServerCertificates:
    """The proxy port's certificates, the first of which is the default. Made in a thread; raises `TlsFileError`."""

    def __init__(self, pairs: Sequence[PemPair]) -> None:
        files = [path for pair in pairs for path in pair if path is not None]
        self._files = MadeOfFiles(files, lambda: _load_certificates(pairs))
        self.context = _server_context(*pairs[0])
        # OpenSSL asks at every handshake, also when the client names nobody (SSL_CTX_set_tlsext_servername_callback)
        self.context.sni_callback = self._choose

    def renew(self, *, only_if_changed: bool) -> None:
        """Reads the files again, where they have changed or always. Blocks, so it belongs in a thread."""
        self._files.renew(only_if_changed=only_if_changed)

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        connection.context = self._files.value.of(name)


def _load_certificates(pairs: Sequence[PemPair]) -> _Certificates:
    exact: dict[str, ssl.SSLContext] = {}
    wildcards: dict[str, ssl.SSLContext] = {}
    contexts = []
    for certificate, key in pairs:
        names = _checked_names(certificate, key)
        context = _server_context(certificate, key)
        contexts.append(context)
        for name in names:
            into = wildcards if name.startswith("*.") else exact
            into.setdefault(name.removeprefix("*."), context)
    return _Certificates(contexts[0], exact, wildcards)


def _server_context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(PROTOCOLS)
    _load_pair(context, certificate, key)
    return context


def _checked_names(certificate: Path, key: Path | None) -> list[str]:
    """The names that the certificate is for (RFC 6125: the subject's own is none), once the key is known to be its."""
    try:
        leaf = x509.load_pem_x509_certificates(_read(certificate))[0]
        names = _names_of(leaf)
        public_key = leaf.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TlsFileError(certificate, f"there is no certificate in PEM form in it ({error})") from None
    key_file, is_apart = key or certificate, key is not None
    try:
        own = serialization.load_pem_private_key(_read(key_file, holds_key=is_apart), None)
    except TypeError:
        raise TlsFileError(key_file, "its key is encrypted, and there is nobody to ask", holds_key=is_apart) from None
    except (ValueError, UnsupportedAlgorithm):
        raise TlsFileError(key_file, "there is no private key in PEM form in it", holds_key=is_apart) from None
    if own.public_key() != public_key:
        reason = f"its key is not that of the certificate in {str(certificate)!r}"
        raise TlsFileError(key_file, reason, holds_key=is_apart)
    return names


def _names_of(certificate: x509.Certificate) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [name.lower().rstrip(".") for name in extension.value.get_values_for_type(x509.DNSName)]


# -- what upstreams must show --------------------------------------------------------------------------------------


def client_context(tls: UpstreamTls) -> ssl.SSLContext:
    """How connections to an upstream are made. Blocks, and raises `TlsFileError`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(PROTOCOLS)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif tls.ca_file is None:
        context.load_default_certs()
    else:
        load_authorities(context, Path(tls.ca_file))
    if tls.client_cert_file is not None:
        key = None if tls.client_key_file is None else Path(tls.client_key_file)
        _load_pair(context, Path(tls.client_cert_file), key)
    return context


def load_authorities(context: ssl.SSLContext, path: Path) -> None:
    """Has the context believe what the authorities in this file vouch for. Raises `TlsFileError`."""
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError:
        raise TlsFileError(path, "there is no certificate in PEM form in it") from None
    except OSError as error:
        raise TlsFileError(path, error.strerror or str(error)) from None


class ClientContexts:
    """One context for each way to speak TLS with upstreams, built in a thread when it is first needed."""

    def __init__(self) -> None:
        self._built: dict[UpstreamTls, MadeOfFiles[ssl.SSLContext]] = {}
        self._building: dict[UpstreamTls, asyncio.Future[MadeOfFiles[ssl.SSLContext]]] = {}

    async def of(self, tls: UpstreamTls) -> ssl.SSLContext:
        """Raises `TlsFileError`; then the next one to ask has it tried again."""
        built = self._built.get(tls)
        if built is None:
            built = await asyncio.shield(self._build(tls))
        return built.value

    def keep_only(self, wanted: frozenset[UpstreamTls]) -> None:
        for tls in self._built.keys() - wanted:
            del self._built[tls]

    def renew(self, *, only_if_changed: bool) -> None:
        """Blocks, so it belongs in a thread."""
        for built in tuple(self._built.values()):
            built.renew(only_if_changed=only_if_changed)

    def _build(self, tls: UpstreamTls) -> asyncio.Future[MadeOfFiles[ssl.SSLContext]]:
        building = self._building.get(tls)
        if building is None:
            files = [Path(file) for file in (tls.ca_file, tls.client_cert_file, tls.client_key_file) if file]
            building = asyncio.get_running_loop().run_in_executor(
                None, lambda: MadeOfFiles(files, lambda: client_context(tls))
            )
            self._building[tls] = building
            building.add_done_callback(lambda built: self._keep(tls, built))
        return building

    def _keep(self, tls: UpstreamTls, built: "asyncio.Future[MadeOfFiles[ssl.SSLContext]]") -> None:
        del self._building[tls]
        if not built.cancelled() and built.exception() is None:
            self._built[tls] = built.result()


# -- files ---------------------------------------------------------------------------------------------------------


def _load_pair(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    try:
        context.load_cert_chain(certificate, key, password="")  # without one OpenSSL asks on the terminal
    except ssl.SSLError as error:
        raise TlsFileError(certificate, f"can't be used with its key ({error.reason or error})") from None
    except OSError as error:
        raise TlsFileError(certificate, error.strerror or str(error)) from None


def _read(path: Path, *, holds_key: bool = False) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsFileError(path, error.strerror or str(error), holds_key=holds_key) from None


def _stamps(files: Sequence[Path]) -> _Stamps:
    """What tells one state of these files from another; None for one that is not there."""
    return tuple(_stamp(file) for file in files)


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
