"""Brings a database to the tables of this version, with Alembic run from inside the package."""

from dataclasses import dataclass

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from microgateway.errors import MicroGatewayError


@dataclass(frozen=True, slots=True)
class Chain:
    """A set of tables with migrations of its own, and the table that keeps how far they have come."""

    location: str
    version_table: str


CONFIGURATION = Chain("microgateway.persistence:migrations", "alembic_version")
REQUEST_LOG = Chain("microgateway.persistence:log_migrations", "request_log_version")
LOCK_NUMBER = 8_017_0001  # any number will do, as long as every gateway takes the same one


class NewerDatabaseError(MicroGatewayError):
    """A later version has changed these tables; this one must not touch them."""


def upgrade(connection: Connection, chain: Chain = CONFIGURATION) -> None:
    """All of it within the caller's transaction, so a migration that fails leaves nothing behind."""
    _wait_for_others(connection)
    config = migration_config(connection, chain)
    _refuse_newer(connection, config, chain)
    command.upgrade(config, "head")


def migration_config(connection: Connection, chain: Chain = CONFIGURATION) -> Config:
    """Alembic's configuration, without a file: the chain's `env.py` finds the connection in its attributes."""
    config = Config()
    config.set_main_option("script_location", chain.location)
    config.attributes["connection"] = connection
    return config


def _wait_for_others(connection: Connection) -> None:
    """Two gateways that start at once migrate one after the other. On SQLite the transaction's own lock does it."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": LOCK_NUMBER})


def _refuse_newer(connection: Connection, config: Config, chain: Chain) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    context = MigrationContext.configure(connection, opts={"version_table": chain.version_table})
    unknown = set(context.get_current_heads()) - known
    if unknown:
        revision = ", ".join(sorted(unknown))
        raise NewerDatabaseError(
            f"a newer MicroGateway made this database (revision {revision}); run that one or newer"
        )
