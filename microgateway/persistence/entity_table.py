"""One table of entities: a row is an entity, a column is one of its fields."""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from sqlalchemy import Connection, Row, Select, Table, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from microgateway.errors import MicroGatewayError, NotFoundError
from microgateway.persistence.configuration_history import Journal, columns_of
from microgateway.persistence.database import Database, translated_errors

E = TypeVar("E", bound=BaseModel)
T = TypeVar("T")
ROWS_AT_A_TIME = 2_000  # how many rows are in memory at once when all are read or written
IDS_AT_A_TIME = 500  # in one statement


@dataclass(frozen=True, slots=True)
class Page(Generic[E]):
    """A part of a list, and how long the whole list is."""

    items: Sequence[E]
    total: int


@dataclass(frozen=True, slots=True)
class Placed(Generic[E]):
    """An entity with its running number, which is its place among the others."""

    entity: E
    number: int


class UnreadableRowError(MicroGatewayError):
    """Somebody else wrote this row, or its rules have become stricter."""

    def __init__(self, kind: str, entity_id: str, error: ValidationError) -> None:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        super().__init__(f"The {kind} {entity_id!r} in the database makes no sense: {field}: {first['msg']}")


class EntityTable(Generic[E]):
    """Reads and writes one kind of entity. Each call is a transaction of its own.

    `clash` says what a refused write means: the constraints are few enough that each operation can break one only.
    `journal` is told of each change, but of `add_all`.
    Methods raise that error, `NotFoundError`, or `DatabaseUnavailableError`.
    """

    def __init__(
        self,
        database: Database,
        table: Table,
        entity: type[E],
        *,
        kind: str,
        clash: Callable[[E], MicroGatewayError],
        journal: Journal,
    ) -> None:
        self._database = database
        self._table = table
        self._entity = entity
        self._kind = kind
        self._clash = clash
        self._journal = journal
        self._columns = [column for column in table.columns if column.name != "number"]
        self._names = [column.name for column in self._columns]

    async def list(self, *, limit: int, offset: int = 0, **equal: str | None) -> Page[E]:
        """The oldest first, those only whose columns have these values; a filter of None lets everything pass."""
        conditions = [self._table.c[name] == value for name, value in equal.items() if value is not None]
        page = self._select().where(*conditions).limit(limit).offset(offset)
        count = select(func.count()).select_from(self._table).where(*conditions)
        async with self._reading() as connection:
            total = (await connection.execute(count)).scalar_one()
            rows = (await connection.execute(page)).all()
        return Page([self._of_row(row) for row in rows], total)

    async def get(self, entity_id: str) -> E:
        """Raises `NotFoundError`."""
        query = self._select().where(self._table.c.id == entity_id)
        async with self._reading() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise NotFoundError(self._kind, entity_id)
        return self._of_row(row)

    async def add(self, entity: E) -> None:
        async with self._writing(self._clash(entity)) as connection:
            values = entity.model_dump()
            await connection.execute(insert(self._table), values)
            await self._journal.created(connection, values)

    async def add_all(self, entities: Iterable[E], connection: AsyncConnection) -> None:
        """Many at once, within the caller's transaction."""
        rows = (entity.model_dump() for entity in entities)
        while some := list(islice(rows, ROWS_AT_A_TIME)):
            await connection.execute(insert(self._table), some)

    async def replace(self, entity_id: str, entity: E) -> None:
        values = entity.model_dump(exclude={"id"})
        change = update(self._table).where(self._table.c.id == entity_id).values(values)
        async with self._writing(self._clash(entity)) as connection:
            await self._journal.changes(connection, "change", entity_id)
            self._refuse_absent(entity_id, (await connection.execute(change)).rowcount)

    async def delete(self, entity_id: str, *, in_use: MicroGatewayError | None = None) -> None:
        """`in_use` is raised when others still refer to it."""
        change = delete(self._table).where(self._table.c.id == entity_id)
        async with self._writing(in_use) as connection:
            await self._journal.changes(connection, "delete", entity_id)
            self._refuse_absent(entity_id, (await connection.execute(change)).rowcount)

    async def numbers(self) -> dict[str, int]:
        """The running number of each, by id: their order."""
        query = select(self._table.c.id, self._table.c.number)
        async with self._reading() as connection:
            return {row.id: row.number for row in await connection.execute(query)}

    def of_columns(self, before: dict[str, Any]) -> E:
        """What the history has kept of one. A column that its table had not yet has the field's default."""
        values = columns_of(self._table, before)
        return self._of_values({name: values[name] for name in self._names if name in values})

    async def placed(self, ids: Collection[str] | None = None) -> dict[str, Placed[E]]:
        """Those of these that there are, by id; None: all of them."""
        query = self._select().add_columns(self._table.c.number)
        parts = [query] if ids is None else [query.where(self._table.c.id.in_(some)) for some in in_batches(ids)]
        found: dict[str, Placed[E]] = {}
        async with self._reading() as connection:
            for part in parts:
                found |= await connection.run_sync(self._placed, part)
        return found

    def _placed(self, connection: Connection, query: Select[Any]) -> dict[str, Placed[E]]:
        rows = connection.execution_options(yield_per=IDS_AT_A_TIME).execute(query)
        return {row.id: Placed(self._of_row(row[:-1]), row.number) for row in rows}

    async def count(self) -> int:
        """How many there are."""
        async with self._reading() as connection:
            return (await connection.execute(select(func.count()).select_from(self._table))).scalar_one()

    async def fold(self, into: Callable[[Iterable[E]], T]) -> T:
        """What `into` makes of all entities, the oldest first, of which few are in memory at a time.

        `into` runs within this call; between two batches other tasks have their turn.
        """
        async with self._reading() as connection:
            return await connection.run_sync(lambda sync: into(self._stream(sync)))

    def _stream(self, connection: Connection) -> Iterator[E]:
        rows = connection.execution_options(yield_per=ROWS_AT_A_TIME).execute(self._select())
        for row in rows:
            yield self._of_row(row)

    def _of_row(self, row: Row[Any] | Sequence[Any]) -> E:
        return self._of_values(dict(zip(self._names, row, strict=True)))

    def _of_values(self, values: dict[str, Any]) -> E:
        try:
            return self._entity.model_validate(values)
        except ValidationError as error:
            raise UnreadableRowError(self._kind, values["id"], error) from error

    def _select(self) -> Select[Any]:
        return select(*self._columns).order_by(self._table.c.number)

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        with translated_errors():
            async with self._database.reading.connect() as connection:
                yield connection

    @asynccontextmanager
    async def _writing(self, clash: MicroGatewayError | None) -> AsyncIterator[AsyncConnection]:
        with translated_errors():
            try:
                async with self._database.writing.begin() as connection:
                    yield connection
                self._journal.committed()
            except IntegrityError as error:
                raise clash or error from error

    def _refuse_absent(self, entity_id: str, changed: int) -> None:
        if not changed:
            raise NotFoundError(self._kind, entity_id)


def in_batches(those: Iterable[T]) -> Iterator[list[T]]:
    """So many as one statement takes; between two of them others have their turn."""
    left = iter(those)
    while some := list(islice(left, IDS_AT_A_TIME)):
        yield some
