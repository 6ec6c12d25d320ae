"""What the configuration was: of every change, what it was made to, as that was before.

A version of the configuration has a number, and the change with number n leads from version n to the next one. So what
version n was is found backwards: whatever has been changed since is put back to what the first change from n on has
kept of it. A change costs one row, however large the configuration is, nothing is written before the first one, and to
forget the oldest is to delete rows.

A row is written in the transaction of the change that it tells of, so neither is ever there without the other. What it
keeps are the columns of a row: of keys their hashes, as their table does. That of a restore keeps those of all that it
has changed; who reads `since` is told of each as of a change of its own, with the same number.
"""

import json
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, LargeBinary, Row, Table, delete, func, insert, null, select
from sqlalchemy.ext.asyncio import AsyncConnection

from microgateway.clock import utc
from microgateway.errors import NotFoundError
from microgateway.persistence.database import Database, translated_errors
from microgateway.persistence.tables import UtcDateTime, configuration_changes

EVERYTHING = "configuration"  # the kind of a seed, which began with nothing, and of a restore
RESTORE = "restore"
FIRST = 1  # the version of a configuration that has never been changed
PRUNED_AFTER = 64  # changes
QUICKLY = 1  # zlib's level: a row is short
LONGEST_NAME = 256

_CHANGES = configuration_changes.c


@dataclass(frozen=True, slots=True)
class HistoryBounds:
    """How much is kept: seconds and changes; 0 is no bound."""

    seconds: float = 90 * 86_400.0
    changes: int = 10_000


@dataclass(frozen=True, slots=True)
class PastChange:
    """One change. `kept` is what was changed, None where it was not there yet: few of many are ever looked into.

    `action` is create, change, delete, seed or restore. The `id` of a whole restore is the version that was restored.
    """

    number: int
    at: datetime
    action: str
    kind: str
    id: str
    name: str
    kept: bytes | dict[str, Any] | None

    @property
    def before(self) -> dict[str, Any] | None:
        """The columns of what was changed, as plain JSON: `columns_of` reads them."""
        return json.loads(zlib.decompress(self.kept)) if isinstance(self.kept, bytes) else self.kept

    def parts(self) -> "Iterator[PastChange]":
        """Itself; of a restore, what it did to each thing."""
        if self.action != RESTORE or not isinstance(self.kept, bytes):
            yield self
            return
        for kind, entity_id, name, before in json.loads(zlib.decompress(self.kept)):
            yield PastChange(self.number, self.at, RESTORE, kind, entity_id, name, before)

    @property
    def version(self) -> int:
        """That to which it led, as far as the number of the next one is known: none lies between."""
        return self.number + 1


class VersionNotKeptError(NotFoundError):
    """This version is too old, or never was."""

    def __init__(self, version: int, oldest: int, latest: int) -> None:
        super().__init__("version of the configuration", str(version))
        why = "is no longer kept" if FIRST <= version < oldest else "never was"
        self.args = (f"Version {version} of the configuration {why}: those from {oldest} to {latest} are known.",)
        self.oldest = oldest


