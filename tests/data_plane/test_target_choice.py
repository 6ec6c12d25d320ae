"""What a request is told apart by, so that the same client meets the same target."""

import pytest

from fuzzing.configuration import service
from microgateway.core.circuit import CircuitPolicy
from microgateway.core.field_sections import read_section, request_fields
from microgateway.core.requests import read_request
from microgateway.data_plane.problems import UPSTREAM_LOST
from microgateway.data_plane.target_choice import balancing_key
from microgateway.exchange import Exchange, Judgement
from microgateway.snapshot import Snapshot
from tests.kit.configuration import key

TENANT, ADDRESS, KEY = b"X-Tenant: acme", b"192.0.2.1", b"mobile"


@pytest.mark.parametrize(
    ("balancing", "hash_on", "line", "is_known", "told"),
    [
        ("round_robin", "address", TENANT, True, b""),
        ("consistent_hash", "address", TENANT, True, ADDRESS),
        ("consistent_hash", "key", TENANT, True, KEY),
        ("consistent_hash", "key", TENANT, False, ADDRESS),
        ("consistent_hash", "header", TENANT, True, b"acme"),
        ("consistent_hash", "header", b"X-Other: acme", True, ADDRESS),
    ],
)
def test_a_request_is_told_apart_by(balancing: str, hash_on: str, line: bytes, is_known: bool, told: bytes) -> None:
    of_service = service("plain", load_balancing=balancing, hash_on=hash_on, hash_header="X-Tenant")
    snapshot = Snapshot().with_keys([key("mobile").entity]).with_table([of_service], [], CircuitPolicy())
    exchange = Exchange(b"GET", b"/", ADDRESS.decode(), 0.0, 0.0)
    exchange.judgement = Judgement(UPSTREAM_LOST, snapshot.keys.of_id("mobile") if is_known else None)
    head = read_request(b"GET / HTTP/1.1", read_section([b"Host: a", line], request_fields(), {}))
    assert balancing_key(snapshot.upstreams["plain"], head, exchange) == told
