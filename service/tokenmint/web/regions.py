"""The documents of this region over HTTP, for the other regions."""

import re
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tokenmint.base.errors import TokenmintError
from tokenmint.regions.answers import MOST_REQUEST, RegionAnswers
from tokenmint.regions.identity import RegionRefused
from tokenmint.regions.puller import PATH
from tokenmint.storage import streams
from tokenmint.web.wellknown import unavailable

MEDIA_TYPE: Final = "application/jwt"
_EPOCH: Final = re.compile(r"[0-9]{1,15}", re.ASCII)


def region_route(answers: RegionAnswers) -> Route:
    """Return the route of the documents."""

    async def region_document(request: Request) -> Response:
        query = request.query_params
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        epoch, after = query.get("epoch", "0"), query.get("after", streams.BEGINNING)
        if scheme.lower() != "bearer" or len(token) > MOST_REQUEST:
            return _refusal(401, "a region's signed request is required")
        if not _EPOCH.fullmatch(epoch) or not streams.is_position(after):
            return _refusal(400, "epoch or after is not a place in the log")
        try:
            text = await answers.answer(query.get("for", ""), token, int(epoch), after)
        except RegionRefused as error:
            return _refusal(401, str(error))
        except TokenmintError as error:
            return unavailable(error.message, 1.0)
        return Response(text, media_type=MEDIA_TYPE, headers={"Cache-Control": "no-store"})

    return Route(PATH, region_document, methods=["GET"])


def _refusal(status: int, text: str) -> Response:
    return JSONResponse(
        {"error": "invalid_request", "error_description": text},
        status_code=status,
        headers={"Cache-Control": "no-store"},
    )
