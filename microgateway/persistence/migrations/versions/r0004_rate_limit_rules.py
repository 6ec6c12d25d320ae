"""Rate limit rules."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision: str | None = "0003"
branch_labels: str | None = None
depends_on: str | None = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "rate_limit_rules",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("requests_per_minute", sa.Integer, nullable=False),
        sa.Column("burst_size", sa.Integer, nullable=False),
        sa.Column("path", sa.Text),
        sa.Column("match", sa.String(16)),
        sa.Column("methods", sa.JSON, nullable=False),
        sa.Column("route_id", sa.String(64)),
        sa.Column("service_id", sa.String(64)),
        sa.Column("count_by", sa.String(16), nullable=False),
        sa.Column("header", sa.String(128)),
        sa.Column("before_auth", sa.Boolean, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_rate_limit_rules"),
        sa.UniqueConstraint("id", name="uq_rate_limit_rules_id"),
        sa.ForeignKeyConstraint(["route_id"], ["routes.id"], name="fk_rate_limit_rules_route_id", ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(
            ["service_id"], ["services.id"], name="fk_rate_limit_rules_service_id", ondelete="RESTRICT"
        ),
    )
    for column in ("route_id", "service_id"):
        op.create_index(f"ix_rate_limit_rules_{column}", "rate_limit_rules", [column])


def downgrade() -> None:
    op.drop_table("rate_limit_rules")
