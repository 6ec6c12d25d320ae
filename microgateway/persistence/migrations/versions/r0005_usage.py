"""How much keys and services were used."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision: str | None = "0004"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.create_table(
        "key_usage",
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("total_requests", sa.BigInteger, nullable=False),
        sa.Column("rejected_requests", sa.BigInteger, nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("key_id", name="pk_key_usage"),
    )
    op.create_table(
        "service_usage",
        sa.Column("service_id", sa.String(64), nullable=False),
        sa.Column("total_requests", sa.BigInteger, nullable=False),
        sa.Column("total_errors", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("service_id", name="pk_service_usage"),
    )


def downgrade() -> None:
    op.drop_table("service_usage")
    op.drop_table("key_usage")
