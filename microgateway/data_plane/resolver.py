"""The names of upstreams: looked up off the loop, one look-up at a time for each, and remembered for a while.

What was found is good for the DNS TTL of the settings, a failure for one second, so that a name that does not resolve
costs its clients an answer and the name server nothing. The addresses that a name had last are known even when they are
old: whoever holds open connections to them asks for a fresh look, and goes on meanwhile.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import ip_address

from microgateway.errors import MicroGatewayError

FAILURE_TTL = 1.0  # seconds

LookUp = Callable[[str], Awaitable[Sequence[str]]]


class NameNotResolvedError(MicroGatewayError):
    """There is no address for this name, or nobody to ask for it."""


class _Name:
    """What is known of one name. `until` is when to look again, in monotonic seconds."""

    __slots__ = ("addresses", "failure", "looking", "until")

    def __init__(self) -> None:
        self.addresses: tuple[str, ...] = ()
        self.failure = ""
        self.until = 0.0
        self.looking: asyncio.Task[None] | None = None


class Resolver:
    """Addresses by name. `ttl` is seconds; `look_up` answers a name's addresses in the order in which to try them."""

    def __init__(self, *, now: Callable[[], float], ttl: float, look_up: LookUp | None = None) -> None:
        self._now = now
        self._ttl = ttl
        self._look_up = look_up or _ask_the_system
        self._names: dict[str, _Name] = {}

    async def resolve(self, host: str) -> tuple[str, ...]:
        """At least one address. Raises `NameNotResolvedError`."""
        if is_address(host):
            return (host,)
        name = self._names.setdefault(host, _Name())
        if name.until <= self._now():
            await asyncio.shield(self._look(host, name))  # others wait for it too
        if name.failure:
            raise NameNotResolvedError(f"{host!r} can't be resolved: {name.failure}")
        return name.addresses

    def known(self, host: str) -> tuple[str, ...]:
        """What the name resolved to when it last did, nothing if it never has. What is old is looked up again."""
        name = self._names.get(host)
        if name is None:
            return ()
        if name.until <= self._now():
            self._look(host, name)
        return name.addresses

    def keep_only(self, hosts: Iterable[str]) -> None:
        """Forgets the names that nobody can ask for any more."""
        wanted = frozenset(hosts)
        for host in [host for host, name in self._names.items() if host not in wanted and name.looking is None]:
            del self._names[host]

    def close(self) -> None:
        for name in self._names.values():
            if name.looking is not None:
                name.looking.cancel()

    def _look(self, host: str, name: _Name) -> asyncio.Task[None]:
        if name.looking is None:
            name.looking = asyncio.get_running_loop().create_task(self._find(host, name))
        return name.looking

    async def _find(self, host: str, name: _Name) -> None:
        try:
            addresses = tuple(await self._look_up(host))
        except (OSError, UnicodeError) as error:  # UnicodeError: what can't be a name in the DNS
            addresses, name.failure = (), str(error) or type(error).__name__
        else:
            name.failure = "" if addresses else "it has no address"
        finally:
            name.looking = None
        name.addresses = addresses or name.addresses
        name.until = self._now() + (FAILURE_TTL if name.failure else self._ttl)


def is_address(host: str) -> bool:
    """Whether this is an address itself, so that there is nothing to look up."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


async def _ask_the_system(host: str) -> Sequence[str]:
    """In a thread: the system's resolver, with its hosts file and its order of addresses (RFC 6724)."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
