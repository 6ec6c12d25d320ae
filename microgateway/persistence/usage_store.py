"""How much keys and services were used, and when routes were, over restarts. What is written is what was added, so that
several may write.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Table, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from microgateway.persistence import tables
from microgateway.persistence.database import Database, translated_errors

DATES = {"last_used_at", "last_hit_at"}


@dataclass(frozen=True, slots=True)
class KeyUsageRow:
    """Of a key, or of all tokens of an issuer."""

    key_id: str
    total_requests: int
    rejected_requests: int
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class ServiceUsageRow:
    """Of a service. Errors are 5xx, and requests without an answer."""

    service_id: str
    total_requests: int
    total_errors: int


@dataclass(frozen=True, slots=True)
class RouteUsageRow:
    """Of a route: when a request last came to it."""

    route_id: str
    last_hit_at: datetime


Loaded = tuple[list[KeyUsageRow], list[ServiceUsageRow], list[RouteUsageRow]]


class UsageStore:
    """The three tables. Methods raise `DatabaseUnavailableError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> Loaded:
        """All there is, after what belongs to nobody any more was taken out."""
        with translated_errors():
            async with self._database.writing.begin() as connection:
                service_gone = tables.service_usage.c.service_id.not_in(select(tables.services.c.id))
                await connection.execute(delete(tables.service_usage).where(service_gone))
                route_gone = tables.route_usage.c.route_id.not_in(select(tables.routes.c.id))
                await connection.execute(delete(tables.route_usage).where(route_gone))
                keys = [KeyUsageRow(*row) for row in await connection.execute(select(tables.key_usage))]
                services = [ServiceUsageRow(*row) for row in await connection.execute(select(tables.service_usage))]
                routes = [RouteUsageRow(*row) for row in await connection.execute(select(tables.route_usage))]
        return keys, services, routes

    async def add(
        self,
        keys: Collection[KeyUsageRow],
        services: Collection[ServiceUsageRow],
        routes: Collection[RouteUsageRow] = (),
    ) -> None:
        """Adds these numbers to what is there, all of them or none; a date takes the place of an earlier one."""
        with translated_errors():
            async with self._database.writing.begin() as connection:
                await _add(connection, tables.key_usage, "key_id", map(_values, keys))
                await _add(connection, tables.service_usage, "service_id", map(_values, services))
                await _add(connection, tables.route_usage, "route_id", map(_values, routes))


def _values(row: KeyUsageRow | ServiceUsageRow | RouteUsageRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__slots__}


async def _add(connection: AsyncConnection, table: Table, key: str, rows: Iterable[dict[str, Any]]) -> None:
    values = list(rows)
    if not values:
        return
    dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table)
    added = {
        column.name: table.c[column.name] + statement.excluded[column.name]
        for column in table.columns
        if column.name != key and column.name not in DATES
    }
    for date in DATES & set(table.c.keys()):
        added[date] = func.coalesce(statement.excluded[date], table.c[date])
    await connection.execute(statement.on_conflict_do_update(index_elements=[key], set_=added), values)
