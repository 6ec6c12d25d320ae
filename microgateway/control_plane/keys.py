"""/api/keys: who may use the gateway, and how much of it."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Body, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from microgateway.clock import utc
from microgateway.control_plane.dependencies import EntityId, Filter, Here, Listing, WhichPart
from microgateway.control_plane.kept_fields import without_kept_fields
from microgateway.control_plane.live_view import Live
from microgateway.control_plane.mint import IssuedKey
from microgateway.control_plane.problems import documented
from microgateway.entities import HASHES, ApiKey, ApiKeySpec

LONGEST_OVERLAP = 366 * 24 * 3_600  # seconds

router = APIRouter(prefix="/api/keys", tags=["keys"])


class KeyAnswer(ApiKeySpec):
    """A key, with what the gateway has seen of it. Neither its text nor its hash is among it."""

    id: str
    requests_per_minute: int
    burst_size: int
    key_prefix: str
    previous_expires_at: AwareDatetime | None
    total_requests: int
    rejected_requests: int
    last_used_at: AwareDatetime | None
    created_at: AwareDatetime
    revoked_at: AwareDatetime | None

    @classmethod
    def of(cls, key: ApiKey, live: Live) -> "KeyAnswer":
        return cls(**_answer_fields(key, live))


class NewKeyAnswer(KeyAnswer):
    """The answer to a creation and to a rotation alone carries the key's text: only its hash is kept."""

    key: str

    @classmethod
    def of_issued(cls, issued: IssuedKey, live: Live) -> "NewKeyAnswer":
        return cls(**_answer_fields(issued.key, live), key=issued.text)


class KeyReplacement(ApiKeySpec):
    """What PUT takes. A key as GET answers it may be sent back: what the gateway keeps itself is passed over."""

    @model_validator(mode="before")
    @classmethod
    def pass_over_kept_fields(cls, body: object) -> object:
        return without_kept_fields(body, KeyAnswer, ApiKeySpec)


class Rotation(BaseModel):
    """How long the text that a key has now is good beside the new one. 0: no longer at all."""

    model_config = ConfigDict(extra="forbid")

    overlap_seconds: Annotated[int, Field(ge=0, le=LONGEST_OVERLAP)]


@router.get("")
async def list_keys(
    here: Here, part: WhichPart, name: Filter = None, owner: Filter = None, team: Filter = None
) -> Listing[KeyAnswer]:
    """Revoked keys are among them."""
    page = await here.repository.keys.list(limit=part.limit, offset=part.offset, name=name, owner=owner, team=team)
    return Listing(items=[KeyAnswer.of(key, here.live) for key in page.items], total=page.total)


@router.post("", status_code=201)
async def create_key(here: Here, spec: ApiKeySpec, response: Response) -> NewKeyAnswer:
    """`key` in the answer is the key itself, which is shown this once."""
    issued = await here.configuration.create_key(spec)
    response.headers["Location"] = f"{router.prefix}/{issued.key.id}"
    return NewKeyAnswer.of_issued(issued, here.live)


@router.get("/{key_id}", responses=documented(404))
async def get_key(here: Here, key_id: EntityId) -> KeyAnswer:
    return KeyAnswer.of(await here.repository.keys.get(key_id), here.live)


@router.put("/{key_id}", responses=documented(404, 409))
async def replace_key(here: Here, key_id: EntityId, spec: KeyReplacement) -> KeyAnswer:
    """The key's text stays what it is. 409 for a revoked key."""
    return KeyAnswer.of(await here.configuration.replace_key(key_id, spec), here.live)


@router.patch("/{key_id}", responses=documented(404, 409))
async def merge_key(here: Here, key_id: EntityId, patch: Annotated[dict[str, Any], Body()]) -> KeyAnswer:
    """A JSON merge patch (RFC 7396): what is left out stays, null brings a field's default back."""
    return KeyAnswer.of(await here.configuration.merge_key(key_id, patch), here.live)


@router.post("/{key_id}/rotate", responses=documented(404, 409))
async def rotate_key(here: Here, key_id: EntityId, rotation: Rotation) -> NewKeyAnswer:
    """Gives the key a new text, which is shown this once. A second rotation ends the first one's overlap."""
    issued = await here.configuration.rotate_key(key_id, timedelta(seconds=rotation.overlap_seconds))
    return NewKeyAnswer.of_issued(issued, here.live)


@router.delete("/{key_id}", status_code=204, responses=documented(404))
async def revoke_key(here: Here, key_id: EntityId) -> None:
    """The key opens nothing any more, for good; it stays in the list. Revoking it again changes nothing."""
    await here.configuration.revoke_key(key_id)


def _answer_fields(key: ApiKey, live: Live) -> dict[str, Any]:
    usage = live.usage.of_key(key.id)
    return {
        **key.model_dump(exclude=HASHES),
        "total_requests": usage.total_requests,
        "rejected_requests": usage.rejected_requests,
        "last_used_at": None if usage.last_used_at is None else utc(usage.last_used_at),
    }
