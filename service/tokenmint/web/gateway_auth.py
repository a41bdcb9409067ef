"""Requests that a gateway asks about over HTTP, as those of NGINX, Traefik, Caddy and HAProxy do.

The gateway sends the headers of the request that it has received, and its own credentials beside them. The answer is
200 with headers for the request that it passes on, or a refusal for its client. The decision is that of Envoy's
external authorization (``gateway/decision.py``).

Any client of the gateway can send any header. So of the headers only these count: those that may hold a token, the one
that the configuration trusts for the host, and the credentials. A header of ours that a client has forged is refused,
in every spelling that a server behind may read as ours.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as HttpRoute

from tokenmint.admission.access import GATEWAY
from tokenmint.admission.gate import INTERNAL_MESSAGE, Call, log_internal
from tokenmint.admission.named_credentials import NAMES, credentials_of
from tokenmint.admission.validation import Violations
from tokenmint.base.capacity import Capacity, InHand, note_deadline
from tokenmint.base.errors import CallerUnauthenticated, Overloaded, TokenmintError, TookTooLong
from tokenmint.base.tasks import ENDING
from tokenmint.base.trace_context import TRACEPARENT, TRACESTATE, context_of
from tokenmint.gateway.decision import NO_STORE, NO_TOKEN, GatewayChecks, Pass, Refusal, Route, refusal_of
from tokenmint.gateway.request import AUTHORIZATION, NoToken, alike
from tokenmint.web.credentials import certificate
from tokenmint.web.oauth_errors import row_of

PATH: Final = "/auth"
OURS: Final = "x-tokenmint-"
"""The beginning of the names of our headers, which only an answer may have."""
PRINCIPAL: Final = f"{OURS}principal"
SCOPE: Final = f"{OURS}scope"
ORIGINAL_URL: Final = "x-original-url"
COOKIE: Final = "cookie"
_SPELLINGS: Final = frozenset(map(alike, NAMES))
WITH_BODY: Final = Refusal(400, "", "INVALID_REQUEST", "the gateway has to ask without a body")
Headers = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class GatewayAuth:
    """The endpoint and the parts that it uses."""

    checks: GatewayChecks
    capacity: Capacity
    deadline: float
    """The time limit of a request in seconds."""
    named: Mapping[str, Route]
    """The configured routes."""
    host_header: str
    """The header with the host of the request, in lower case."""

    def routes(self) -> list[HttpRoute]:
        """Return the routes: `/auth`, and one below it for each configured route."""
        paths = {PATH: Route()} | {f"{PATH}/{name}": route for name, route in self.named.items()}
        return [HttpRoute(path, self._endpoint(route), methods=["GET"]) for path, route in paths.items()]

    def _endpoint(self, route: Route) -> Callable[[Request], Awaitable[Response]]:
        row = GATEWAY[PATH]

        async def endpoint(request: Request) -> Response:
            refusal = self.capacity.refusal(bounded=row.bounded)
            if refusal is not None:
                return failure(refusal)
            if has_body(request):
                response = denied(WITH_BODY)
                response.headers["Connection"] = "close"  # the body is not read
                return response
            in_hand = self.capacity.enter()
            try:
                return await self._answer(request, route, in_hand)
            finally:
                in_hand(None)

        return endpoint

    async def _answer(self, request: Request, route: Route, in_hand: InHand) -> Response:
        gate, row = self.checks.exchanges.gate, GATEWAY[PATH]
        headers = request.headers
        call = gate.begin(f"GET {PATH}", row, context_of(headers.getlist(TRACEPARENT), headers.getlist(TRACESTATE)))
        call.scheme = request.url.scheme
        try:
            note_deadline(self.deadline)
            async with asyncio.timeout(self.deadline):
                in_hand.arrived(bounded=row.bounded)
                shown = [(name, value) for name, value in headers.items() if name in NAMES]
                await gate.admit(call, lambda: credentials_of(shown, certificate(request)))
                await gate.enter(call, request)
                seen = read(headers.raw, self.checks.gateway.headers, self.host_header)
                host = "" if route.audience else host_in(self.host_header, seen)
                passed = await self.checks.check(seen, host, route)
        except NoToken:
            gate.ended(call, str(NO_TOKEN.status), NO_TOKEN.reason, NO_TOKEN.message)
            return denied(NO_TOKEN)
        except Overloaded as error:
            return failure(error)
        except TimeoutError as error:
            return self._failed(call, error if isinstance(error, TokenmintError) else TookTooLong())
        except ENDING:
            raise
        except BaseException as error:  # noqa: BLE001  # every error becomes an answer
            return self._failed(call, error)
        gate.ended(call, "200")
        return self._passed(passed, seen, route)

    def _passed(self, passed: Pass, seen: Mapping[str, str], route: Route) -> Response:
        gateway = self.checks.gateway
        deciding = [AUTHORIZATION, *((COOKIE,) if gateway.cookie else ()), *gateway.headers]
        deciding += [] if route.audience else [self.host_header]
        cookies = seen.get(COOKIE, "") if passed.cookies is None else passed.cookies
        response = Response(status_code=200)
        response.headers.update(
            {
                AUTHORIZATION: passed.authorization,
                PRINCIPAL: passed.minted.subject,
                SCOPE: " ".join(passed.minted.scopes),
                "cache-control": passed.cache_control,
                # A cache whose key leaves one of these out would give a caller the token of another.
                "vary": ", ".join(deciding),
            }
        )
        if gateway.cookie and cookies:
            response.headers[COOKIE] = cookies
        return response

    def _failed(self, call: Call, error: BaseException) -> Response:
        response = failure(error)
        reason = error.reason if isinstance(error, TokenmintError) else "INTERNAL"
        detail = ""
        if response.status_code == 500:
            log_internal(call.method, error)
        elif isinstance(error, TokenmintError):
            detail = error.detail or error.message
        self.checks.exchanges.gate.ended(call, str(response.status_code), reason, detail)
        return response


def read(raw: Headers, token_headers: Iterable[str], host_header: str) -> dict[str, str]:
    """Return the headers of a request that count, by their names in lower case.

    Raises:
        InvalidRequest: one of them was sent twice, or is one of ours, or is another spelling of a credential.
    """
    counted = frozenset((AUTHORIZATION, host_header, *NAMES, *token_headers))
    found: dict[str, str] = {}
    violations = Violations()
    for name, value in ((one.decode("latin-1").lower(), two.decode("latin-1")) for one, two in raw):
        canonical = alike(name)
        violations.check(
            "headers", "the request has a header of the service's own", holds=not canonical.startswith(OURS)
        )
        exact = name in NAMES or canonical not in _SPELLINGS
        violations.check("headers", "the request has a credential in another spelling", holds=exact)
        if name == COOKIE and name in found:
            found[name] += f"; {value}"  # RFC 9113 section 8.2.3: a request may have several
            continue
        once = name not in counted or name not in found
        violations.check(name if name in counted else "headers", "was sent twice", holds=once)
        found[name] = value
    violations.raise_any()
    return {name: value for name, value in found.items() if name not in NAMES}


def host_in(header: str, seen: Mapping[str, str]) -> str:
    """Return the host of the request that the gateway has received; empty if it tells none."""
    value = seen.get(header, "")
    if header != ORIGINAL_URL:
        return value
    scheme, separator, rest = value.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        return ""
    for end in "/?#\\":
        rest = rest.partition(end)[0]
    return rest


def has_body(request: Request) -> bool:
    """Return whether a request has a body."""
    return "transfer-encoding" in request.headers or request.headers.get("content-length", "0") != "0"


def failure(error: BaseException) -> Response:
    """Return the answer to an error: a refusal for the gateway's client, or an error of the gateway or of this service.

    NGINX, Traefik and Caddy pass 401 on to their client, so a gateway without valid credentials gets 502.
    """
    refusal = refusal_of(error) if isinstance(error, TokenmintError) else None
    if refusal is None:
        status = 502 if isinstance(error, CallerUnauthenticated) else row_of(error).status
        if isinstance(error, TokenmintError):
            refusal = Refusal(status, "", error.reason, error.message if status != 500 else INTERNAL_MESSAGE)
        else:
            refusal = Refusal(status, "", TokenmintError.reason, INTERNAL_MESSAGE)
    return denied(refusal)


def denied(refusal: Refusal) -> Response:
    """Return a refusal for the gateway's client."""
    response = Response(refusal.body, refusal.status, media_type="application/json")
    response.headers.update({"cache-control": NO_STORE, "x-content-type-options": "nosniff"})
    if refusal.challenge:
        response.headers["www-authenticate"] = refusal.challenge
    if refusal.retry_after:
        response.headers["retry-after"] = str(refusal.retry_after)
    return response
