"""When each route was last hit."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision: str | None = "0009"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.create_table(
        "route_usage",
        sa.Column("route_id", sa.String(64), nullable=False),
        sa.Column("last_hit_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("route_id", name="pk_route_usage"),
    )


def downgrade() -> None:
    op.drop_table("route_usage")
