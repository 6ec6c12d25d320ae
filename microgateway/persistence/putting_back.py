"""Many rows of several tables put to what they were, in one transaction, in an order that no constraint minds.

Two services may have to exchange their names, a route comes back to a service that has to come back first, and SQLite
may have given the running number of what was deleted to what is there in its place. So all rows that are going to
change first step aside, with names and numbers that nobody else has; then everything is written, what is referred to
first; and what goes, goes last.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import String, Table, bindparam, cast, delete, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from microgateway.persistence.configuration_history import name_of, plain_columns
from microgateway.persistence.entity_table import Placed, in_batches

ASIDE = "\x01"  # begins no name that the API takes
UNIQUE = {"services": "name", "token_issuers": "issuer"}  # what an update may give to another row

Before = tuple[str, str, str, dict[str, Any] | None]
"""A kind, an id, a name, and the columns that were there; None: none."""


@dataclass(frozen=True, slots=True)
class PutBack:
    """What becomes of one entity. None: it goes."""

    kind: str
    id: str
    after: Placed[Any] | None


async def put_back(
    connection: AsyncConnection, tables: Mapping[str, Table], changes: Iterable[PutBack]
) -> list[Before]:
    """Does all of these, within the caller's transaction; what there was before. `tables` are by kind.

    What is to go and is not there is passed over.
    """
    by_kind: dict[str, list[PutBack]] = {kind: [] for kind in tables}
    for change in changes:
        by_kind[change.kind].append(change)
    befores: list[Before] = []
    for kind, table in tables.items():
        rows = await _rows(connection, table, [change.id for change in by_kind[kind]])
        befores += [before for change in by_kind[kind] if (before := _before(kind, table, change, rows.get(change.id)))]
        await _step_aside(connection, table, by_kind[kind], rows)
    there = {(kind, entity_id) for kind, entity_id, _, columns in befores if columns is not None}
    for kind, table in tables.items():
        own = [change for change in by_kind[kind] if change.after is not None]
        await _update(connection, table, [change for change in own if (kind, change.id) in there])
        await _insert(connection, table, [change for change in own if (kind, change.id) not in there])
    for kind, table in reversed(list(tables.items())):
        for some in in_batches(change.id for change in by_kind[kind] if change.after is None):
            await connection.execute(delete(table).where(table.c.id.in_(some)))
    return befores


async def _rows(connection: AsyncConnection, table: Table, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for some in in_batches(ids):
        for row in (await connection.execute(select(table).where(table.c.id.in_(some)))).mappings():
            found[row["id"]] = dict(row)
    return found


def _before(kind: str, table: Table, change: PutBack, row: dict[str, Any] | None) -> Before | None:
    if row is not None:
        return kind, change.id, name_of(row), plain_columns(table, row)
    if change.after is not None:
        return kind, change.id, name_of(change.after.entity.model_dump()), None
    return None


async def _step_aside(
    connection: AsyncConnection, table: Table, changes: Sequence[PutBack], rows: Mapping[str, object]
) -> None:
    if unique := UNIQUE.get(table.name):
        aside = literal(ASIDE) + cast(table.c.number, String)
        for some in in_batches(rows):
            await connection.execute(update(table).where(table.c.id.in_(some)).values({unique: aside}))
    for some in in_batches(change.id for change in changes if change.after is None):
        await connection.execute(update(table).where(table.c.id.in_(some)).values(number=-table.c.number))


async def _update(connection: AsyncConnection, table: Table, changes: Sequence[PutBack]) -> None:
    values = [
        change.after.entity.model_dump(exclude={"id"}) | {"its_id": change.id}
        for change in changes
        if change.after is not None
    ]
    if values:
        await connection.execute(update(table).where(table.c.id == bindparam("its_id")), values)


async def _insert(connection: AsyncConnection, table: Table, changes: Sequence[PutBack]) -> None:
    values = [
        change.after.entity.model_dump() | {"number": change.after.number}
        for change in changes
        if change.after is not None
    ]
    if values:
        await connection.execute(insert(table), values)
