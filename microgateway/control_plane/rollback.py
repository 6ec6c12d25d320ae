"""/api/config/history/{version}: what is different between two versions of the configuration, and back to one."""

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel

from microgateway.control_plane.configuration import Configuration
from microgateway.control_plane.dependencies import Here, Listing, WhichPart
from microgateway.control_plane.differences import Difference
from microgateway.control_plane.history import Kind, WhichVersion
from microgateway.control_plane.problems import documented
from microgateway.control_plane.restoring import Note, NoteCode, Restoration, RestoreRequest
from microgateway.control_plane.route_warnings import RouteWarning, all_warnings

MOST_TOLD = 200  # changes of a restore, and notes

router = APIRouter(prefix="/api/config", tags=["configuration"])

InForce = Literal["in_force"]
Against = Annotated[
    Annotated[int, Query(ge=1, le=2**53)] | InForce, Query(description="Another version; left out: that in force.")
]


class FieldDifference(BaseModel):
    """A field of it, or a field of a field, such as `circuit_breaker.mode`; null where it was not there."""

    field: str
    before: Any
    after: Any


class DifferenceAnswer(BaseModel):
    """What has become of one thing. `before` is null in all `fields` of what is created, `after` of what is deleted."""

    action: Literal["create", "change", "delete"]
    kind: Kind
    id: str
    name: str
    fields: list[FieldDifference]

    @classmethod
    def of(cls, difference: Difference) -> "DifferenceAnswer":
        fields = [FieldDifference(field=name, before=old, after=new) for name, old, new in difference.fields()]
        about = {name: getattr(difference, name) for name in ("action", "kind", "id", "name")}
        return cls(**about, fields=fields)


class DiffAnswer(Listing[DifferenceAnswer]):
    """What was created, changed and deleted from one version to another."""

    from_version: int
    to_version: int


@router.get("/history/{version}/diff", responses=documented(404, 409))
async def get_diff(here: Here, version: WhichVersion, part: WhichPart, against: Against = "in_force") -> DiffAnswer:
    """What is different in `against` from what it was in this version: the hashes of keys are not shown."""
    other = None if against == "in_force" else against
    return await told_diff(here.configuration, version, other, limit=part.limit, offset=part.offset)


async def told_diff(
    configuration: Configuration, version: int, against: int | None, *, limit: int, offset: int
) -> DiffAnswer:
    """A part of it, for whoever asks; against None: that in force."""
    found, other = await configuration.differences(version, against)
    items = [DifferenceAnswer.of(difference) for difference in found[offset : offset + limit]]
    return DiffAnswer(items=items, total=len(found), from_version=version, to_version=other)


class NoteAnswer(BaseModel):
    """A key `stays_revoked`; was rotated since and `keeps_its_text`; was made since and `stays`, or `is_disabled`.

    A key that was switched off or had expired `is_good_again`, and so is a token issuer that was deleted or off.
    """

    code: NoteCode
    kind: Literal["key", "token_issuer"]
    id: str
    name: str

    @classmethod
    def of(cls, note: Note) -> "NoteAnswer":
        return cls(**note._asdict())


class RestoreAnswer(BaseModel):
    """What was changed, or would be: the first 200 of `total` changes. Without any there is no new version.

    `version` is in force afterwards, with `dry_run` that which it still is. `warnings` tells of every route that no
    request reaches afterwards.
    """

    version: int
    restored_version: int
    dry_run: bool
    changes: list[DifferenceAnswer]
    total: int
    notes: list[NoteAnswer]
    warnings: list[RouteWarning]


@router.post("/history/{version}/restore", responses=documented(404, 409))
async def restore_version(here: Here, version: WhichVersion, asked: RestoreRequest | None = None) -> RestoreAnswer:
    """Makes the configuration what it was in this version, all of it or nothing, as one change that leads to a new one.

    Counters, buckets and circuits stay what they are. 404 for a version that is no longer kept.
    """
    asked, configuration = asked or RestoreRequest.model_validate({}), here.configuration
    if asked.dry_run:
        restoration = await configuration.rehearse_restore(version, asked)
    else:
        restoration = await configuration.restore(version, asked)
        _forget_what_has_gone(here, restoration)
    warnings = await asyncio.to_thread(all_warnings, restoration.snapshot.routes)
    return RestoreAnswer(
        version=restoration.snapshot.version,
        restored_version=version,
        dry_run=asked.dry_run,
        changes=[DifferenceAnswer.of(each) for each in restoration.changes[:MOST_TOLD]],
        total=len(restoration.changes),
        notes=[NoteAnswer.of(note) for note in restoration.notes[:MOST_TOLD]],
        warnings=warnings,
    )


def _forget_what_has_gone(here: Here, restoration: Restoration) -> None:
    """As after a deletion."""
    gone = [each for each in restoration.changes if each.after is None]
    for each in gone:
        if each.kind == "route":
            here.live.usage.forget_route(each.id)
    if any(each.kind == "service" for each in gone):
        here.live.usage.keep_services(here.configuration.services.keys())
