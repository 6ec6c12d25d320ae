"""The API's own pages, at `/docs`: they need no internet.

Swagger UI comes out of the `fastapi-swagger` package's resources. Its start is a file of its own, so that the pages run
no script that stands inside HTML; and it is told not to send our API's description to anybody for validation.
"""

from importlib import resources

from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response

CARRIER = "fastapi_swagger.resources"
MEDIA_TYPES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
ONE_HOUR = "public, max-age=3600"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

DOCS = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>MicroGateway API</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="icon" href="docs/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""

START = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  filter: true,
  persistAuthorization: false,
  tryItOutEnabled: true,
  validatorUrl: null,
});
"""

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def docs() -> HTMLResponse:
    """Swagger UI, which reads `/openapi.json`."""
    return HTMLResponse(DOCS, headers={"Content-Security-Policy": POLICY})


@router.get("/docs/start.js")
async def start_script() -> Response:
    return Response(START, media_type="text/javascript", headers={"Cache-Control": ONE_HOUR})


@router.get("/docs/swagger-ui-bundle.js")
async def swagger_script() -> Response:
    return _carried("swagger-ui-bundle.js")


@router.get("/docs/swagger-ui.css")
async def swagger_style() -> Response:
    return _carried("swagger-ui.css")


@router.get("/docs/favicon-32x32.png")
async def swagger_icon() -> Response:
    return _carried("favicon-32x32.png")


def _carried(name: str) -> Response:
    content = resources.files(CARRIER).joinpath(name).read_bytes()
    return Response(content, media_type=MEDIA_TYPES[name], headers={"Cache-Control": ONE_HOUR})
