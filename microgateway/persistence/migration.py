"""Brings a database to the tables of this version, with Alembic run from inside the package.

Alembic takes its time to be imported, and more to look at every migration. A database that is where it should be, as at
every start but the first, is left to its version table.
"""

import re
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from sqlalchemy import Connection, column, inspect, select, table, text

from microgateway.errors import MicroGatewayError

if TYPE_CHECKING:
    from alembic.config import Config


@dataclass(frozen=True, slots=True)
class Chain:
    """A set of tables with migrations of its own, and the table that keeps how far they have come."""

    location: str
    version_table: str

    def newest(self) -> str:
        """The revision of its last migration, whose file begins with it."""
        package, _, folder = self.location.partition(":")
        names = [file.name for file in (files(package) / folder / "versions").iterdir()]
        return max((match[1] for match in map(_MIGRATION.match, names) if match), default="")


_MIGRATION = re.compile(r"r(\d{4})_\w+\.py$")
CONFIGURATION = Chain("microgateway.persistence:migrations", "alembic_version")
REQUEST_LOG = Chain("microgateway.persistence:log_migrations", "request_log_version")
LOCK_NUMBER = 8_017_0001  # any number will do, as long as every gateway takes the same one


class NewerDatabaseError(MicroGatewayError):
    """A later version has changed these tables; this one must not touch them."""


def upgrade(connection: Connection, chain: Chain = CONFIGURATION) -> None:
    """All of it within the caller's transaction, so a migration that fails leaves nothing behind."""
    _wait_for_others(connection)
    if _revisions(connection, chain) == [chain.newest()]:
        return
    from alembic import command

    config = migration_config(connection, chain)
    _refuse_newer(connection, config, chain)
    command.upgrade(config, "head")


def migration_config(connection: Connection, chain: Chain = CONFIGURATION) -> "Config":
    """Alembic's configuration, without a file: the chain's `env.py` finds the connection in its attributes."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", chain.location)
    config.attributes["connection"] = connection
    return config


def _wait_for_others(connection: Connection) -> None:
    """Two gateways that start at once migrate one after the other. On SQLite the transaction's own lock does it."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": LOCK_NUMBER})


def _revisions(connection: Connection, chain: Chain) -> list[str]:
    """How far the database has come; nothing is known of a new one."""
    if not inspect(connection).has_table(chain.version_table):
        return []
    return list(connection.execute(select(column("version_num")).select_from(table(chain.version_table))).scalars())


def _refuse_newer(connection: Connection, config: "Config", chain: Chain) -> None:
    from alembic.script import ScriptDirectory

    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    unknown = set(_revisions(connection, chain)) - known
    if unknown:
        revision = ", ".join(sorted(unknown))
        raise NewerDatabaseError(
            f"a newer MicroGateway made this database (revision {revision}); run that one or newer"
        )
