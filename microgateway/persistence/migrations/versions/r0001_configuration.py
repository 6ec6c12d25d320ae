"""Services, routes and API keys."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    create_services()
    create_routes()
    create_api_keys()


def downgrade() -> None:
    op.drop_table("api_keys")
    op.drop_table("routes")
    op.drop_table("services")


def number() -> "sa.Column[int]":
    return sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), autoincrement=True, nullable=False)


def create_services() -> None:
    op.create_table(
        "services",
        number(),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("base_url", sa.Text, nullable=False),
        sa.Column("targets", sa.JSON, nullable=False),
        sa.Column("health_check_path", sa.Text, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("preserve_host", sa.Boolean, nullable=False),
        sa.Column("connect_timeout_seconds", sa.Double),
        sa.Column("read_timeout_seconds", sa.Double),
        sa.Column("circuit_breaker", sa.JSON, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_services"),
        sa.UniqueConstraint("id", name="uq_services_id"),
        sa.UniqueConstraint("name", name="uq_services_name"),
    )


def create_routes() -> None:
    op.create_table(
        "routes",
        number(),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("match", sa.String(16), nullable=False),
        sa.Column("service_id", sa.String(64), nullable=False),
        sa.Column("hosts", sa.JSON, nullable=False),
        sa.Column("methods", sa.JSON, nullable=False),
        sa.Column("strip_prefix", sa.Boolean, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("timeout_seconds", sa.Double),
        sa.Column("retries", sa.Integer, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("auth", sa.String(16), nullable=False),
        sa.Column("forward_credentials", sa.Boolean, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_routes"),
        sa.UniqueConstraint("id", name="uq_routes_id"),
        sa.ForeignKeyConstraint(["service_id"], ["services.id"], name="fk_routes_service_id", ondelete="RESTRICT"),
    )
    op.create_index("ix_routes_service_id", "routes", ["service_id"])


def create_api_keys() -> None:
    op.create_table(
        "api_keys",
        number(),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("owner", sa.String(256), nullable=False),
        sa.Column("team", sa.String(256), nullable=False),
        sa.Column("requests_per_minute", sa.Integer, nullable=False),
        sa.Column("burst_size", sa.Integer, nullable=False),
        sa.Column("expires_at", MOMENT),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("key_prefix", sa.String(32), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("revoked_at", MOMENT),
        sa.PrimaryKeyConstraint("number", name="pk_api_keys"),
        sa.UniqueConstraint("id", name="uq_api_keys_id"),
        sa.UniqueConstraint("key_hash", name="uq_api_keys_key_hash"),
    )
    for column in ("name", "owner", "team"):
        op.create_index(f"ix_api_keys_{column}", "api_keys", [column])
