"""Every exchange is of exactly one outcome."""

import pytest

from microgateway.exchange import CLIENT_CLOSED_REQUEST
from microgateway.observability.outcomes import OUTCOMES, outcome_of


@pytest.mark.parametrize(
    ("status", "stage", "outcome"),
    [
        (101, "", "success"),
        (200, "", "success"),
        (304, "", "redirect"),
        (404, "", "client_error"),
        (404, "router", "client_error"),
        (401, "auth", "refused"),
        (403, "auth", "refused"),
        (401, "", "client_error"),  # the service's own refusal is its own affair
        (429, "rate_limit", "limited"),
        (429, "", "client_error"),
        (400, "parse", "client_error"),
        (500, "", "upstream_error"),
        (503, "", "upstream_error"),
        (502, "proxy", "gateway_error"),
        (503, "circuit_breaker", "gateway_error"),
        (504, "proxy", "gateway_error"),
        (CLIENT_CLOSED_REQUEST, "", "client_closed"),
    ],
)
def test_outcomes(status: int, stage: str, outcome: str) -> None:
    assert OUTCOMES[outcome_of(status, stage)] == outcome
