"""/api/token-issuers: others whose tokens the proxy port believes, and how it stands with their keys."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response
from pydantic import AwareDatetime, model_validator

from microgateway.clock import utc
from microgateway.control_plane.dependencies import ControlPlane, EntityId, Filter, Here, Listing, WhichPart
from microgateway.control_plane.kept_fields import without_kept_fields
from microgateway.control_plane.problems import documented
from microgateway.entities import TokenIssuer, TokenIssuerSpec

router = APIRouter(prefix="/api/token-issuers", tags=["token issuers"])


class TokenIssuerAnswer(TokenIssuer):
    """An issuer, with what is known of its keys, and how much its tokens were used.

    `key_ids` are those of the keys in force, `keys_fetched_at` is when they were last fetched, and `keys_error` why
    that failed since.
    """

    key_ids: list[str]
    keys_fetched_at: AwareDatetime | None
    keys_error: str | None
    total_requests: int
    rejected_requests: int
    last_used_at: AwareDatetime | None

    @classmethod
    def of(cls, issuer: TokenIssuer, here: ControlPlane) -> "TokenIssuerAnswer":
        source, usage = here.verifier.sources.known(issuer.id), here.live.usage.of_key(issuer.id)
        age = None if source is None or source.fetched_at is None else here.clock.now() - source.fetched_at
        return cls(
            **issuer.model_dump(),
            key_ids=[] if source is None else sorted({key.key_id for key in source.keys.keys}),
            keys_fetched_at=None if age is None else utc(here.clock.wall() - age),
            keys_error=None if source is None else source.error,
            total_requests=usage.total_requests,
            rejected_requests=usage.rejected_requests,
            last_used_at=None if usage.last_used_at is None else utc(usage.last_used_at),
        )


class TokenIssuerReplacement(TokenIssuerSpec):
    """What PUT takes. An issuer as GET answers it may be sent back: what the gateway keeps itself is passed over."""

    @model_validator(mode="before")
    @classmethod
    def pass_over_kept_fields(cls, body: object) -> object:
        return without_kept_fields(body, TokenIssuerAnswer, TokenIssuerSpec)


@router.get("")
async def list_token_issuers(
    here: Here, part: WhichPart, name: Filter = None, issuer: Filter = None
) -> Listing[TokenIssuerAnswer]:
    """The oldest first, with what is known of their keys."""
    page = await here.repository.token_issuers.list(limit=part.limit, offset=part.offset, name=name, issuer=issuer)
    return Listing(items=[TokenIssuerAnswer.of(item, here) for item in page.items], total=page.total)


@router.post("", status_code=201, responses=documented(409))
async def create_token_issuer(here: Here, spec: TokenIssuerSpec, response: Response) -> TokenIssuerAnswer:
    """Its keys are fetched at once, and nobody waits for that here."""
    issuer = await here.configuration.create_token_issuer(spec)
    response.headers["Location"] = f"{router.prefix}/{issuer.id}"
    return TokenIssuerAnswer.of(issuer, here)


@router.get("/{issuer_id}", responses=documented(404))
async def get_token_issuer(here: Here, issuer_id: EntityId) -> TokenIssuerAnswer:
    return TokenIssuerAnswer.of(await here.repository.token_issuers.get(issuer_id), here)


@router.put("/{issuer_id}", responses=documented(404, 409))
async def replace_token_issuer(here: Here, issuer_id: EntityId, spec: TokenIssuerReplacement) -> TokenIssuerAnswer:
    return TokenIssuerAnswer.of(await here.configuration.replace_token_issuer(issuer_id, spec), here)


@router.patch("/{issuer_id}", responses=documented(404, 409))
async def merge_token_issuer(
    here: Here, issuer_id: EntityId, patch: Annotated[dict[str, Any], Body()]
) -> TokenIssuerAnswer:
    """A JSON merge patch (RFC 7396): what is left out stays, null brings a field's default back."""
    return TokenIssuerAnswer.of(await here.configuration.merge_token_issuer(issuer_id, patch), here)


@router.delete("/{issuer_id}", status_code=204, responses=documented(404))
async def delete_token_issuer(here: Here, issuer_id: EntityId) -> None:
    """The very next request with one of its tokens is refused."""
    await here.configuration.delete_token_issuer(issuer_id)
