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
        for some in in_batches(by_kind[kind]):
            befores += await _step_aside(connection, kind, table, some)
    there = {(kind, entity_id) for kind, entity_id, _, columns in befores if columns is not None}
    for kind, table in tables.items():
        own = [change for change in by_kind[kind] if change.after is not None]
        await _update(connection, table, [change for change in own if (kind, change.id) in there])
        await _insert(connection, table, [change for change in own if (kind, change.id) not in there])
    for kind, table in reversed(list(tables.items())):
        for gone in in_batches(change.id for change in by_kind[kind] if change.after is None):
            await connection.execute(delete(table).where(table.c.id.in_(gone)))
    return befores


async def _step_aside(connection: AsyncConnection, kind: str, table: Table, changes: Sequence[PutBack]) -> list[Before]:
    """What there was, all of which is aside now."""
    ids = [change.id for change in changes]
    found = (await connection.execute(select(table).where(table.c.id.in_(ids)))).mappings()
    rows = {row["id"]: dict(row) for row in found}
    if unique := UNIQUE.get(table.name):
        aside = literal(ASIDE) + cast(table.c.number, String)
        await connection.execute(update(table).where(table.c.id.in_(ids)).values({unique: aside}))
    if gone := [change.id for change in changes if change.after is None]:
        await connection.execute(update(table).where(table.c.id.in_(gone)).values(number=-table.c.number))
    befores = (_before(kind, table, change, rows.get(change.id)) for change in changes)
    return [before for before in befores if before is not None]


def _before(kind: str, table: Table, change: PutBack, row: dict[str, Any] | None) -> Before | None:
    if row is not None:
        return kind, change.id, name_of(row), plain_columns(table, row)
    if change.after is not None:
        return kind, change.id, name_of(change.after.entity.model_dump()), None
    return None


async def _update(connection: AsyncConnection, table: Table, changes: Iterable[PutBack]) -> None:
    statement = update(table).where(table.c.id == bindparam("its_id"))
    for some in in_batches(change for change in changes if change.after is not None):
        await connection.execute(statement, [_values(change) | {"its_id": change.id} for change in some])


async def _insert(connection: AsyncConnection, table: Table, changes: Iterable[PutBack]) -> None:
    for some in in_batches((change, change.after.number) for change in changes if change.after is not None):
        rows = [_values(change) | {"id": change.id, "number": number} for change, number in some]
        await connection.execute(insert(table), rows)


def _values(change: PutBack) -> dict[str, Any]:
    return {} if change.after is None else change.after.entity.model_dump(exclude={"id"})
