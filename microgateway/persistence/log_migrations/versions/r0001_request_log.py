"""The request log: its rows and its zones."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None

BLOCKS = "request_log_blocks"  # on PostgreSQL, whose gateways share one log: each block of ids is one gateway's


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "request_log",
        sa.Column("id", number, autoincrement=False, nullable=False),
        sa.Column("timestamp", sa.Double, nullable=False),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.Column("trace_id", sa.String(32), nullable=False),
        sa.Column("client_ip", sa.String(64), nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("query", sa.Text, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("status", sa.SmallInteger, nullable=False),
        sa.Column("service_id", sa.String(64)),
        sa.Column("service", sa.Text),
        sa.Column("route_id", sa.String(64)),
        sa.Column("route", sa.Text),
        sa.Column("key_id", sa.String(64)),
        sa.Column("key", sa.Text),
        sa.Column("rate_limited", sa.Boolean, nullable=False),
        sa.Column("circuit_open", sa.Boolean, nullable=False),
        sa.Column("latency_ms", sa.Double, nullable=False),
        sa.Column("upstream_ms", sa.Double),
        sa.Column("stage", sa.String(32), nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("retries", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Text),
        sa.Column("breaker", sa.String(16)),
        sa.Column("upstream", sa.Text, nullable=False),
        sa.Column("upstream_status", sa.SmallInteger),
        sa.Column("bytes_in", sa.BigInteger, nullable=False),
        sa.Column("bytes_out", sa.BigInteger, nullable=False),
        sa.Column("limited_by", sa.Text),
        sa.Column("shadowed", sa.Text),
        sa.Column("simulated", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_request_log"),
    )
    op.create_table(
        "request_log_zones",
        sa.Column("first_id", number, autoincrement=False, nullable=False),
        sa.Column("last_id", sa.BigInteger, nullable=False),
        sa.Column("row_count", sa.Integer, nullable=False),
        sa.Column("earliest", sa.Double, nullable=False),
        sa.Column("latest", sa.Double, nullable=False),
        sa.Column("slowest", sa.Double, nullable=False),
        sa.Column("words", sa.Text, nullable=False),
        sa.Column("fingerprints", sa.LargeBinary, nullable=False),
        sa.Column("keys", sa.Text, nullable=False),
        sa.Column("paths", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("first_id", name="pk_request_log_zones"),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"CREATE SEQUENCE {BLOCKS}")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"DROP SEQUENCE {BLOCKS}")
    op.drop_table("request_log_zones")
    op.drop_table("request_log")
