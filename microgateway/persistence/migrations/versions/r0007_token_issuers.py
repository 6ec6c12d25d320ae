"""Others whose tokens are believed."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision: str | None = "0006"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.create_table(
        "token_issuers",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("issuer", sa.String(256), nullable=False),
        sa.Column("audiences", sa.JSON, nullable=False),
        sa.Column("jwks_url", sa.Text, nullable=False),
        sa.Column("algorithms", sa.JSON, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("requests_per_minute", sa.Integer, nullable=False),
        sa.Column("burst_size", sa.Integer, nullable=False),
        sa.Column("limit_claim", sa.String(128)),
        sa.Column("limits", sa.JSON, nullable=False),
        sa.Column("leeway_seconds", sa.Integer, nullable=False),
        sa.Column("ca_file", sa.Text),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_token_issuers"),
        sa.UniqueConstraint("id", name="uq_token_issuers_id"),
        sa.UniqueConstraint("issuer", name="uq_token_issuers_issuer"),
    )


def downgrade() -> None:
    op.drop_table("token_issuers")
