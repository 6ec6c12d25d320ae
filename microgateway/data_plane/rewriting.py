"""The head that goes to the upstream: the client's, with our Host, our forwarding fields and our framing."""

from binascii import hexlify
from ipaddress import IPv4Network, IPv6Network, ip_address
from random import Random

from microgateway.core.fields import Field
from microgateway.core.requests import CHUNKED, NO_BODY, FieldSection, RequestHead
from microgateway.exchange import Exchange
from microgateway.snapshot import Destination, Target

_METHODS_WITH_BODY = frozenset((b"POST", b"PUT", b"PATCH"))  # RFC 9110, 8.6: these say that there is no body


class Peer:
    """Who is at the other end of a client connection, and what we tell upstreams of it."""

    __slots__ = ("_fields", "_last_authority", "_last_lines", "_port", "_proto", "ip", "trusted")

    def __init__(
        self, ip: str, port: int, *, secure: bool, trusted_networks: tuple[IPv4Network | IPv6Network, ...]
    ) -> None:
        self.ip = ip
        self._port = b"%d" % port
        self._proto = b"https" if secure else b"http"
        self.trusted = bool(trusted_networks) and any(ip_address(ip) in network for network in trusted_networks)
        self._fields = self._lines(ip.encode(), ip.encode(), self._proto, self._port)
        self._last_authority = b""
        self._last_lines = self._fields + b"X-Forwarded-Host: \r\n"

    def lines_for(self, forwarding: list[Field] | None, authority: bytes) -> bytes:
        """The forwarding fields of one request. Those that came with it count only from a trusted network."""
        if forwarding is not None and self.trusted:
            return self._lines_after(forwarding, authority)
        if authority != self._last_authority:
            self._last_authority = authority
            self._last_lines = b"%bX-Forwarded-Host: %b\r\n" % (self._fields, authority)
        return self._last_lines

    def _lines_after(self, forwarding: list[Field], authority: bytes) -> bytes:
        given = {field.name: [other.value for other in forwarding if other.name == field.name] for field in forwarding}
        chain = b", ".join([*given.get(b"x-forwarded-for", ()), self.ip.encode()])
        client = given.get(b"x-real-ip", [chain.partition(b",")[0]])[0]
        proto = given.get(b"x-forwarded-proto", [self._proto])[0]
        port = given.get(b"x-forwarded-port", [self._port])[0]
        host = given.get(b"x-forwarded-host", [authority])[0]
        return b"%bX-Forwarded-Host: %b\r\n" % (self._lines(chain, client, proto, port), host)

    @staticmethod
    def _lines(chain: bytes, client: bytes, proto: bytes, port: bytes) -> bytes:
        return (
            b"X-Forwarded-For: %b\r\nX-Real-IP: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Port: %b\r\n"
            b"Via: 1.1 microgateway\r\n" % (chain, client, proto, port)
        )


def upstream_head(head: RequestHead, destination: Destination, target: Target, peer: Peer, exchange: Exchange) -> bytes:
    """The complete head, empty line included."""
    section = head.section
    authority = head.authority or b""
    return b"%b %b%b%b HTTP/1.1\r\n%b%b%b%b%bX-Request-Id: %b\r\ntraceparent: %b\r\n\r\n" % (
        head.method,
        target.path,
        strip(head.path, destination.strips) if destination.strips else head.path,
        head.query,
        b"Host: %b\r\n" % authority if destination.upstream.preserve_host else target.host_field,
        section.passed_on,
        b""
        if section.authorization is None and not destination.forward_credentials
        else _credentials(section, destination),
        b"" if section.body == NO_BODY and head.method not in _METHODS_WITH_BODY else _framing(section.body),
        peer.lines_for(section.forwarding, authority),
        exchange.request_id,
        exchange.traceparent,
    )


def strip(path: bytes, segments: int) -> bytes:
    """The path without its first segments: always absolute, so `/a` without `/a` is `/`."""
    rest = path.split(b"/", segments + 1)
    return b"/" + rest[-1] if len(rest) > segments + 1 else b"/"


def _credentials(section: FieldSection, destination: Destination) -> bytes:
    lines = [field.line for field in section.authorization or ()]
    if destination.forward_credentials and section.api_key is not None:
        lines.append(b"X-API-Key: %b" % section.api_key)
    return b"\r\n".join([*lines, b""])


def _framing(body: int) -> bytes:
    return b"Transfer-Encoding: chunked\r\n" if body == CHUNKED else b"Content-Length: %d\r\n" % body


def identify(section: FieldSection, random: Random) -> tuple[bytes, bytes]:
    """The request's id and its W3C traceparent: the client's where they are sane, otherwise new ones.

    A new trace is not sampled, and has the new request id for its own.
    """
    digits = hexlify(random.getrandbits(192).to_bytes(24, "big"))  # 128 bits of trace, 64 of span
    traceparent = section.traceparent or b"00-%b-%b-00" % (digits[:32], digits[32:])
    return section.request_id or digits[:32], traceparent
