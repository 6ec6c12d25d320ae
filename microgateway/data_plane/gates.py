"""What stands before a route besides keys, limits and circuits: its address lists, and its answers to browsers."""

from microgateway.core.cors import ORIGIN
from microgateway.core.requests import RequestHead
from microgateway.exchange import Judgement, Problem, preflight_answer
from microgateway.route_policy import Gate
from microgateway.snapshot import CompiledRoute, Snapshot

ADDRESS_NOT_ALLOWED = Problem(
    403, "Forbidden", "address_not_allowed", "router", "This route is not open to the address that you come from."
)


def stopped_at(gate: Gate, head: RequestHead, client_ip: str) -> Problem | None:
    """The answer to a request that does not get past the gate, or None."""
    if not gate.addresses.admits(client_ip):
        return ADDRESS_NOT_ALLOWED
    if gate.preflight is not None:
        return preflight_answer(gate.preflight.fields(head.header(ORIGIN), of_preflight=True))
    return None


def cors_fields(head: RequestHead, judgement: Judgement | None, snapshot: Snapshot) -> bytes:
    """The lines with which a page may read an answer of the gateway's own, each with its line end.

    A judgement that names no destination may have one all the same: of a request without a key it was not said. To tell
    a page is no more than its browser was told by the preflight.
    """
    if judgement is None or not snapshot.cors_routes:
        return b""
    destination: object = judgement.destination
    if destination is None:
        destination = snapshot.routes.match(head.method, head.host, head.path, head)
    if not isinstance(destination, CompiledRoute) or destination.cors is None:
        return b""
    return destination.cors.fields(head.header(ORIGIN))
