"""How TLS is spoken with a service."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.add_column("services", sa.Column("tls", sa.JSON, nullable=False, server_default="{}"))


def downgrade() -> None:
    op.drop_column("services", "tls")
