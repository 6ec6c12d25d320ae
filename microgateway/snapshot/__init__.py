"""What the control plane tells the data plane: the configuration, compiled, immutable, swapped whole.

A snapshot is made from the one before it by replacing the parts that changed, so that a change to one key among 100 000
does not compile 10 000 routes again. A request holds the snapshot that it began with.
"""

from microgateway.snapshot.destinations import Destination, Rules
from microgateway.snapshot.key_ring import KeyChange, KeyRing
from microgateway.snapshot.principals import Issuer, Principal
from microgateway.snapshot.snapshot import Snapshot
from microgateway.snapshot.upstreams import Address, Endpoint, Target, Upstream, UpstreamTls

__all__ = [
    "Address",
    "Destination",
    "Endpoint",
    "Issuer",
    "KeyChange",
    "KeyRing",
    "Principal",
    "Rules",
    "Snapshot",
    "Target",
    "Upstream",
    "UpstreamTls",
]
