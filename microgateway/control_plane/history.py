"""/api/config: what was configured when. Each change has led to a version, which rows of the request log name."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel

from microgateway.control_plane.configuration import Configuration
from microgateway.control_plane.dependencies import Here, Listing, WhichPart
from microgateway.control_plane.problems import documented
from microgateway.entities import HASHES
from microgateway.errors import ConflictError, NotFoundError
from microgateway.persistence.configuration_history import EVERYTHING, PastChange
from microgateway.persistence.entity_table import UnreadableRowError

router = APIRouter(prefix="/api/config", tags=["configuration"])

Kind = Literal["service", "route", "rate_limit", "key", "token_issuer"]
WhichVersion = Annotated[int, Path(ge=1, le=2**53)]


class ChangeAnswer(BaseModel):
    """A change, and the `version` to which it led. `name` is what people call what was changed: a route's path.

    The `id` of a restore is the version that was restored.
    """

    version: int
    at: datetime
    action: Literal["create", "change", "delete", "seed", "restore"]
    kind: Kind | Literal["configuration"]
    id: str
    name: str


class HistoryAnswer(Listing[ChangeAnswer]):
    """Changes, the newest first. `version` is in force; versions from `oldest_version` on can be asked for."""

    version: int
    oldest_version: int


class ChangeDetails(ChangeAnswer):
    """What was changed, as it was before and after; null where it was not there. `fields` are those that differ."""

    before: dict[str, Any] | None
    after: dict[str, Any] | None
    fields: list[str]


@router.get("/history")
async def list_changes(here: Here, part: WhichPart) -> HistoryAnswer:
    """The changes of the configuration, the newest first."""
    return await told_history(here.configuration, limit=part.limit, offset=part.offset)


async def told_history(configuration: Configuration, *, limit: int, offset: int) -> HistoryAnswer:
    """A part of it, for whoever asks."""
    history = configuration.repository.history
    changes, total = await history.list(limit=limit, offset=offset)
    return HistoryAnswer(
        items=[ChangeAnswer.model_validate(_told(change)) for change in changes],
        total=total,
        version=configuration.snapshot.version,
        oldest_version=await history.oldest(),
    )


@router.get("/history/{version}", responses=documented(404, 409))
async def get_change(here: Here, version: WhichVersion) -> ChangeDetails:
    """The change that led to this version, with what it changed. What a seed or a restore changed, its `diff` tells."""
    change, later = await here.repository.history.get(version)
    if change.kind == EVERYTHING:
        return ChangeDetails.model_validate(_told(change) | {"before": None, "after": None, "fields": []})
    before = _shown(here, change)
    after = await _present(here, change) if later is None else _shown(here, later)
    names = {**(before or {}), **(after or {})}
    fields = [name for name in names if (before or {}).get(name) != (after or {}).get(name)]
    return ChangeDetails.model_validate(_told(change) | {"before": before, "after": after, "fields": fields})


def _told(change: PastChange) -> dict[str, Any]:
    return {name: getattr(change, name) for name in ChangeAnswer.model_fields}


def _shown(here: Here, change: PastChange) -> dict[str, Any] | None:
    if change.before is None:
        return None
    try:
        return _public(here.repository.table(change.kind).of_columns(change.before))
    except UnreadableRowError as error:
        raise ConflictError(str(error), field="version") from error


async def _present(here: Here, change: PastChange) -> dict[str, Any] | None:
    try:
        return _public(await here.repository.table(change.kind).get(change.id))
    except NotFoundError:
        return None


def _public(entity: BaseModel) -> dict[str, Any]:
    return entity.model_dump(mode="json", exclude=HASHES)
