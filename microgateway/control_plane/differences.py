"""What is different between two versions of the configuration: of each thing, what it was and what it became."""

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from microgateway.entities import HASHES
from microgateway.errors import ConflictError
from microgateway.persistence.configuration_history import EVERYTHING, PastChange, to_undo
from microgateway.persistence.entity_table import EntityTable, Placed, UnreadableRowError
from microgateway.persistence.repository import Repository
from microgateway.persistence.tables import ENTITIES

UNTOLD = {*HASHES, "id", "updated_at"}  # who only changes something back has changed nothing


@dataclass(frozen=True, slots=True)
class Difference:
    """What became of one thing. None: it was not there, or is no more."""

    kind: str
    id: str
    before: Placed[Any] | None
    after: Placed[Any] | None

    @property
    def action(self) -> Literal["create", "change", "delete"]:
        if self.before is None:
            return "create"
        return "delete" if self.after is None else "change"

    @property
    def name(self) -> str:
        """What people call it: a route's path."""
        entity = next(side.entity for side in (self.after, self.before) if side is not None)
        return str(getattr(entity, "name", None) or getattr(entity, "path", ""))

    def fields(self) -> list[tuple[str, Any, Any]]:
        """Those that are different, as JSON, before and after; `circuit_breaker.mode` is a field of a field."""
        sides = [dict(_flat(_told(one))) for one in (self.before, self.after)]
        values = [(name, sides[0].get(name), sides[1].get(name)) for name in {**sides[0], **sides[1]}]
        return [each for each in values if each[1] != each[2]]


async def differences(repository: Repository, before: int, after: int) -> list[Difference]:
    """From one version to another, which may be the older one. The keys among it have their hashes.

    Raises `VersionNotKeptError`, and `ConflictError` for what this MicroGateway can't read. Nothing may be changed
    meanwhile.
    """
    for version in (before, after):
        await repository.history.check(version)
    changes = await repository.history.since(min(before, after))
    found: list[Difference] = []
    for kind in ENTITIES:
        touched = _touched(changes, kind, max(before, after))
        if touched is None or touched:
            table: EntityTable[Any] = repository.table(kind)
            try:
                scene = _Scene(kind, table, changes, await table.placed(touched), touched)
                found += await asyncio.to_thread(scene.differences, before, after)
            except UnreadableRowError as error:
                raise ConflictError(str(error), field="version") from error
    return found


@dataclass(frozen=True, slots=True)
class _Scene:
    """All of one kind, and what was `touched` of it: `present` is what is left. None: whatever there is."""

    kind: str
    table: EntityTable[Any]
    changes: Sequence[PastChange]
    present: Mapping[str, Placed[Any]]
    touched: Collection[str] | None

    def differences(self, before: int, after: int) -> list[Difference]:
        then, later = self._at(before), self._at(after)
        ids = [one for one in {**then, **later} if self.touched is None or one in self.touched]
        together = (Difference(self.kind, one, then.get(one), later.get(one)) for one in ids)
        return [each for each in together if each.action != "change" or each.fields()]

    def _at(self, version: int) -> dict[str, Placed[Any]]:
        is_seeded, befores = to_undo((change for change in self.changes if change.number >= version), self.kind)
        state = {} if is_seeded else dict(self.present)
        for entity_id, change in befores.items():
            state.pop(entity_id, None)
            if (columns := change.before) is not None:
                state[entity_id] = Placed(self.table.of_columns(columns), columns["number"])
        return state


def _touched(changes: Sequence[PastChange], kind: str, end: int) -> Collection[str] | None:
    """What was changed before this version; None: whatever there is, since it came with a seed."""
    if any(change.kind == EVERYTHING for change in changes):
        return None
    return {change.id for change in changes if change.kind == kind and change.number < end}


def _told(placed: Placed[Any] | None) -> dict[str, Any]:
    return {} if placed is None else placed.entity.model_dump(mode="json", exclude=UNTOLD)


def _flat(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in document.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
