"""Which version of the configuration served a request."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.add_column("request_log", sa.Column("configuration_version", sa.BigInteger))


def downgrade() -> None:
    op.drop_column("request_log", "configuration_version")
