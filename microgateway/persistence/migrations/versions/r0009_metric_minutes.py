"""The traffic of every minute, for charts that survive a restart."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision: str | None = "0008"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.create_table(
        "metric_minutes",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("minute", sa.BigInteger, nullable=False),
        sa.Column("service_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("counts", sa.LargeBinary, nullable=False),
        sa.Column("durations", sa.LargeBinary, nullable=False),
        sa.Column("upstream", sa.LargeBinary, nullable=False),
        sa.Column("overhead", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_metric_minutes_minute", "metric_minutes", ["minute"])


def downgrade() -> None:
    op.drop_table("metric_minutes")
