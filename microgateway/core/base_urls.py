"""Where an upstream is: scheme, host, port and the path that goes in front of every request's own."""

from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address
from urllib.parse import SplitResult, urlsplit

from microgateway.core.paths import PathError, normalise
from microgateway.errors import MicroGatewayError

DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-._")


class BaseUrlError(MicroGatewayError):
    """This is no address of an upstream."""


@dataclass(frozen=True, slots=True)
class BaseUrl:
    """A parsed base URL. `host` is lower case and, for IPv6, without brackets; `path` has no slash at its end."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, text: str) -> "BaseUrl":
        """Raises `BaseUrlError` for anything but `http(s)://host[:port][/path]`."""
        try:
            parts = urlsplit(text.strip())
            port = parts.port
        except ValueError as error:
            raise BaseUrlError(f"this is not a URL: {error}") from None
        if parts.scheme not in DEFAULT_PORTS:
            raise BaseUrlError("a base URL begins with http:// or https://")
        if port == 0:
            raise BaseUrlError("the port is between 1 and 65535")
        _refuse_extras(parts, text)
        return cls(parts.scheme, _host(parts), port or DEFAULT_PORTS[parts.scheme], _path(parts.path))

    @property
    def authority(self) -> str:
        """What a Host field says of it: the port only where it isn't the scheme's own (RFC 9110, 4.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def text(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


def _refuse_extras(parts: SplitResult, text: str) -> None:
    if "@" in parts.netloc:
        raise BaseUrlError("a base URL carries no user name or password")
    if "?" in text or "#" in text:
        raise BaseUrlError("a base URL carries no query and no fragment")


def _host(parts: SplitResult) -> str:
    host = (parts.hostname or "").lower()
    if ":" in host:
        try:
            return str(IPv6Address(host))
        except AddressValueError:
            raise BaseUrlError(f"{host!r} is not an IPv6 address") from None
    if not host or len(host) > 253 or not _HOST_CHARACTERS.issuperset(host):
        raise BaseUrlError("the host is missing or holds characters that a host name can't have")
    return host


def _path(path: str) -> str:
    try:
        return normalise((path or "/").encode()).decode().rstrip("/")
    except PathError as error:
        raise BaseUrlError(str(error)) from None
