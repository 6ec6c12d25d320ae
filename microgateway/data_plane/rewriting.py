"""The head that goes to the upstream: the client's, with our Host, our forwarding fields and our framing."""

from microgateway.core.field_sections import CHUNKED, NO_BODY
from microgateway.core.fields import Field
from microgateway.core.requests import METHODS_THAT_COUNT_HOPS, RequestHead
from microgateway.data_plane.peer import Peer
from microgateway.exchange import Exchange
from microgateway.snapshot import Destination, Target
from microgateway.tokens.signing import is_issued_here

VIA_1_1 = b"Via: 1.1 microgateway\r\n"
SWITCH = b"Connection: Upgrade\r\nUpgrade: websocket"
VIA_1_0 = b"Via: 1.0 microgateway\r\n"
_METHODS_WITH_BODY = frozenset((b"POST", b"PUT", b"PATCH"))  # RFC 9110, 8.6: these say that there is no body


def upstream_head(lines: bytes, exchange: Exchange) -> bytes:
    """The complete head, empty line included: the lasting lines, and the ids of this request."""
    return b"%bX-Request-Id: %b\r\ntraceparent: %b\r\n\r\n" % (lines, exchange.request_id, exchange.traceparent)


def lasting_lines(head: RequestHead, destination: Destination, target: Target, peer: Peer) -> bytes:
    """The head behind the request's path and query, where that is the same for all that have these fields."""
    section, alteration = head.section, destination.alteration
    authority = head.authority or b""
    return b" HTTP/1.1\r\n%b%b%b%b%b%b" % (
        b"Host: %b\r\n" % authority if destination.upstream.preserve_host and authority else target.host_field,
        section.passed_on if alteration is None else alteration.fields(section),
        _extras(head, destination) if section.has_extras or destination.forward_credentials else b"",
        b"" if section.body == NO_BODY and head.method not in _METHODS_WITH_BODY else _framing(section.body),
        peer.lines_for(section.forwarding, authority),
        VIA_1_1 if head.minor_version else VIA_1_0,
    )


def _extras(head: RequestHead, destination: Destination) -> bytes:
    """The lines that go on only sometimes, or changed."""
    section = head.section
    credentials = section.authorization or ()
    if destination.forward_credentials:
        lines = [field.line for field in credentials]
        if section.api_key_line is not None:
            lines.append(section.api_key_line)
    else:
        lines = [field.line for field in credentials if not _is_ours(field)]
    if section.max_forwards is not None:
        counts = head.method in METHODS_THAT_COUNT_HOPS
        lines.append(b"Max-Forwards: %d" % (section.max_forwards - 1 if counts else section.max_forwards))
    if head.asks_for_websocket():
        lines.append(SWITCH)
    return b"\r\n".join([*lines, b""])


def _is_ours(authorization: Field) -> bool:
    """Whether this is a token that the gateway has issued, or that pretends to be one: it is for us, as a key is."""
    if authorization.parsed is None:
        authorization.parsed = is_issued_here(authorization.value)
    return bool(authorization.parsed)


def _framing(body: int) -> bytes:
    return b"Transfer-Encoding: chunked\r\n" if body == CHUNKED else b"Content-Length: %d\r\n" % body
