"""Who may use the control API: whoever holds the admin token.

The token is given by the operator, or generated at the first start and kept in the data folder (mode 0600). It is
checked before a body is read or a path is looked up.
"""

import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import NamedTuple

from fastapi.security import HTTPBearer
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from microgateway.control_plane.problems import AccessDeniedError, problem_of
from microgateway.errors import StartupError
from microgateway.persistence.data_folder import prepare_data_folder

API = "/api"
TOKEN_FILE = "admin_token"  # noqa: S105  the file's name, not the token
TOKEN_BYTES = 32


class LoadedToken(NamedTuple):
    """The token, and whether this start has made it."""

    token: str
    newly_created: bool


class AdminAccess:
    """Lets requests below `/api` through only with `Authorization: Bearer <admin token>`.

    Hashes are compared, so that neither the token's length nor its beginning can be timed.
    """

    def __init__(self, app: ASGIApp, *, admin_token: str) -> None:
        self._app = app
        self._digest = hashlib.sha256(admin_token.encode()).digest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _is_guarded(scope) and not self._is_admin(Headers(scope=scope)):
            answer = problem_of(
                AccessDeniedError("This needs 'Authorization: Bearer <admin token>' with the right token.")
            )
            await answer(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_admin(self, headers: Headers) -> bool:
        credentials = headers.getlist("authorization")
        if len(credentials) != 1:
            return False
        scheme, _, token = credentials[0].partition(" ")
        digest = hashlib.sha256(token.strip().encode("latin-1")).digest()
        return hmac.compare_digest(digest, self._digest) and scheme.lower() == "bearer"


def bearer() -> HTTPBearer:
    """What the OpenAPI pages know of the token; it refuses nobody, since `AdminAccess` has done so already."""
    return HTTPBearer(auto_error=False, scheme_name="Admin token", description="MICROGATEWAY_ADMIN_TOKEN")


def load_or_create_admin_token(given: str | None, data_dir: Path) -> LoadedToken:
    """MICROGATEWAY_ADMIN_TOKEN as it is, or the data folder's own. Raises `StartupError`."""
    if given is not None:
        return LoadedToken(given, newly_created=False)
    prepare_data_folder(data_dir)
    path = data_dir / TOKEN_FILE
    try:
        return _load(path) if path.exists() else _create(path)
    except OSError as error:
        raise StartupError(f"the admin token in {str(path)!r} can't be used: {error.strerror}") from error


def _is_guarded(scope: Scope) -> bool:
    """Whether the path is the API's, with or without the prefix at which a server says that it mounted this app."""
    path: str = scope["path"]
    below = path.removeprefix(scope.get("root_path", ""))
    return any(candidate == API or candidate.startswith(API + "/") for candidate in (path, below))


def _create(path: Path) -> LoadedToken:
    token = secrets.token_urlsafe(TOKEN_BYTES)
    unfinished = path.with_name(f"{TOKEN_FILE}.{os.getpid()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(token + "\n")
    try:
        os.link(unfinished, path)  # whole or not at all; and of two that start at once, one wins
    except FileExistsError:
        return _load(path)
    finally:
        unfinished.unlink()
    return LoadedToken(token, newly_created=True)


def _load(path: Path) -> LoadedToken:
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    token = path.read_text(encoding="utf-8", errors="replace").strip()
    if not token:
        raise StartupError(f"the admin token file {str(path)!r} is empty; delete it to have a new token made")
    return LoadedToken(token, newly_created=False)
