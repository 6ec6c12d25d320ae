"""Which addresses a route is open to."""

import pytest

from microgateway.core.addresses import AddressList, networks


@pytest.mark.parametrize(
    ("allowed", "denied", "client", "admitted"),
    [
        ([], [], "192.0.2.1", True),
        (["10.0.0.0/8"], [], "10.1.2.3", True),
        (["10.0.0.0/8"], [], "11.1.2.3", False),
        ([], ["10.0.0.0/8"], "10.1.2.3", False),
        ([], ["10.0.0.0/8"], "11.1.2.3", True),
        (["10.0.0.0/8"], ["10.1.0.0/16"], "10.1.2.3", False),
        (["10.0.0.0/8"], ["10.1.0.0/16"], "10.2.2.3", True),
        (["10.1.2.3"], ["10.0.0.0/8"], "10.1.2.3", False),
        (["10.1.2.3"], [], "::ffff:10.1.2.3", True),
        (["2001:db8::/32"], [], "2001:db8::1", True),
        (["2001:db8::/32"], [], "10.1.2.3", False),
        ([], [], "unknown", False),
    ],
)
def test_deny_wins_and_allow_leaves_out_the_rest(
    allowed: list[str], denied: list[str], client: str, admitted: bool
) -> None:
    assert AddressList(networks(allowed), networks(denied)).admits(client) is admitted
