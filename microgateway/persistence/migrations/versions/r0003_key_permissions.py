"""What a key may do, and the text that it had before a rotation."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("services", sa.JSON, nullable=False, server_default="[]"))
    op.add_column("api_keys", sa.Column("scopes", sa.JSON, nullable=False, server_default="[]"))
    op.add_column("api_keys", sa.Column("previous_hash", sa.LargeBinary(32)))
    op.add_column("api_keys", sa.Column("previous_expires_at", sa.DateTime(timezone=True)))


def downgrade() -> None:
    for name in ("previous_expires_at", "previous_hash", "scopes", "services"):
        op.drop_column("api_keys", name)
