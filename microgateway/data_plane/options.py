"""The numbers that the data plane obeys, each with its unit. The composition root fills them in from the settings."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Durations are seconds, sizes are bytes. `max_body_bytes` 0: no limit. `trace_ratio` None: no tracing.

    `api_key_header` is the name of a header field. `tls_cert` none: clients speak without TLS. `tls_key` none, or a
    None in it: the key is in the certificate's file.
    """

    client_header_timeout: float = 10.0
    client_body_timeout: float = 30.0
    client_idle_timeout: float = 75.0
    client_max_connections: int = 20_000
    client_max_requests: int = 1_000_000
    max_request_line: int = 8_192
    max_header_bytes: int = 32_768
    max_header_fields: int = 100
    max_body_bytes: int = 0
    upstream_connect_timeout: float = 5.0
    upstream_read_timeout: float = 30.0
    upstream_idle_timeout: float = 60.0
    upstream_max_connections: int = 1_024
    trace_ratio: float | None = None
    dns_ttl: float = 30.0
    tls_cert: tuple[Path, ...] = ()
    tls_key: tuple[Path | None, ...] = ()
    api_key_header: str = "X-API-Key"
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
