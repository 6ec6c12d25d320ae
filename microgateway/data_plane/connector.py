"""How a connection to an upstream is made: its name resolved, its addresses tried in order, TLS spoken where it is due.

Foreign errors are translated here: what leaves is `NameNotResolvedError`, `TlsFailedError`, or an `OSError` for an
upstream that can't be reached.
"""

import asyncio
import ssl
from collections.abc import Callable

from microgateway.core.base_urls import BaseUrl
from microgateway.data_plane.check_connection import CheckConnection
from microgateway.data_plane.resolver import LookUp, Resolver
from microgateway.data_plane.tls import ClientContexts, TlsFileError
from microgateway.data_plane.upstream import UpstreamConnection
from microgateway.errors import MicroGatewayError
from microgateway.snapshot import UpstreamTls

Outbound = UpstreamConnection | CheckConnection
Factory = Callable[[], Outbound]


class TlsFailedError(MicroGatewayError):
    """TLS with the upstream did not come about, or the upstream is not who it should be."""


class Connector:
    """`timeout` is seconds. One address may take that long; where there are more they share it, so that each has its
    turn before the request's own limit is reached.
    """

    def __init__(
        self, *, now: Callable[[], float], dns_ttl: float, timeout: float, look_up: LookUp | None = None
    ) -> None:
        self.resolver = Resolver(now=now, ttl=dns_ttl, look_up=look_up)
        self.contexts = ClientContexts()
        self._timeout = timeout

    async def connect(self, url: BaseUrl, tls: UpstreamTls | None, factory: Factory) -> None:
        """Makes one connection; `factory` is called for every address that is tried."""
        try:
            context = None if tls is None else await self.contexts.of(tls)
            await self._try_addresses(url, tls, context, factory)
        except (ssl.SSLError, ssl.CertificateError, TlsFileError) as error:
            raise TlsFailedError(_reason(error)) from None
        except (ConnectionResetError, ConnectionAbortedError) as error:
            if tls is None:
                raise
            raise TlsFailedError(f"the handshake was cut off ({_reason(error)})") from None

    async def _try_addresses(
        self,
        url: BaseUrl,
        tls: UpstreamTls | None,
        context: ssl.SSLContext | None,
        factory: Factory,
    ) -> None:
        """What was refused or does not answer is passed over; who answers and can't be trusted ends it."""
        loop = asyncio.get_running_loop()
        name = None if tls is None else tls.server_name or url.host.rstrip(".")
        addresses = await self.resolver.resolve(url.host)
        for position, address in enumerate(addresses, 1):
            connection: Outbound | None = None

            def make() -> Outbound:
                nonlocal connection
                connection = factory()
                return connection

            try:
                async with asyncio.timeout(self._timeout / len(addresses) if len(addresses) > 1 else None):
                    await loop.create_connection(make, address, url.port, ssl=context, server_hostname=name)
            except ssl.SSLError:
                raise
            except OSError:  # TimeoutError is one
                if position == len(addresses) or (connection is not None and connection.was_made):
                    raise
            else:
                return


def _reason(error: Exception) -> str:
    """One line of what OpenSSL or the loop says."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return (error.reason if isinstance(error, ssl.SSLError) else None) or str(error) or type(error).__name__
