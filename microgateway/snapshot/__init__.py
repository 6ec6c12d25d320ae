"""What the control plane tells the data plane: the configuration, compiled, immutable, swapped whole.

A snapshot is made from the one before it by a change, which costs what has changed: the rest is shared by both. A
request holds the snapshot that it began with.
"""

from microgateway.snapshot.changes import SnapshotChange, change_of_rate_limit, change_of_route, change_of_service
from microgateway.snapshot.destinations import CompiledRoute, Destination, Destinations
from microgateway.snapshot.key_ring import KeyChange, KeyRing
from microgateway.snapshot.principals import Issuer, Principal
from microgateway.snapshot.rules import Rules
from microgateway.snapshot.snapshot import Snapshot
from microgateway.snapshot.upstreams import Address, Endpoint, Target, Upstream, UpstreamTls

__all__ = [
    "Address",
    "CompiledRoute",
    "Destination",
    "Destinations",
    "Endpoint",
    "Issuer",
    "KeyChange",
    "KeyRing",
    "Principal",
    "Rules",
    "Snapshot",
    "SnapshotChange",
    "Target",
    "Upstream",
    "UpstreamTls",
    "change_of_rate_limit",
    "change_of_route",
    "change_of_service",
]
