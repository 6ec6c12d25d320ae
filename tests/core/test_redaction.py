"""Secrets in queries are taken out; everything else stays as it came."""

import pytest

from microgateway.core.redaction import redacted_query


@pytest.mark.parametrize(
    "name",
    [
        "token",
        "access_token",
        "ID_TOKEN",
        "api_key",
        "apiKey",
        "X-Api-Key",
        "key",
        "password",
        "new_password",
        "client_secret",
        "signature",
        "X-Amz-Signature",
        "X-Amz-Security-Token",
        "code",
        "sig",
        "to%6ben",
        "%70assword",
    ],
)
def test_a_secret_s_value_is_hidden(name: str) -> None:
    assert redacted_query(f"?a=1&{name}=hush%20hush&b=2") == f"?a=1&{name}=***&b=2"
    assert redacted_query(f"?{name}=hush") == f"?{name}=***"
    assert redacted_query(f"{name}=hush") == f"{name}=***"


@pytest.mark.parametrize(
    "query",
    ["", "?", "?page=2", "?keyword=a", "?monkey=1&codec=mp3", "?token", "?token=", "?a=b=c&d", "page=1", "?&&=&"],
)
def test_what_is_no_secret_stays_as_it_came(query: str) -> None:
    assert redacted_query(query) == query


def test_every_occurrence_is_hidden() -> None:
    assert redacted_query("?token=1&token=2;password=3=4") == "?token=***&token=***;password=***"
