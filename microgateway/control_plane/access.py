"""Who may use the control API: whoever holds the admin token, or a session that it has begun (`sessions.py`).

The token is given by the operator, or generated at the first start and kept in the data folder (mode 0600). It is
checked before a body is read or a path is looked up.
"""

import hashlib
import hmac
from pathlib import Path

from fastapi.security import HTTPBearer
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from microgateway.control_plane.problems import AccessDeniedError, problem_of
from microgateway.control_plane.sessions import Sessions
from microgateway.persistence.secret_file import LoadedSecret, load_or_create_secret

API = "/api"
METRICS = "/metrics"
TOKEN_FILE = "admin_token"  # noqa: S105  the file's name, not the token
SIGN_IN = "/api/session"  # POST takes the token in its body
FOR_KEY_HOLDERS = frozenset(("/api/auth/token", "/api/auth/validate"))


class AdminAccess:
    """Lets requests below `/api`, and to `/metrics`, through with `Authorization: Bearer <admin token>` or a session.

    `/metrics` takes `metrics_token` as well, so that who collects figures can do nothing else.
    """

    def __init__(self, app: ASGIApp, *, sessions: Sessions, metrics_token: str | None = None) -> None:
        self._app = app
        self._sessions = sessions
        self._metrics_digest = None if metrics_token is None else hashlib.sha256(metrics_token.encode()).digest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._may_pass(scope):
            answer = problem_of(
                AccessDeniedError("This needs 'Authorization: Bearer <admin token>' with the right token.")
            )
            await answer(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _may_pass(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        if _is_guarded(scope, API):
            return self._is_admin(headers)
        return not _is_guarded(scope, METRICS) or self._is_admin(headers) or self._collects_figures(headers)

    def _collects_figures(self, headers: Headers) -> bool:
        """By hashes, so that neither the token's length nor its beginning can be timed."""
        credentials = headers.getlist("authorization")
        if self._metrics_digest is None or len(credentials) != 1:
            return False
        scheme, _, token = credentials[0].partition(" ")
        digest = hashlib.sha256(token.strip().encode("latin-1")).digest()
        return hmac.compare_digest(digest, self._metrics_digest) and scheme.lower() == "bearer"

    def _is_admin(self, headers: Headers) -> bool:
        """A credential that is there has to be right: a session does not mend a wrong one."""
        credentials = headers.getlist("authorization")
        if not credentials:
            return self._sessions.find(headers) is not None
        scheme, _, token = credentials[0].partition(" ")
        is_right = self._sessions.is_admin_token(token.strip())
        return is_right and scheme.lower() == "bearer" and len(credentials) == 1


def bearer() -> HTTPBearer:
    """What the OpenAPI pages know of the token; it refuses nobody, since `AdminAccess` has done so already."""
    return HTTPBearer(auto_error=False, scheme_name="Admin token", description="MICROGATEWAY_ADMIN_TOKEN")


def load_or_create_admin_token(given: str | None, data_dir: Path) -> LoadedSecret:
    """MICROGATEWAY_ADMIN_TOKEN as it is, or the data folder's own. Raises `StartupError`."""
    if given is not None:
        return LoadedSecret(given, newly_created=False)
    return load_or_create_secret(data_dir, TOKEN_FILE, called="admin token")


def _is_guarded(scope: Scope, tree: str) -> bool:
    """Whether the path is in this tree, with or without the prefix at which a server says that it mounted this app.

    What serves holders of keys takes their credential in the body, and so does the sign-in.
    """
    path: str = scope["path"]
    below = path.removeprefix(scope.get("root_path", ""))
    if below in FOR_KEY_HOLDERS or (below == SIGN_IN and scope["method"] == "POST"):
        return False
    return any(candidate == tree or candidate.startswith(tree + "/") for candidate in (path, below))
