"""/api/auth: a token for whoever holds an API key, and what a token is worth. No admin token is needed here."""

import asyncio
from contextlib import suppress
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from microgateway.control_plane.dependencies import ControlPlane, Here
from microgateway.control_plane.problems import KeyDisabledError, KeyExpiredError, KeyInvalidError, documented
from microgateway.exchange import Postponed
from microgateway.snapshot import Principal
from microgateway.tokens.faults import KEY_UNKNOWN, Fault
from microgateway.tokens.parsing import Claims

LARGEST_BODY = 16_384  # bytes: strangers send these
LONGEST_TOKEN = 12_000  # characters; longer than any that is believed, so that it can be said why

router = APIRouter(prefix="/api/auth", tags=["auth"])


class TokenRequest(BaseModel):
    """The key that the token is to be made of."""

    model_config = ConfigDict(extra="forbid")

    api_key: Annotated[str, Field(max_length=256, repr=False)]


class TokenAnswer(BaseModel):
    """A token, good for `expires_in` seconds."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  RFC 6750's name for it
    expires_in: int


class ValidationRequest(BaseModel):
    """A token, as a client would send it."""

    model_config = ConfigDict(extra="forbid")

    token: Annotated[str, Field(max_length=LONGEST_TOKEN, repr=False)]


class GoodToken(BaseModel):
    """The proxy port would take it now. `claims` is what it says."""

    valid: Literal[True] = True
    claims: dict[str, Any]


class BadToken(BaseModel):
    """The proxy port would answer 401, with this code."""

    valid: Literal[False] = False
    reason: str


@router.post("/token", responses=documented(401, 422, 429))
async def issue_token(here: Here, asked: TokenRequest, request: Request) -> TokenAnswer:
    """A token that says whose key this is. It is good as long as the key is, and at most JWT_EXPIRY_MINUTES."""
    address = request.client.host if request.client else ""
    here.failed_attempts.check(address, here.clock.now())
    try:
        principal = _holder(here, asked.api_key)
    except (KeyInvalidError, KeyDisabledError, KeyExpiredError):
        here.failed_attempts.note(address, here.clock.now())
        raise
    token = here.verifier.signer.issue(principal, here.clock.wall())
    return TokenAnswer(access_token=token.text, expires_in=token.expires_in)


@router.post("/validate", responses=documented(422))
async def validate_token(here: Here, asked: ValidationRequest) -> GoodToken | BadToken:
    """Judged as on the proxy port, at this moment: a token of a key that was revoked is not valid."""
    verdict = _claims(here, asked.token)
    if isinstance(verdict, Postponed):
        await _end_of(verdict, here.clock.now())
        verdict = _claims(here, asked.token)
    if isinstance(verdict, Postponed):
        return BadToken(reason=KEY_UNKNOWN.code)
    return BadToken(reason=verdict.code) if isinstance(verdict, Fault) else GoodToken(claims=verdict)


def _claims(here: ControlPlane, token: str) -> Claims | Fault | Postponed:
    return here.verifier.claims_of(token.encode(errors="replace"), here.configuration.snapshot.keys, here.clock.wall())


async def _end_of(postponed: Postponed, now: float) -> None:
    """Returns when the keys have been fetched, or not in time."""
    ended = asyncio.Event()
    postponed.then(ended.set)
    with suppress(TimeoutError):
        await asyncio.wait_for(ended.wait(), postponed.until - now)


def _holder(here: ControlPlane, api_key: str) -> Principal:
    """Whose key this is, as the proxy port would have it."""
    principal = here.configuration.snapshot.keys.find(api_key.encode(errors="replace"))
    if principal is None:
        raise KeyInvalidError("This API key is not known here.")
    if not principal.enabled:
        raise KeyDisabledError("This API key is revoked or switched off.")
    if principal.expires_at <= here.clock.wall():
        raise KeyExpiredError("This API key has expired.")
    return principal
