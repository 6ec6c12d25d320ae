"""How a service's targets are chosen, and how it is found out whether they are well."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision: str | None = "0005"
branch_labels: str | None = None
depends_on: str | None = None

COLUMNS = ("load_balancing", "hash_on", "hash_header", "health_check", "passive_health", "when_unhealthy")


def upgrade() -> None:
    for column in (
        sa.Column("load_balancing", sa.String(16), nullable=False, server_default="round_robin"),
        sa.Column("hash_on", sa.String(16), nullable=False, server_default="key"),
        sa.Column("hash_header", sa.String(128)),
        sa.Column("health_check", sa.JSON, nullable=False, server_default="{}"),
        sa.Column("passive_health", sa.JSON, nullable=False, server_default="{}"),
        sa.Column("when_unhealthy", sa.String(16), nullable=False, server_default="try_all"),
    ):
        op.add_column("services", column)


def downgrade() -> None:
    for name in COLUMNS:
        op.drop_column("services", name)