class ConfigurationHistory:
    """The changes of one database's configuration. `wall` is seconds since the epoch.

    Methods raise `DatabaseUnavailableError`.
    """

    def __init__(self, database: Database, *, keep: HistoryBounds, wall: Callable[[], float] = time.time) -> None:
        self._database = database
        self.keep = keep
        self.wall = wall
        self._noted = 0
        self._prunes = True
        self.version = FIRST

    async def load(self) -> None:
        """Finds out which version the database has."""
        (newest,) = await self._read(select(func.max(_CHANGES.number)))
        self.version = FIRST if newest[0] is None else newest[0] + 1

    async def note(
        self,
        connection: AsyncConnection,
        action: str,
        kind: str,
        entity_id: str = "",
        name: str = "",
        before: bytes | None = None,
    ) -> None:
        """Writes one down, within the transaction of the change; `committed` has to be called when that is over."""
        values = {
            "at": utc(self.wall()),
            "action": action,
            "kind": kind,
            "entity_id": entity_id,
            "name": name[:LONGEST_NAME],
            "before": before,
        }
        result = await connection.execute(insert(configuration_changes), values)
        (self._noted,) = result.inserted_primary_key or (0,)
        if self._prunes or self._noted % PRUNED_AFTER == 0:
            await self._prune(connection)

    def committed(self) -> None:
        """The latest one is there for good: its version is what the database has."""
        self.version = max(self.version, self._noted + 1)

    async def since(self, version: int) -> list[PastChange]:
        """All changes that were made to this version and later ones, the oldest first; a restore is told in its parts.

        Raises `VersionNotKeptError` when not all of them are kept.
        """
        rows = await self._read(
            select(configuration_changes).where(_CHANGES.number >= version).order_by(_CHANGES.number)
        )
        await self.check(version)
        return [part for row in rows for part in _change(row).parts()]

    async def check(self, version: int) -> None:
        """Raises `VersionNotKeptError` where nobody knows what it was."""
        if FIRST <= version == self.version:
            return
        oldest = await self.oldest()
        if not oldest <= version <= self.version:
            raise VersionNotKeptError(version, oldest, self.version)

    async def oldest(self) -> int:
        """The oldest version that is kept."""
        (oldest,) = await self._read(select(func.min(_CHANGES.number)))
        return self.version if oldest[0] is None else int(oldest[0])

    async def list(self, *, limit: int, offset: int = 0) -> tuple[list[PastChange], int]:
        """The newest first, without what they were made to, and how many there are."""
        told = [column for column in _CHANGES if column.name != "before"]
        page = select(*told, null()).order_by(_CHANGES.number.desc()).limit(limit).offset(offset)
        (total,) = await self._read(select(func.count()).select_from(configuration_changes))
        return [_change(row) for row in await self._read(page)], int(total[0])

    async def get(self, version: int) -> tuple[PastChange, PastChange | None]:
        """The change that led to this version, and the next one to the same thing. Raises `VersionNotKeptError`."""
        rows = await self._read(select(configuration_changes).where(_CHANGES.number == version - 1))
        if not rows:
            raise VersionNotKeptError(version, await self.oldest() + 1, self.version)
        change = _change(rows[0])
        return change, None if change.kind == EVERYTHING else await self._next_to(change)

    async def _next_to(self, change: PastChange) -> PastChange | None:
        """The one after it to the same thing: of its own, or as part of a restore."""
        after = select(configuration_changes).where(_CHANGES.number > change.number).order_by(_CHANGES.number)
        same = after.where(_CHANGES.kind == change.kind, _CHANGES.entity_id == change.id).limit(1)
        own = [_change(row) for row in await self._read(same)]
        restores = after.where(_CHANGES.action == RESTORE, *(_CHANGES.number < one.number for one in own))
        parts = (part for row in await self._read(restores) for part in _change(row).parts())
        together = (part for part in parts if (part.kind, part.id) == (change.kind, change.id))
        return next(together, own[0] if own else None)

    async def _prune(self, connection: AsyncConnection) -> None:
        """Forgets the oldest. The latest stays whatever its age, since the number of the next one hangs on it."""
        self._prunes = False
        if self.keep.changes:
            await connection.execute(
                delete(configuration_changes).where(_CHANGES.number <= self._noted - self.keep.changes)
            )
        if self.keep.seconds:
            long_ago = utc(self.wall() - self.keep.seconds)
            # With all before it, whatever a clock that was set has made of their moments: there must be no gap
            old = select(func.max(_CHANGES.number)).where(_CHANGES.at < long_ago, _CHANGES.number < self._noted)
            (newest,) = (await connection.execute(old)).one()
            if newest is not None:
                await connection.execute(delete(configuration_changes).where(_CHANGES.number <= newest))

    async def _read(self, query: Any) -> Sequence[Row[Any]]:
        with translated_errors():
            async with self._database.reading.connect() as connection:
                return (await connection.execute(query)).all()


class Journal:
    """The history of one table's rows, for who changes them."""

    def __init__(self, history: ConfigurationHistory, kind: str, table: Table) -> None:
        self._history = history
        self._kind = kind
        self._table = table

    async def created(self, connection: AsyncConnection, values: dict[str, Any]) -> None:
        """This row was made."""
        await self._history.note(connection, "create", self._kind, values["id"], name_of(values))

    async def changes(self, connection: AsyncConnection, action: str, entity_id: str) -> None:
        """This row is about to be changed, or deleted; nothing is noted of one that is not there."""
        row = (await connection.execute(select(self._table).where(self._table.c.id == entity_id))).first()
        if row is not None:
            values = dict(row._mapping)  # noqa: SLF001  SQLAlchemy's public name for it
            packed = packed_json(plain_columns(self._table, values))
            await self._history.note(connection, action, self._kind, entity_id, name_of(values), packed)

    def committed(self) -> None:
        """The change that was noted last is there for good."""
        self._history.committed()


def columns_of(table: Table, before: dict[str, Any]) -> dict[str, Any]:
    """What was kept of a row, as the row had it; `number` is among it."""
    values = dict(before)
    for column in table.columns:
        value = values.get(column.name)
        if value is not None and isinstance(column.type, UtcDateTime):
            values[column.name] = datetime.fromisoformat(value)
        elif value is not None and isinstance(column.type, LargeBinary):
            values[column.name] = bytes.fromhex(value)
    return values


def plain_columns(table: Table, values: dict[str, Any]) -> dict[str, Any]:
    """The columns of a row as plain JSON."""
    return {
        name: value
        if value is None or isinstance(table.c[name].type, JSON)
        else value.isoformat()
        if isinstance(value, datetime)
        else value.hex()
        if isinstance(value, bytes)
        else value
        for name, value in values.items()
    }


def packed_json(document: object) -> bytes:
    return zlib.compress(json.dumps(document, separators=(",", ":")).encode(), QUICKLY)


def to_undo(changes: Iterable[PastChange], kind: str) -> tuple[bool, dict[str, PastChange]]:
    """What leads back to before these changes, the oldest first: of each thing of this kind the first one, by its id.

    What is in none of them was as it is now; or, where the answer begins with True, was not there: everything came with
    a seed.
    """
    befores: dict[str, PastChange] = {}
    for change in changes:
        if change.kind == EVERYTHING:
            return True, befores
        if change.kind == kind:
            befores.setdefault(change.id, change)
    return False, befores


def _change(row: Row[Any]) -> PastChange:
    number, at, action, kind, entity_id, name, kept = tuple(row)
    return PastChange(number, at, action, kind, entity_id, name, kept)


def name_of(values: dict[str, Any]) -> str:
    """What people call it: a route's path."""
    return str(values.get("name") or values.get("path") or "")
