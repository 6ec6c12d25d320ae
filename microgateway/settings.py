"""Every environment variable: typed, frozen, read once. Only the composition roots see this module."""

import os
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from io import StringIO
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Self

from dotenv.parser import parse_stream
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from microgateway.errors import StartupError

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Port = Annotated[int, Field(ge=0, le=65_535)]

DEV_SECRET = "dev-secret"  # noqa: S105  refused outside debug; named so that the refusal can say so
SHORTEST_JWT_SECRET = 32
PREFIX = "MICROGATEWAY_"
ENV_FILE = f"{PREFIX}ENV_FILE"
NEARLY = 0.75  # how alike two names are of which one is the other misspelt


class Settings(BaseSettings):
    """What the environment says. A field's alias is the variable's name; durations are seconds, sizes are bytes.

    An empty variable is one that is not set, as it is where a template had nothing to fill in.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True, env_ignore_empty=True)

    port: Port = Field(8017, alias="MICROGATEWAY_PORT")
    host: str = Field("127.0.0.1", alias="MICROGATEWAY_HOST")
    proxy_port: Port = Field(8080, alias="MICROGATEWAY_PROXY_PORT")
    proxy_host: str = Field("0.0.0.0", alias="MICROGATEWAY_PROXY_HOST")  # noqa: S104  a gateway is there to be reached
    debug: bool = Field(False, alias="MICROGATEWAY_DEBUG")
    data_dir: Path = Field(Path("data"), alias="MICROGATEWAY_DATA_DIR")
    admin_token: str | None = Field(None, alias="MICROGATEWAY_ADMIN_TOKEN", min_length=8, repr=False)
    seed: Path | None = Field(None, alias="MICROGATEWAY_SEED")
    database_url: str | None = Field(None, alias="DATABASE_URL", repr=False)
    redis_url: str | None = Field(None, alias="REDIS_URL", repr=False)
    jwt_secret: str | None = Field(None, alias="JWT_SECRET", repr=False)
    api_key_header: Annotated[str, Field(min_length=1, max_length=64)] = Field(
        "X-API-Key", alias="MICROGATEWAY_API_KEY_HEADER"
    )
    jwt_expiry_minutes: Annotated[int, Field(ge=1, le=525_600)] = Field(60, alias="JWT_EXPIRY_MINUTES")

    client_header_timeout: Seconds = Field(10.0, alias="MICROGATEWAY_CLIENT_HEADER_TIMEOUT")
    client_body_timeout: Seconds = Field(30.0, alias="MICROGATEWAY_CLIENT_BODY_TIMEOUT")
    client_idle_timeout: Seconds = Field(75.0, alias="MICROGATEWAY_CLIENT_IDLE_TIMEOUT")
    client_max_connections: Annotated[int, Field(ge=1)] = Field(20_000, alias="MICROGATEWAY_CLIENT_MAX_CONNECTIONS")
    client_max_requests: Annotated[int, Field(ge=1)] = Field(1_000_000, alias="MICROGATEWAY_CLIENT_MAX_REQUESTS")
    max_request_line: Annotated[int, Field(ge=64, le=1_048_576)] = Field(8_192, alias="MICROGATEWAY_MAX_REQUEST_LINE")
    max_header_bytes: Annotated[int, Field(ge=256, le=1_048_576)] = Field(32_768, alias="MICROGATEWAY_MAX_HEADER_BYTES")
    max_header_fields: Annotated[int, Field(ge=4, le=10_000)] = Field(100, alias="MICROGATEWAY_MAX_HEADER_FIELDS")
    max_body_bytes: Annotated[int, Field(ge=0)] = Field(0, alias="MICROGATEWAY_MAX_BODY_BYTES")
    upstream_connect_timeout: Seconds = Field(5.0, alias="MICROGATEWAY_UPSTREAM_CONNECT_TIMEOUT")
    upstream_read_timeout: Seconds = Field(30.0, alias="MICROGATEWAY_UPSTREAM_READ_TIMEOUT")
    upstream_idle_timeout: Seconds = Field(60.0, alias="MICROGATEWAY_UPSTREAM_IDLE_TIMEOUT")
    upstream_max_connections: Annotated[int, Field(ge=1)] = Field(1_024, alias="MICROGATEWAY_UPSTREAM_MAX_CONNECTIONS")
    health_checks: bool = Field(True, alias="MICROGATEWAY_HEALTH_CHECKS")
    drain_timeout: Seconds = Field(30.0, alias="MICROGATEWAY_DRAIN_TIMEOUT")
    dns_ttl: Seconds = Field(30.0, alias="MICROGATEWAY_DNS_TTL")
    tls_cert: Annotated[tuple[Path, ...], NoDecode] = Field((), alias="MICROGATEWAY_TLS_CERT")
    tls_key: Annotated[tuple[Path | None, ...], NoDecode] = Field((), alias="MICROGATEWAY_TLS_KEY")
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        (), alias="MICROGATEWAY_TRUSTED_PROXIES"
    )

    request_log: bool = Field(True, alias="MICROGATEWAY_REQUEST_LOG")
    log_retention_days: Annotated[float, Field(ge=0, le=36_500)] = Field(30.0, alias="MICROGATEWAY_LOG_RETENTION_DAYS")
    log_max_rows: Annotated[int, Field(ge=0, le=10_000_000_000)] = Field(1_000_000, alias="MICROGATEWAY_LOG_MAX_ROWS")

    configuration_history_days: Annotated[float, Field(ge=0, le=36_500)] = Field(
        90.0, alias="MICROGATEWAY_CONFIGURATION_HISTORY_DAYS"
    )
    configuration_history_changes: Annotated[int, Field(ge=0, le=10_000_000)] = Field(
        10_000, alias="MICROGATEWAY_CONFIGURATION_HISTORY_CHANGES"
    )

    access_log: str = Field("off", alias="MICROGATEWAY_ACCESS_LOG", min_length=1)
    otel_endpoint: str | None = Field(None, alias="MICROGATEWAY_OTEL_ENDPOINT", pattern=r"^https?://[^\s]+$")
    otel_sample_ratio: Annotated[float, Field(ge=0, le=1)] = Field(1.0, alias="MICROGATEWAY_OTEL_SAMPLE_RATIO")
    otel_service_name: str = Field("microgateway", alias="MICROGATEWAY_OTEL_SERVICE_NAME", min_length=1)

    default_rate_limit: Annotated[int, Field(ge=1, le=1_000_000_000)] = Field(60, alias="DEFAULT_RATE_LIMIT")
    default_burst_size: Annotated[int, Field(ge=1, le=1_000_000_000)] = Field(10, alias="DEFAULT_BURST_SIZE")
    circuit_failure_threshold: Annotated[int, Field(ge=1, le=1_000_000)] = Field(5, alias="CIRCUIT_FAILURE_THRESHOLD")
    circuit_recovery_timeout: Seconds = Field(30.0, alias="CIRCUIT_RECOVERY_TIMEOUT")
    circuit_half_open_max_calls: Annotated[int, Field(ge=1, le=10_000)] = Field(3, alias="CIRCUIT_HALF_OPEN_MAX_CALLS")

    metrics: bool = Field(True, alias="MICROGATEWAY_METRICS")
    metrics_series: Annotated[int, Field(ge=1, le=10_000)] = Field(100, alias="MICROGATEWAY_METRICS_SERIES")
    metrics_token: str | None = Field(None, alias="MICROGATEWAY_METRICS_TOKEN", min_length=8, repr=False)
    metrics_key_labels: bool = Field(False, alias="MICROGATEWAY_METRICS_KEY_LABELS")

    @property
    def trace_ratio(self) -> float | None:
        """How many of the traces that begin here are kept; None without tracing."""
        return None if self.otel_endpoint is None else self.otel_sample_ratio

    @field_validator("port", mode="before")
    @classmethod
    def refuse_the_port_of_kubernetes(cls, value: object) -> object:
        """A Service called `microgateway` sets it in every pod beside it."""
        if isinstance(value, str) and value.startswith("tcp://"):
            raise ValueError(
                f"{value!r} is what Kubernetes says of a Service; set enableServiceLinks: false in the pod"
            )
        return value

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def split_networks(cls, value: object) -> object:
        """Networks come as one comma-separated line: `10.0.0.0/8, ::1`."""
        if isinstance(value, str):
            return tuple(ip_network(part.strip()) for part in value.split(",") if part.strip())
        return value

    @field_validator("admin_token", "metrics_token", mode="before")
    @classmethod
    def refuse_what_no_header_carries(cls, value: object) -> object:
        """A file's last line end is not the token's."""
        if not isinstance(value, str):
            return value
        token = value.strip()
        if not (token.isascii() and token.isprintable()):
            raise ValueError("a token consists of visible ASCII characters and spaces")
        return token

    @field_validator("redis_url")
    @classmethod
    def refuse_redis(cls, value: str | None) -> None:
        """Who sets it counts on limits that hold over several machines; to go on without them would be a lie."""
        if value is not None:
            raise ValueError("limits and circuits that several machines share are not there yet; leave it out")

    @field_validator("tls_cert", "tls_key", mode="before")
    @classmethod
    def split_files(cls, value: object) -> object:
        """Files come as one comma-separated line. An empty place among the keys: it is in its certificate's file."""
        if isinstance(value, str):
            return tuple(part.strip() or None for part in value.split(",")) if value.strip() else ()
        return value

    @model_validator(mode="after")
    def refuse_unequal_lists(self) -> Self:
        if self.tls_key and len(self.tls_key) != len(self.tls_cert):
            raise ValueError(
                f"MICROGATEWAY_TLS_KEY has {len(self.tls_key)} places and MICROGATEWAY_TLS_CERT {len(self.tls_cert)}: "
                "each certificate has its own key"
            )
        return self

    @model_validator(mode="after")
    def refuse_weak_secrets(self) -> Self:
        secret = self.jwt_secret
        if secret is None or self.debug:
            return self
        if secret == DEV_SECRET:
            raise ValueError(f"JWT_SECRET is {DEV_SECRET!r}, which is for MICROGATEWAY_DEBUG=true only")
        if len(secret.encode()) < SHORTEST_JWT_SECRET:
            raise ValueError(
                f"JWT_SECRET is shorter than {SHORTEST_JWT_SECRET} bytes; leave it out to have one generated"
            )
        return self


