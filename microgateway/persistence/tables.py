"""The tables, as the code of this version knows them. `migrations/` takes a database from any earlier version to here.

Every table of entities has a running `number` beside the public `id`: it gives lists a stable order, and routes their
age, which decides between two that match equally well.
"""

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.types import TypeDecorator

_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(TypeDecorator[datetime]):
    """A moment. SQLite keeps no time zone, so what goes in is made UTC, and what comes out is told that it is."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


def _number() -> Column[int]:
    # SQLite numbers rows by itself only in a column that is exactly INTEGER PRIMARY KEY
    return Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)


metadata = MetaData(naming_convention=_NAMES)

services = Table(
    "services",
    metadata,
    _number(),
    Column("id", String(64), nullable=False, unique=True),
    Column("name", String(128), nullable=False, unique=True),
    Column("base_url", Text, nullable=False),
    Column("targets", JSON, nullable=False),
    Column("health_check_path", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("preserve_host", Boolean, nullable=False),
    Column("connect_timeout_seconds", Double),
    Column("read_timeout_seconds", Double),
    Column("circuit_breaker", JSON, nullable=False),
    Column("tls", JSON, nullable=False, server_default="{}"),
    Column("load_balancing", String(16), nullable=False, server_default="round_robin"),
    Column("hash_on", String(16), nullable=False, server_default="key"),
    Column("hash_header", String(128)),
    Column("health_check", JSON, nullable=False, server_default="{}"),
    Column("passive_health", JSON, nullable=False, server_default="{}"),
    Column("when_unhealthy", String(16), nullable=False, server_default="try_all"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

routes = Table(
    "routes",
    metadata,
    _number(),
    Column("id", String(64), nullable=False, unique=True),
    Column("path", Text, nullable=False),
    Column("match", String(16), nullable=False),
    Column("service_id", String(64), ForeignKey(services.c.id, ondelete="RESTRICT"), nullable=False),
    Column("hosts", JSON, nullable=False),
    Column("methods", JSON, nullable=False),
    Column("strip_prefix", Boolean, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("timeout_seconds", Double),
    Column("retries", Integer, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("auth", String(16), nullable=False),
    Column("forward_credentials", Boolean, nullable=False),
    Column("headers", JSON, nullable=False, server_default="[]"),
    Column("query", JSON, nullable=False, server_default="[]"),
    Column("rewrite", Text),
    Column("request_headers", JSON, nullable=False, server_default="{}"),
    Column("response_headers", JSON, nullable=False, server_default="{}"),
    Column("cors", JSON(none_as_null=True)),
    Column("max_body_bytes", BigInteger),
    Column("allow_addresses", JSON, nullable=False, server_default="[]"),
    Column("deny_addresses", JSON, nullable=False, server_default="[]"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Index(None, "service_id"),
)

api_keys = Table(
    "api_keys",
    metadata,
    _number(),
    Column("id", String(64), nullable=False, unique=True),
    Column("name", String(128), nullable=False),
    Column("owner", String(256), nullable=False),
    Column("team", String(256), nullable=False),
    Column("requests_per_minute", Integer, nullable=False),
    Column("burst_size", Integer, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("enabled", Boolean, nullable=False),
    Column("services", JSON, nullable=False, server_default="[]"),
    Column("scopes", JSON, nullable=False, server_default="[]"),
    Column("key_prefix", String(32), nullable=False),
    Column("key_hash", LargeBinary(32), nullable=False, unique=True),
    Column("previous_hash", LargeBinary(32)),
    Column("previous_expires_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime),
    Index(None, "name"),
    Index(None, "owner"),
    Index(None, "team"),
)

rate_limit_rules = Table(
    "rate_limit_rules",
    metadata,
    _number(),
    Column("id", String(64), nullable=False, unique=True),
    Column("name", String(128), nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("mode", String(16), nullable=False),
    Column("requests_per_minute", Integer, nullable=False),
    Column("burst_size", Integer, nullable=False),
    Column("path", Text),
    Column("match", String(16)),
    Column("methods", JSON, nullable=False),
    Column("route_id", String(64), ForeignKey(routes.c.id, ondelete="RESTRICT")),
    Column("service_id", String(64), ForeignKey(services.c.id, ondelete="RESTRICT")),
    Column("count_by", String(16), nullable=False),
    Column("header", String(128)),
    Column("before_auth", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Index(None, "route_id"),
    Index(None, "service_id"),
)

token_issuers = Table(
    "token_issuers",
    metadata,
    _number(),
    Column("id", String(64), nullable=False, unique=True),
    Column("name", String(128), nullable=False),
    Column("issuer", String(256), nullable=False, unique=True),
    Column("audiences", JSON, nullable=False),
    Column("jwks_url", Text, nullable=False),
    Column("algorithms", JSON, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("requests_per_minute", Integer, nullable=False),
    Column("burst_size", Integer, nullable=False),
    Column("limit_claim", String(128)),
    Column("limits", JSON, nullable=False),
    Column("leeway_seconds", Integer, nullable=False),
    Column("ca_file", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

# What operators configure, as the history calls it. What others refer to comes before these
ENTITIES = {
    "service": services,
    "route": routes,
    "rate_limit": rate_limit_rules,
    "key": api_keys,
    "token_issuer": token_issuers,
}

# No foreign keys: what is written late of something that has just gone is no error
key_usage = Table(
    "key_usage",
    metadata,
    Column("key_id", String(64), primary_key=True),
    Column("total_requests", BigInteger, nullable=False),
    Column("rejected_requests", BigInteger, nullable=False),
    Column("last_used_at", UtcDateTime),
)

service_usage = Table(
    "service_usage",
    metadata,
    Column("service_id", String(64), primary_key=True),
    Column("total_requests", BigInteger, nullable=False),
    Column("total_errors", BigInteger, nullable=False),
)

route_usage = Table(
    "route_usage",
    metadata,
    Column("route_id", String(64), primary_key=True),
    Column("last_hit_at", UtcDateTime, nullable=False),
)

metric_minutes = Table(
    "metric_minutes",
    metadata,
    _number(),
    Column("minute", BigInteger, nullable=False),
    Column("service_id", String(64), nullable=False),
    Column("name", String(128), nullable=False),
    Column("counts", LargeBinary, nullable=False),
    Column("durations", LargeBinary, nullable=False),
    Column("upstream", LargeBinary, nullable=False),
    Column("overhead", LargeBinary, nullable=False),
    Index(None, "minute"),
)

configuration_changes = Table(
    "configuration_changes",
    metadata,
    _number(),
    Column("at", UtcDateTime, nullable=False),
    Column("action", String(16), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("entity_id", String(64), nullable=False),
    Column("name", String(256), nullable=False),
    Column("before", LargeBinary),
    Index(None, "entity_id"),
)
