"""Whether a request's trace is kept, and its span's place in it (W3C Trace Context, level 1). Only where tracing is on.

Spans are made later, from the exchange, by whoever writes it down. Here is only what the service must be told: that its
parent is the gateway, and whether to keep the trace. A client that says decides that; of other traces a share is kept.
"""

from random import Random

from microgateway.exchange import Exchange

TRACE_ID = slice(3, 35)  # within a traceparent: version, trace, parent's span, flags
PARENT = slice(36, 52)
FLAGS = slice(53, 55)
SAMPLED = 1


class Tracer:
    """`ratio`, between 0 and 1: how many of the traces that begin here are kept."""

    __slots__ = ("_random", "_ratio")

    def __init__(self, ratio: float, random: Random) -> None:
        self._ratio = ratio
        self._random = random

    def begin(self, exchange: Exchange, parent: bytes | None) -> None:
        """Makes the exchange's traceparent the gateway's own; `parent` is the client's, None where it sent none.

        Without one the exchange has a new trace already, whose span is ours and which is not sampled.
        """
        if parent is None:
            if self._random.random() < self._ratio:
                exchange.traceparent = exchange.traceparent[: FLAGS.start] + b"01"
            return
        exchange.parent_span = parent[PARENT]
        flags = int(parent[FLAGS], 16) & SAMPLED
        span = self._random.getrandbits(64) or 1
        exchange.traceparent = b"00-%b-%016x-%02x" % (parent[TRACE_ID], span, flags)
