"""The request log's tables: a row for every request, and a zone for every few hundred rows.

A zone says what its rows hold, so that a search passes over all that can't match: see `log_zones.py`. The log is kept
apart from the configuration: on SQLite in a file of its own, so that its writes never hold up a change.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
)

metadata = MetaData(naming_convention={"pk": "pk_%(table_name)s"})


def _number(name: str) -> Column[int]:
    # SQLite keeps rows in the order of a column that is exactly INTEGER PRIMARY KEY
    return Column(name, BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False)


request_log = Table(
    "request_log",
    metadata,
    _number("id"),
    Column("timestamp", Double, nullable=False),
    Column("request_id", String(128), nullable=False),
    Column("trace_id", String(32), nullable=False),
    Column("client_ip", String(64), nullable=False),
    Column("path", Text, nullable=False),
    Column("query", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("service_id", String(64)),
    Column("service", Text),
    Column("route_id", String(64)),
    Column("route", Text),
    Column("key_id", String(64)),
    Column("key", Text),
    Column("rate_limited", Boolean, nullable=False),
    Column("circuit_open", Boolean, nullable=False),
    Column("latency_ms", Double, nullable=False),
    Column("upstream_ms", Double),
    Column("stage", String(32), nullable=False),
    Column("code", String(64), nullable=False),
    Column("retries", Integer, nullable=False),
    Column("attempts", Text),
    Column("breaker", String(16)),
    Column("upstream", Text, nullable=False),
    Column("upstream_status", SmallInteger),
    Column("bytes_in", BigInteger, nullable=False),
    Column("bytes_out", BigInteger, nullable=False),
    Column("limited_by", Text),
    Column("shadowed", Text),
    Column("simulated", Boolean, nullable=False),
    Column("configuration_version", BigInteger),
)

request_log_zones = Table(
    "request_log_zones",
    metadata,
    _number("first_id"),
    Column("last_id", BigInteger, nullable=False),
    Column("row_count", Integer, nullable=False),
    Column("earliest", Double, nullable=False),
    Column("latest", Double, nullable=False),
    Column("slowest", Double, nullable=False),
    Column("words", Text, nullable=False),
    Column("fingerprints", LargeBinary, nullable=False),
    Column("keys", Text, nullable=False),
    Column("paths", Text, nullable=False),
)
