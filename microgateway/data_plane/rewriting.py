"""The head that goes to the upstream: the client's, with our Host, our forwarding fields and our framing."""

import re
from ipaddress import IPv4Network, IPv6Network, ip_address
from random import Random

from microgateway.core.fields import Field
from microgateway.core.requests import CHUNKED, NO_BODY, RequestHead
from microgateway.exchange import Exchange
from microgateway.snapshot import Destination, Target

_TRACE_ID = re.compile(rb"(?!0{32})[0-9a-f]{32}\Z")
_METHODS_WITH_BODY = frozenset((b"POST", b"PUT", b"PATCH"))  # RFC 9110, 8.6: these say that there is no body


class Peer:
    """Who is at the other end of a client connection, and what we tell upstreams of it. `fields` are complete lines."""

    __slots__ = ("_proto", "fields", "ip", "port", "trusted")

    def __init__(self, ip: str, port: int, *, secure: bool, trusted_networks: tuple[IPv4Network | IPv6Network, ...]) -> None:
        self.ip = ip
        self.port = b"%d" % port
        self._proto = b"https" if secure else b"http"
        self.trusted = bool(trusted_networks) and any(ip_address(ip) in network for network in trusted_networks)
        self.fields = self._lines(ip.encode(), ip.encode(), self._proto, self.port)

    def lines_for(self, forwarding: list[Field] | None, authority: bytes) -> bytes:
        """The forwarding fields of one request. Those that came with it count only from a trusted network."""
        if forwarding is None or not self.trusted:
            return b"%bX-Forwarded-Host: %b\r\n" % (self.fields, authority)
        given = {name: [field.value for field in forwarding if field.name == name] for name in {f.name for f in forwarding}}
        chain = b", ".join([*given.get(b"x-forwarded-for", ()), self.ip.encode()])
        client = given.get(b"x-real-ip", [chain.partition(b",")[0]])[0]
        proto = given.get(b"x-forwarded-proto", [self._proto])[0]
        port = given.get(b"x-forwarded-port", [self.port])[0]
        host = given.get(b"x-forwarded-host", [authority])[0]
        return b"%bX-Forwarded-Host: %b\r\n" % (self._lines(chain, client, proto, port), host)

    @staticmethod
    def _lines(chain: bytes, client: bytes, proto: bytes, port: bytes) -> bytes:
        return (
            b"X-Forwarded-For: %b\r\nX-Real-IP: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Port: %b\r\n"
            b"Via: 1.1 microgateway\r\n" % (chain, client, proto, port)
        )


def upstream_head(
    head: RequestHead, destination: Destination, target: Target, peer: Peer, exchange: Exchange, random: Random
) -> bytes:
    """The complete head, empty line included."""
    path = strip(head.path, destination.strips) if destination.strips else head.path
    lines = [
        b"%b %b%b%b HTTP/1.1" % (head.method, target.path, path, head.query),
        b"Host: %b" % (head.authority or b"") if destination.upstream.preserve_host else target.host_field,
    ]
    lines += head.fields
    if head.authorization is not None or destination.forward_credentials:
        lines += _credentials(head, destination)
    framing = b"" if head.body == NO_BODY and head.method not in _METHODS_WITH_BODY else _framing(head.body)
    request_id = exchange.request_id
    trace = head.traceparent or _new_trace(request_id, random)
    lines.append(
        b"%b%bX-Request-Id: %b\r\ntraceparent: %b\r\n\r\n"
        % (framing, peer.lines_for(head.forwarding, head.authority or b""), request_id, trace)
    )
    return b"\r\n".join(lines)


def strip(path: bytes, segments: int) -> bytes:
    """The path without its first segments: always absolute, so `/a` without `/a` is `/`."""
    rest = path.split(b"/", segments + 1)
    return b"/" + rest[-1] if len(rest) > segments + 1 else b"/"


def _credentials(head: RequestHead, destination: Destination) -> list[bytes]:
    lines = [field.line for field in head.authorization or ()]
    if destination.forward_credentials and head.api_key is not None:
        lines.append(b"X-API-Key: %b" % head.api_key)
    return lines


def _framing(body: int) -> bytes:
    return b"Transfer-Encoding: chunked\r\n" if body == CHUNKED else b"Content-Length: %d\r\n" % body


def _new_trace(request_id: bytes, random: Random) -> bytes:
    """A W3C trace that begins here, not sampled. Its id is the request's where that has the form of one."""
    trace_id = request_id if _TRACE_ID.match(request_id) else b"%032x" % random.getrandbits(128)
    return b"00-%b-%016x-00" % (trace_id, random.getrandbits(64) or 1)
