"""/api/session: sign in to the dashboard with the admin token, see until when, and sign out."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from microgateway.clock import utc
from microgateway.control_plane.access import bearer
from microgateway.control_plane.dependencies import Here, ProxyAddress
from microgateway.control_plane.problems import AccessDeniedError, documented
from microgateway.control_plane.sessions import COOKIE_PATH, LIFETIME, cookie_name

router = APIRouter(prefix="/api/session", tags=["session"])
guarded = [Depends(bearer())]


class SignIn(BaseModel):
    """What the dashboard sends once, to be given a session for it."""

    model_config = ConfigDict(extra="forbid")

    token: Annotated[str, Field(min_length=1, max_length=1_024, repr=False, description="The admin token.")]


class SessionAnswer(BaseModel):
    """`expires_at` is null for who came with the admin token itself. `proxy` is where the proxy port is."""

    expires_at: AwareDatetime | None
    proxy: ProxyAddress | None


class NewSessionAnswer(BaseModel):
    """The cookie comes with this answer. `proof` belongs into `X-MicroGateway-Session` of every call made with it."""

    expires_at: AwareDatetime
    proof: str


@router.post("", responses=documented(401, 422, 429))
async def sign_in(here: Here, wanted: SignIn, request: Request, response: Response) -> NewSessionAnswer:
    """Needs no other credential. An address that tries too many wrong tokens has to wait."""
    address = request.client.host if request.client is not None else ""
    here.failed_sign_ins.check(address, here.clock.now())
    if not here.sessions.is_admin_token(wanted.token):
        here.failed_sign_ins.note(address, here.clock.now())
        raise AccessDeniedError("This is not the admin token.")
    session = here.sessions.begin()
    response.set_cookie(
        cookie_name(request.headers),
        session.secret,
        max_age=int(LIFETIME),
        path=COOKIE_PATH,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return NewSessionAnswer(expires_at=utc(session.expires_at), proof=session.proof)


@router.get("", dependencies=guarded, responses=documented(401, 422, 503))
async def get_session(here: Here, request: Request) -> SessionAnswer:
    """Until when the session is good, and where the proxy port is."""
    session = here.sessions.find(request.headers)
    return SessionAnswer(expires_at=None if session is None else utc(session.expires_at), proxy=here.proxy())


@router.delete("", status_code=204, dependencies=guarded, responses=documented(401, 422, 503))
async def sign_out(here: Here, request: Request, response: Response) -> None:
    """The session opens nothing any more, also not to somebody who has copied it."""
    here.sessions.end(request.headers)
    response.delete_cookie(cookie_name(request.headers), path=COOKIE_PATH, httponly=True, samesite="strict")
