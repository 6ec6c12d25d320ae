"""What a consistent hash tells requests apart by."""

from microgateway.core.requests import RequestHead
from microgateway.exchange import Exchange
from microgateway.snapshot import Upstream


def balancing_key(upstream: Upstream, head: RequestHead, exchange: Exchange) -> bytes:
    """The same for requests that shall meet the same target; empty where that does not matter.

    Without the header that is hashed, or without a key on a public route, the client's address takes its place.
    """
    if upstream.load_balancing != "consistent_hash":
        return b""
    if upstream.hash_on == "key":
        if exchange.principal is not None:
            return exchange.principal.id.encode()
    elif upstream.hash_on == "header":
        value = head.header(upstream.hash_header)
        if value is not None:
            return value
    return exchange.client_ip.encode()
