"""What `/openapi.json` says of every endpoint, beside what the endpoint says itself."""

from typing import Any

from fastapi import FastAPI

from microgateway.control_plane.problems import documented

OF_EVERY_BODY = (400, 413, 415, 422)  # no JSON, too large, not said to be JSON, or makes no sense


class DescribedApp(FastAPI):
    """An application whose description has the problems that come before any endpoint is asked."""

    def openapi(self) -> dict[str, Any]:
        is_new = self.openapi_schema is None
        document = super().openapi()
        if is_new:
            for operations in document["paths"].values():
                for operation in operations.values():
                    _complete(operation)
        return document


def _complete(operation: dict[str, Any]) -> None:
    """Every body can be refused before it is read, and that is the same everywhere."""
    if "requestBody" in operation:
        responses = operation["responses"]
        for status, problem in documented(*OF_EVERY_BODY).items():
            responses.setdefault(str(status), problem)
