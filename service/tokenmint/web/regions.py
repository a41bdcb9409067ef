"""The documents of this region, and pages of its profiles, over HTTP, for the other regions."""

import re
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tokenmint.base.errors import TokenmintError
from tokenmint.model.copies import Part
from tokenmint.regions import profile_document, profile_puller
from tokenmint.regions.answers import MOST_REQUEST, RegionAnswers
from tokenmint.regions.identity import RegionRefused
from tokenmint.regions.puller import PATH
from tokenmint.storage import streams
from tokenmint.web.wellknown import unavailable

MEDIA_TYPE: Final = "application/jwt"
_EPOCH: Final = re.compile(r"[0-9]{1,15}", re.ASCII)


def region_routes(answers: RegionAnswers) -> list[Route]:
    """Return the routes of the documents, and of the pages of profiles."""

    async def region_document(request: Request) -> Response:
        after = request.query_params.get("after", streams.BEGINNING)
        if not streams.is_position(after):
            return _refusal(400, "after is not a place in the log")
        return await _answer(request, lambda region, token, epoch: answers.answer(region, token, epoch, after))

    async def region_profiles(request: Request) -> Response:
        query = request.query_params
        try:
            part = Part(query.get("part", ""))
        except ValueError:
            return _refusal(400, "part is none of the parts")
        after = query.get("after", "")
        if not (profile_document.is_cursor(after) if part is Part.ALL else streams.is_position(after)):
            return _refusal(400, "after is not a place")
        return await _answer(request, lambda region, token, epoch: answers.profiles(region, token, part, epoch, after))

    return [
        Route(PATH, region_document, methods=["GET"]),
        Route(profile_puller.PATH, region_profiles, methods=["GET"]),
    ]


async def _answer(request: Request, write: Callable[[str, str, int], Awaitable[str]]) -> Response:
    """Answer a signed request with the text that ``write`` returns, for a region, its request, and an epoch."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    epoch = request.query_params.get("epoch", "0")
    if scheme.lower() != "bearer" or len(token) > MOST_REQUEST:
        return _refusal(401, "a region's signed request is required")
    if not _EPOCH.fullmatch(epoch):
        return _refusal(400, "epoch is not a number")
    try:
        text = await write(request.query_params.get("for", ""), token, int(epoch))
    except RegionRefused as error:
        return _refusal(401, str(error))
    except TokenmintError as error:
        return unavailable(error.message, 1.0)
    return Response(text, media_type=MEDIA_TYPE, headers={"Cache-Control": "no-store"})


def _refusal(status: int, text: str) -> Response:
    return JSONResponse(
        {"error": "invalid_request", "error_description": text},
        status_code=status,
        headers={"Cache-Control": "no-store"},
    )
