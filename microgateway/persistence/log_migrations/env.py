"""Alembic's entry point for the request log's tables."""

from alembic import context

from microgateway.persistence.log_tables import metadata
from microgateway.persistence.migration import REQUEST_LOG

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=REQUEST_LOG.version_table,
)
with context.begin_transaction():
    context.run_migrations()
