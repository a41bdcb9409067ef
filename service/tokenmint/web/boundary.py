"""The outermost layer of an HTTP application: it refuses requests early, and keeps the text of exceptions inside."""

from collections.abc import Callable
from typing import Final

import structlog
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tokenmint.base.errors import Overloaded
from tokenmint.base.tasks import ENDING
from tokenmint.base.telemetry import places
from tokenmint.web.connections import Place
from tokenmint.web.places import Places
from tokenmint.web.protocol import PLACE

log = structlog.get_logger(__name__)

RETRY_AFTER: Final = "1"  # seconds
URGENT: Final = 32
"""Places for requests of urgent paths, which no other request takes."""


class Boundary:
    """Refuses ambiguous requests and excess requests, and hides the text of exceptions.

    Args:
        application: the application behind it.
        requests: the largest number of requests in progress; a request counts once its body is complete.
        always: paths that are always answered, for health checks.
        urgent: paths with places of their own: a token is revoked while exchanges are too many.
        count: called for each refused request, for the metrics.
    """

    def __init__(
        self,
        application: ASGIApp,
        *,
        requests: int,
        always: frozenset[str] = frozenset(),
        urgent: frozenset[str] = frozenset(),
        count: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._application = application
        self._usual = Places(requests)
        self._urgent = dict.fromkeys(urgent, Places(URGENT))
        self._always = always
        self._count = count

    @property
    def places(self) -> Places:
        """The places of usual requests."""
        return self._usual

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = _ambiguous(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
        elif scope["path"] in self._always:
            await self._answer(scope, receive, send)
        elif (places := self._urgent.get(scope["path"])) is not None:
            await self._in_turn(scope, receive, send, places)
        elif _crowded(scope):
            await self._busy()(scope, receive, send)
        else:
            await self._in_turn(scope, receive, send, self._usual)

    async def _in_turn(self, scope: Scope, receive: Receive, send: Send, places: Places) -> None:
        """Answer; the request holds a place from the moment at which it is complete."""
        taken, refused = False, False

        async def received() -> Message:
            nonlocal taken, refused
            message = await receive()
            if message["type"] != "http.request" or message.get("more_body") or taken:
                return message
            taken = places.take()
            if not taken:
                refused = True
                await self._busy()(scope, receive, send)
                raise Overloaded()  # ends the application; it was answered here
            return message

        async def sent(message: Message) -> None:
            if not refused:
                await send(message)

        try:
            if _has_body(scope):
                await self._answer(scope, received, sent)
            elif taken := places.take():
                await self._answer(scope, receive, send)
            else:
                await self._busy()(scope, receive, send)
        finally:
            places.free += taken

    def _busy(self) -> Response:
        self._count("request_refused")
        headers = {"Retry-After": RETRY_AFTER, "Connection": "close", "Cache-Control": "no-store"}
        return PlainTextResponse("too many requests at the moment: retry later\n", 503, headers)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._application(scope, receive, send)
        except (ClientDisconnect, Overloaded):
            pass  # the client is gone, or was answered here
        except ENDING:
            raise
        except BaseException as error:  # noqa: BLE001  # uvicorn would log its text; it answers 500 by itself
            log.error("a request failed", error=type(error).__name__, where=places(error)[-6:])  # noqa: TRY400


def _ambiguous(scope: Scope) -> Response | None:
    """Refuse a request if a proxy in front may see its end elsewhere; the connection closes.

    These are a length beside chunks, and chunks in HTTP/1.0, which has none (RFC 9112 section 6.1): the rest could be a
    smuggled request. Another major version (RFC 9110 section 15.6.6), as in the preface of HTTP/2, is refused too.
    """
    if not scope["http_version"].startswith("1."):
        return PlainTextResponse("only HTTP/1.1 is supported here\n", 505, {"Connection": "close"})
    names = {name for name, _ in scope.get("headers", ())}
    if b"transfer-encoding" not in names:
        return None
    if b"content-length" in names:
        return PlainTextResponse("two lengths of one body\n", 400, {"Connection": "close"})
    if scope["http_version"] < "1.1":
        return PlainTextResponse("HTTP/1.0 has no Transfer-Encoding\n", 400, {"Connection": "close"})
    return None


def _has_body(scope: Scope) -> bool:
    lengths = {name: value for name, value in scope["headers"] if name in (b"content-length", b"transfer-encoding")}
    return bool(lengths) and lengths.get(b"content-length") != b"0"


def _crowded(scope: Scope) -> bool:
    place: Place | None = scope.get("state", {}).get(PLACE)
    return place is not None and place.crowded
