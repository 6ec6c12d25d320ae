"""Speaks to a running gateway's control port, for the operator's commands."""

import json
import urllib.error
import urllib.request
from typing import Any

from microgateway.control_plane.access import TOKEN_FILE
from microgateway.errors import MicroGatewayError
from microgateway.process.addresses import reachable
from microgateway.settings import Settings

LONGEST_CALL = 180.0  # seconds


class NotRunningError(MicroGatewayError):
    """Nobody listens on the control port."""


class RefusedError(MicroGatewayError):
    """The gateway has answered with a problem."""


class ControlClient:
    """The gateway that these settings are of, as its own operator sees it."""

    def __init__(self, settings: Settings) -> None:
        self._base = f"http://{reachable(settings.host)}:{settings.port}"
        self._token = _token(settings)
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy stands before it

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The answer's JSON. Raises `NotRunningError` and `RefusedError`."""
        request = urllib.request.Request(  # noqa: S310  the address is this machine's, or the operator's own
            self._base + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
        )
        try:
            with self._opener.open(request, timeout=LONGEST_CALL) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise RefusedError(_reason(error)) from None
        except (OSError, ValueError) as error:
            raise NotRunningError(f"no gateway answers at {self._base}: {error}") from None


def _token(settings: Settings) -> str:
    if settings.admin_token is not None:
        return settings.admin_token
    try:
        return (settings.data_dir / TOKEN_FILE).read_text().strip()
    except OSError:
        return ""


def _reason(error: urllib.error.HTTPError) -> str:
    """One line: the fields at fault, or the problem's detail."""
    try:
        problem = json.load(error)
    except ValueError:
        return f"the gateway answered {error.code}"
    if problem.get("code") == "admin_token_required":
        return (
            f"the gateway at {error.url} does not take this admin token: "
            "MICROGATEWAY_ADMIN_TOKEN, or MICROGATEWAY_DATA_DIR for its data folder, says which"
        )
    fields = [f"{each['field']}: {each['message']}" for each in problem.get("errors", ())]
    return "; ".join(fields) or str(problem.get("detail", error.code))
