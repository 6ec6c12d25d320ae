"""Alembic's entry point: runs the migrations on the connection that `migration_config` was given."""

from alembic import context

from microgateway.persistence.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
