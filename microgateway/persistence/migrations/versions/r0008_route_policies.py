"""Routes: conditions, rewriting, header edits, CORS, body limits and address lists."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision: str | None = "0007"
branch_labels: str | None = None
depends_on: str | None = None

LISTS = ("headers", "query", "allow_addresses", "deny_addresses")
OBJECTS = ("request_headers", "response_headers")


def upgrade() -> None:
    for name in LISTS:
        op.add_column("routes", sa.Column(name, sa.JSON, nullable=False, server_default="[]"))
    for name in OBJECTS:
        op.add_column("routes", sa.Column(name, sa.JSON, nullable=False, server_default="{}"))
    op.add_column("routes", sa.Column("rewrite", sa.Text))
    op.add_column("routes", sa.Column("cors", sa.JSON))
    op.add_column("routes", sa.Column("max_body_bytes", sa.BigInteger))


def downgrade() -> None:
    for name in (*LISTS, *OBJECTS, "rewrite", "cors", "max_body_bytes"):
        op.drop_column("routes", name)
