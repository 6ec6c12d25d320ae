"""How a client on this machine reaches what listens on a host of the settings."""

_ALL = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104  `::` is IPv6 alone, as in nginx


def reachable(host: str) -> str:
    """The host of a URL: an address of this machine for one that means all of them, IPv6 in brackets."""
    return _ALL.get(host) or (f"[{host}]" if ":" in host else host)
