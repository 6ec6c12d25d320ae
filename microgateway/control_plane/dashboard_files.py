"""The dashboard's own files: the page at `/`, and what it loads from `/assets/`.

A browser asks each time whether its copy is still good, and is told so without the content: a new version is there with
the next load, and nothing is loaded twice.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterator
from importlib import resources
from importlib.resources.abc import Traversable

from fastapi import APIRouter, Request
from starlette.responses import Response

ROOM = "microgateway.dashboard"
PAGE = "index.html"
MEDIA_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)


class Asset:
    """One file, as it is answered to whoever has it already, and to whoever has not."""

    def __init__(self, name: str, content: bytes) -> None:
        self.content = content
        self.media_type = MEDIA_TYPES[name.rpartition(".")[2]]
        self.etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'

    def answer(self, known: str) -> Response:
        """`known` is the request's If-None-Match (RFC 9110, 13.1.2): tags compare weakly."""
        headers = {"ETag": self.etag, "Cache-Control": "no-cache", "Content-Security-Policy": POLICY}
        if known.strip() == "*" or self.etag in (tag.strip().removeprefix("W/") for tag in known.split(",")):
            return Response(status_code=304, headers=headers)
        return Response(self.content, media_type=self.media_type, headers=headers)


def dashboard_router() -> APIRouter:
    """Serves what the package has now; a path that it has not is unknown like any other."""
    assets = dict(read_assets())
    router = APIRouter(include_in_schema=False)

    @router.head("/")
    @router.get("/")
    async def page(request: Request) -> Response:
        return assets[PAGE].answer(request.headers.get("if-none-match", ""))

    for name in assets:
        router.add_api_route(f"/assets/{name}", _endpoint(assets[name]), methods=["GET", "HEAD"])
    return router


def read_assets() -> Iterator[tuple[str, Asset]]:
    """Every file of the dashboard, by its path in the package."""
    return ((name, Asset(name, file.read_bytes())) for name, file in _files(resources.files(ROOM), ""))


def _files(folder: Traversable, path: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _files(entry, f"{path}{entry.name}/")
        elif entry.name.rpartition(".")[2] in MEDIA_TYPES:
            yield path + entry.name, entry


def _endpoint(asset: Asset) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        return asset.answer(request.headers.get("if-none-match", ""))

    return serve
