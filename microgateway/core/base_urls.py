"""Where an upstream is: scheme, host, port and the path that goes in front of every request's own."""

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address
from urllib.parse import SplitResult, urlsplit

from microgateway.core.paths import PathError, normalise
from microgateway.errors import MicroGatewayError

DEFAULT_PORTS = {"http": 80, "https": 443}
_INVISIBLE = re.compile(r"[\s\x00-\x1f\x7f]")
_NETWORK_LOCATION = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]*)?\Z")
_LONGEST_HOST, _LONGEST_LABEL = 253, 63  # RFC 1035, 2.3.4


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
        text = text.strip()
        if _INVISIBLE.search(text):  # urlsplit() takes some of these out without a word
            raise BaseUrlError("a base URL holds no white space and no control characters")
        try:
            parts = urlsplit(text)
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
        """The URL again, in its one form."""
        return f"{self.scheme}://{self.authority}{self.path}"


def _refuse_extras(parts: SplitResult, text: str) -> None:
    if "@" in parts.netloc:
        raise BaseUrlError("a base URL carries no user name or password")
    if "?" in text or "#" in text:
        raise BaseUrlError("a base URL carries no query and no fragment")


def _host(parts: SplitResult) -> str:
    match = _NETWORK_LOCATION.match(parts.netloc)
    if match is None:
        raise BaseUrlError("the host is missing or holds characters that a host name can't have")
    host = match["host"].lower()
    if host.startswith("["):
        try:
            return str(IPv6Address(host[1:-1]))
        except AddressValueError:
            raise BaseUrlError(f"{host!r} is not an IPv6 address") from None
    labels = host.removesuffix(".").split(".")  # a name may end in a dot: then it is looked up as it stands
    if len(host) > _LONGEST_HOST or not all(0 < len(label) <= _LONGEST_LABEL for label in labels):
        raise BaseUrlError("the host, or a part of it between dots, is empty or too long")
    return host


def _path(path: str) -> str:
    try:
        return normalise((path or "/").encode()).decode().rstrip("/")
    except PathError as error:
        raise BaseUrlError(str(error)) from None
