"""Ids of requests and of traces, of which every request needs some and none may cost much."""

from binascii import hexlify
from collections.abc import Iterator
from random import Random

from microgateway.core.requests import RequestHead

_AT_ONCE = 128  # ids made at a time: one of them costs a third then
_OCTETS = 16  # of an id, which has 128 bits


def request_ids(random: Random) -> Iterator[bytes]:
    """Ids without end, each of 32 hexadecimal digits."""
    while True:
        digits = hexlify(random.randbytes(_AT_ONCE * _OCTETS))
        for start in range(0, len(digits), 2 * _OCTETS):
            yield digits[start : start + 2 * _OCTETS]


def identify(head: RequestHead, ids: Iterator[bytes]) -> tuple[bytes, bytes]:
    """The request's id and its W3C traceparent: the client's where they are sane, otherwise new ones.

    A new trace is not sampled, and has the new request id for its own.
    """
    if head.traceparent is not None:
        return head.request_id or next(ids), head.traceparent
    trace_id = next(ids)
    return head.request_id or trace_id, b"00-%b-%b-00" % (trace_id, next(ids)[:16])
