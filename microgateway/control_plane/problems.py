"""Every error of the control port as RFC 9457 problem+json: the table of which error is answered how."""

import logging
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from microgateway.control_plane.jobs import TooManyJobsError
from microgateway.control_plane.merge_patch import FieldError, InvalidEntityError, field_error
from microgateway.control_plane.security_headers import SECURITY_HEADERS
from microgateway.errors import ConfigurationError, ConflictError, MicroGatewayError, NotFoundError
from microgateway.observability.live_hub import TooManyListenersError
from microgateway.observability.log_feed import LogUnavailableError
from microgateway.persistence.database import DatabaseUnavailableError

MEDIA_TYPE = "application/problem+json"
_TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}  # RFC 9110's; Python's depend on its version


class BodyTooLargeError(MicroGatewayError):
    """The body is larger than any configuration needs to be."""


class AccessDeniedError(MicroGatewayError):
    """The admin token, or the session, is missing or wrong."""


class KeyInvalidError(MicroGatewayError):
    """Nobody has this API key."""


class KeyDisabledError(MicroGatewayError):
    """The API key is revoked or switched off."""


class KeyExpiredError(MicroGatewayError):
    """The API key has expired."""


class TooManyAttemptsError(MicroGatewayError):
    """Too many wrong credentials came from one address."""


class NotReadyError(MicroGatewayError):
    """No traffic should be sent here at the moment."""


_KEY_CHALLENGE = {"WWW-Authenticate": 'ApiKey realm="microgateway"'}

# The first line that fits decides: status, code, and fields of the answer.
_ANSWERS: Mapping[type[MicroGatewayError], tuple[int, str, Mapping[str, str]]] = {
    AccessDeniedError: (401, "admin_token_required", {"WWW-Authenticate": 'Bearer realm="MicroGateway admin"'}),
    KeyInvalidError: (401, "api_key_invalid", _KEY_CHALLENGE),
    KeyDisabledError: (401, "api_key_disabled", _KEY_CHALLENGE),
    KeyExpiredError: (401, "api_key_expired", _KEY_CHALLENGE),
    NotFoundError: (404, "not_found", {}),
    ConflictError: (409, "conflict", {}),
    BodyTooLargeError: (413, "body_too_large", {"Connection": "close"}),
    ConfigurationError: (422, "invalid", {}),
    InvalidEntityError: (422, "invalid", {}),
    TooManyJobsError: (429, "too_many_jobs", {"Retry-After": "5"}),
    TooManyAttemptsError: (429, "too_many_attempts", {"Retry-After": "1"}),
    DatabaseUnavailableError: (503, "database_unavailable", {"Retry-After": "5"}),
    LogUnavailableError: (503, "log_unavailable", {"Retry-After": "5"}),
    TooManyListenersError: (503, "too_many_listeners", {"Retry-After": "5"}),
    NotReadyError: (503, "not_ready", {"Retry-After": "1"}),
}

