"""The status lists over HTTP (Token Status List section 8.1)."""

import re
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tokenmint.base.errors import TokenmintError
from tokenmint.status_list.indices import PATH
from tokenmint.status_list.publisher import StatusLists
from tokenmint.web.wellknown import Document, has, response, unavailable

MEDIA_TYPE: Final = "application/statuslist+jwt"
_ID: Final = re.compile(r"[A-Za-z0-9_-]{22}")


def status_list_route(lists: StatusLists) -> Route:
    """Return the route of the lists. Each is public, as the key set is."""

    async def status_list(request: Request) -> Response:
        list_id = request.path_params["list_id"]
        if not _ID.fullmatch(list_id):
            return _refusal(404, "there is no such status list")
        if "time" in request.query_params:  # section 8.4
            return _refusal(501, "lists of the past are not kept")
        try:
            found = await lists.find(list_id)
        except TokenmintError:
            return unavailable("the status list can't be published now: retry later", 1.0)
        if found is None:
            return _refusal(404, "there is no such status list")
        document = Document(found.token, found.etag, found.max_age, MEDIA_TYPE)
        return response(document, unchanged=has(request.headers.get("if-none-match", ""), document))

    return Route(f"{PATH}{{list_id}}", status_list, methods=["GET"])


def _refusal(status: int, text: str) -> Response:
    return JSONResponse(
        {"error": "invalid_request", "error_description": text},
        status_code=status,
        headers={"Cache-Control": "no-store", "Access-Control-Allow-Origin": "*"},
    )