def read_settings() -> Settings:
    """The environment as `Settings`, over the file that MICROGATEWAY_ENV_FILE names, if it does.

    Raises `StartupError` with one line that names every variable at fault.
    """
    file = os.environ.get(ENV_FILE) or None
    if file is not None and not Path(file).is_file():
        raise StartupError(f"{ENV_FILE}: there is no file {file!r}")
    ours = {name for name in os.environ if name.upper().startswith(PREFIX)}
    if misspelt := list(_misspelt(ours.union(() if file is None else _names_in(file)))):
        raise StartupError("; ".join(misspelt))
    try:
        return Settings(_env_file=file)
    except ValidationError as error:
        raise StartupError("; ".join(_complaint(dict(item)) for item in error.errors())) from None


def _names_in(file: str) -> Iterator[str]:
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise StartupError(f"{ENV_FILE}: {file!r} can't be read: {reason}") from error
    for binding in parse_stream(StringIO(text)):
        if binding.error or (binding.key and binding.value is None):
            said, first = binding.original
            line = first + said[: -len(said.lstrip())].count("\n")  # it begins with the empty ones before it
            raise StartupError(f"{ENV_FILE}: line {line} of {file!r} is not NAME=value")
        if binding.key:
            yield binding.key


def _misspelt(names: Iterable[str]) -> Iterator[str]:
    """Those that are almost a known one. Others may be somebody else's: Kubernetes sets `MICROGATEWAY_SERVICE_HOST`."""
    known = {str(field.alias).removeprefix(PREFIX): str(field.alias) for field in Settings.model_fields.values()}
    known[ENV_FILE.removeprefix(PREFIX)] = ENV_FILE
    for name in sorted(names):
        upper = name.upper()  # names are compared without case
        if upper not in known.values():
            for close in get_close_matches(upper.removeprefix(PREFIX), known, n=1, cutoff=NEARLY):
                yield f"{name}: there is no such setting; {known[close]} is one"


def _complaint(item: dict[str, object]) -> str:
    location = item["loc"]
    name = str(location[0]) if isinstance(location, tuple) and location else ""
    message = str(item["msg"]).removeprefix("Value error, ")
    return f"{name}: {message}" if name else message
