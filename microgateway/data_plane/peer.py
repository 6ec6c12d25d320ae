"""Who is at the other end of a client connection, what is believed of what it says, and what upstreams are told."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from microgateway.core.field_sections import parse_authority
from microgateway.core.fields import Field, HeadError, members

Networks = tuple[IPv4Network | IPv6Network, ...]
_SCHEMES = (b"http", b"https")


class Peer:
    """A client connection's other end.

    `ip` is its address; the client itself may be behind it, if we trust it to say so.
    """

    __slots__ = ("_last_authority", "_last_lines", "_networks", "_port", "_proto", "ip", "is_trusted")

    def __init__(self, ip: str, port: int, *, secure: bool, trusted_networks: Networks) -> None:
        self.ip = ip
        self._port = b"%d" % port
        self._proto = b"https" if secure else b"http"
        self._networks = trusted_networks
        self.is_trusted = bool(trusted_networks) and _is_within(ip_address(ip), trusted_networks)
        self._last_authority: bytes | None = None
        self._last_lines = b""

    def client_of(self, forwarding: list[Field] | None) -> str:
        """The address of the client that a request is from."""
        if forwarding is None or not self.is_trusted:
            return self.ip
        return self._client(_given(forwarding, b"x-real-ip"), self._chain(forwarding)).decode()

    def lines_for(self, forwarding: list[Field] | None, authority: bytes) -> bytes:
        """The forwarding fields of one request, each with its line end.

        Those that came with it count only from a trusted network, and only as far as they make sense.
        """
        if forwarding is not None and self.is_trusted:
            return self._lines_after(forwarding, authority)
        if authority != self._last_authority:
            self._last_authority = authority
            ip = self.ip.encode()
            self._last_lines = _lines(ip, ip, self._proto, self._port, authority)
        return self._last_lines

    def forget(self) -> None:
        """What is remembered of the last request."""
        self._last_authority, self._last_lines = None, b""

    def _lines_after(self, forwarding: list[Field], authority: bytes) -> bytes:
        chain = self._chain(forwarding)
        client = self._client(_given(forwarding, b"x-real-ip"), chain)
        proto = _given(forwarding, b"x-forwarded-proto").lower()
        port = _given(forwarding, b"x-forwarded-port")
        host = _given(forwarding, b"x-forwarded-host")
        return _lines(
            b", ".join([*chain, self.ip.encode()]),
            client,
            proto if proto in _SCHEMES else self._proto,
            port if port.isdigit() and len(port) <= 5 and int(port) <= 65_535 else self._port,
            host if _is_authority(host) else authority,
        )

    def _chain(self, forwarding: list[Field]) -> list[bytes]:
        """Whom the request came from and through, as X-Forwarded-For has it, without the peer itself."""
        return [member for field in forwarding if field.name == b"x-forwarded-for" for member in members(field.value)]

    def _client(self, real_ip: bytes, chain: list[bytes]) -> bytes:
        """From the right of the chain, the first address that no trusted proxy has: those before it are claims.

        X-Real-IP counts only where there is no chain, since proxies that add to a chain often let it through unchanged.
        """
        if not chain and _address(real_ip) is not None:
            return real_ip
        nearest = self.ip.encode()
        for member in reversed(chain):
            address = _address(member)
            if address is None:
                break
            nearest = member
            if not _is_within(address, self._networks):
                break
        return nearest


def _given(forwarding: list[Field], name: bytes) -> bytes:
    """The field's value where it came once, otherwise nothing: of two claims neither is better."""
    values = [field.value for field in forwarding if field.name == name]
    return values[0] if len(values) == 1 else b""


def _address(text: bytes) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text.decode("ascii"))
    except ValueError:
        return None


def _is_within(address: IPv4Address | IPv6Address, networks: Networks) -> bool:
    return any(address in network for network in networks)


def _is_authority(text: bytes) -> bool:
    try:
        return parse_authority(text) != b""
    except HeadError:
        return False


def _lines(chain: bytes, client: bytes, proto: bytes, port: bytes, host: bytes) -> bytes:
    lines = (b"X-Forwarded-For: %b\r\nX-Real-IP: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Port: %b\r\n") % (
        chain,
        client,
        proto,
        port,
    )
    return lines + b"X-Forwarded-Host: %b\r\n" % host if host else lines  # HTTP/1.0 need not name one