# What the OpenAPI pages say of a problem.
SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "examples": ["urn:microgateway:problem:not_found"]},
        "title": {"type": "string", "description": "The status in words."},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong, for people."},
        "code": {"type": "string", "description": "What is wrong, for programs; it stays what it is."},
        "errors": {
            "type": "array",
            "description": "The fields at fault.",
            "items": {"type": "object", "properties": {"field": {"type": "string"}, "message": {"type": "string"}}},
        },
    },
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an endpoint that may answer with these problems."""
    content = {MEDIA_TYPE: {"schema": SCHEMA}}
    return {status: {"description": _title(status), "content": content} for status in statuses}


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    errors: Iterable[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """One problem as an answer."""
    content: dict[str, Any] = {
        "type": f"urn:microgateway:problem:{code}",
        "title": _title(status),
        "status": status,
        "detail": detail,
        "code": code,
    }
    if listed := [{"field": error.field, "message": error.message} for error in errors]:
        content["errors"] = listed
    return JSONResponse(content, status, headers, MEDIA_TYPE)


def problem_of(error: MicroGatewayError) -> JSONResponse:
    """The answer to one of our own errors."""
    for kind, (status, code, headers) in _ANSWERS.items():
        if isinstance(error, kind):
            if error.__cause__ is not None and status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                _logger().warning("answered %d: %s (%s)", status, error, str(error.__cause__).partition("\n")[0])
            return problem(status, code, str(error), errors=_fields_at_fault(error), headers=headers)
    _logger().error("no answer is known for %s", type(error).__name__, exc_info=error)
    return _unexpected()


def install_problems(app: FastAPI) -> None:
    """Makes every error of `app` a problem, also those that the framework raises and those that nobody expects."""

    async def answer(request: Request, error: Exception) -> JSONResponse:
        match error:
            case MicroGatewayError():
                return problem_of(error)
            case RequestValidationError():
                return _invalid(request, error)
            case HTTPException():
                return _http(request, error)
            case _:
                return _unexpected()  # the framework raises it again, so the server logs it

    for kind in (MicroGatewayError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, answer)


def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    items = error.errors()
    if any(item["loc"][0] == "path" for item in items):
        return problem(404, "not_found", "There is nothing with this id.")
    if any(item["type"] == "json_invalid" for item in items):
        return problem(
            400, "malformed_json", f"The body is not JSON: {items[0].get('ctx', {}).get('error', 'malformed')}."
        )
    if any(item["loc"] == ("body",) for item in items) and not _says_json(request):
        return problem(415, "unsupported_media_type", "Send JSON, with 'Content-Type: application/json'.")
    errors = [field_error(item["loc"][1:], item) for item in items]
    where = "query" if items[0]["loc"][0] == "query" else "body"
    return problem(422, "invalid", f"The request's {where} makes no sense; `errors` says where.", errors=errors)


def _says_json(request: Request) -> bool:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


def _http(request: Request, error: HTTPException) -> JSONResponse:
    """What the framework raises by itself."""
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = _allowed_methods(request, request.scope["path"])
        headers["Allow"] = allowed
        return problem(405, "method_not_allowed", f"This path takes {allowed}.", headers=headers)
    if error.status_code == HTTPStatus.NOT_FOUND:
        return problem(404, "unknown_path", _where_else(request), headers=headers)
    if error.status_code == HTTPStatus.BAD_REQUEST:
        return problem(400, "malformed_json", "The body can't be read as JSON.", headers=headers)
    return problem(error.status_code, "http_error", str(error.detail), headers=headers)


def _where_else(request: Request) -> str:
    """Whoever is lost has put a slash too many, or takes this for the port that clients use."""
    path: str = request.scope["path"]
    if path.endswith("/") and _allowed_methods(request, path.rstrip("/")):
        return f"There is nothing at this path; {path.rstrip('/')} has no slash at its end."
    return "There is nothing at this path of the control port; /docs lists what there is."


def _allowed_methods(request: Request, path: str) -> str:
    """All of them: the framework has one route for each method, and names only the first one's."""
    methods: set[str] = set()
    for route in iter_route_contexts(request.app.routes):
        if route.path_regex.match(path):
            methods |= route.methods or set()
    return ", ".join(sorted(methods))


def _unexpected() -> JSONResponse:
    return problem(500, "internal_error", "The gateway made a mistake; its log says more.", headers=SECURITY_HEADERS)


def _fields_at_fault(error: MicroGatewayError) -> Iterable[FieldError]:
    if isinstance(error, InvalidEntityError):
        return error.errors
    if isinstance(error, ConfigurationError | ConflictError):
        return (FieldError(error.field, str(error)),)
    return ()


def _title(status: int) -> str:
    return _TITLES.get(status) or HTTPStatus(status).phrase


def _logger() -> logging.Logger:
    return logging.getLogger("microgateway.control_plane")
