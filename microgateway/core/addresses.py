"""Which client addresses may use a route."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class AddressList:
    """`denied` wins over `allowed`; an empty `allowed` lets everybody else pass."""

    allowed: tuple[Network, ...] = ()
    denied: tuple[Network, ...] = ()

    def admits(self, client: str) -> bool:
        """Whether this address may pass. What is no address may not: nobody can tell where it belongs."""
        try:
            address = unmapped(ip_address(client))
        except ValueError:
            return False
        if any(address in network for network in self.denied):
            return False
        return not self.allowed or any(address in network for network in self.allowed)


EVERYBODY = AddressList()


def unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """An IPv4 address that a socket for both families writes as an IPv6 one (RFC 4291, 2.5.5.2), as itself."""
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks, or single addresses. Raises `ValueError`, also for a network with bits set beside its mask."""
    return tuple(ip_network(text) for text in texts)
