"""The console's own files: page, style and scripts, as the package has them. They hold no data."""

from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

FOLDER: Final = files("tokenmint.web.console") / "static"
PAGE: Final = "index.html"
TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


def routes() -> list[Route]:
    """Return a route for each file; the page itself is at `/`."""
    return [
        _route(f"/{'' if file.name == PAGE else file.name}", file.read_bytes(), TYPES[file.name.rpartition(".")[2]])
        for file in sorted(FOLDER.iterdir(), key=lambda file: file.name)
    ]


def _route(path: str, body: bytes, media_type: str) -> Route:
    async def file(_: Request) -> Response:
        return Response(body, media_type=media_type)

    return Route(path, file, methods=["GET"])
