"""What `/openapi.json` says of every endpoint, beside what the endpoint says itself."""

from threading import Lock
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import JSONResponse

from microgateway.control_plane.problems import documented

OF_EVERY_BODY = (400, 413, 415, 422)  # no JSON, too large, not said to be JSON, or makes no sense

router = APIRouter(include_in_schema=False)


class DescribedApp(FastAPI):
    """An application whose description has the problems that come before any endpoint is asked."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(openapi_url=None, **fields)
        self._describing = Lock()

    def openapi(self) -> dict[str, Any]:
        """Made once, by whoever asks first; who asks meanwhile, in another thread, waits for that."""
        with self._describing:
            is_new = self.openapi_schema is None
            document = super().openapi()
            if is_new:
                for operations in document["paths"].values():
                    for operation in operations.values():
                        _complete(operation)
            return document


@router.get("/openapi.json")
def openapi(request: Request) -> JSONResponse:
    """No coroutine, so it runs in a thread: the first one takes long, and traffic may be on the same event loop."""
    app: FastAPI = request.app
    return JSONResponse(app.openapi())


def _complete(operation: dict[str, Any]) -> None:
    """Every body can be refused before it is read, and that is the same everywhere."""
    if "requestBody" in operation:
        responses = operation["responses"]
        for status, problem in documented(*OF_EVERY_BODY).items():
            responses.setdefault(str(status), problem)
