"""The documents that verifiers fetch over HTTP: the JWK set and the discovery documents."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tokenmint.base.errors import DependencyUnavailable
from tokenmint.keys.published import PublishedKeySet

JWKS_PATH = "/.well-known/jwks.json"


def application(
    issuer: str,
    algorithms: Sequence[str],
    published: Callable[[], PublishedKeySet],
    saw: Callable[[str, str, int], None],
    endpoints: Sequence[BaseRoute] = (),
    metadata: Mapping[str, object] = MappingProxyType({}),
) -> Starlette:
    """Return the public HTTP application.

    Args:
        issuer: the `iss` of tokens.
        algorithms: the configured signing algorithms.
        published: returns the current key set, or raises ``DependencyUnavailable``.
        saw: called for each fetch with address, program and generation.
        endpoints: further routes.
        metadata: their part of the discovery documents.
    """

    async def jwks(request: Request) -> Response:
        try:
            current = published()
        except DependencyUnavailable as error:
            return JSONResponse(
                {"error": "temporarily_unavailable", "error_description": error.message},
                status_code=503,
                headers={"Retry-After": str(max(1, round(error.retry_after))), "Cache-Control": "no-store"},
            )
        address = request.client.host if request.client is not None else ""
        saw(address, request.headers.get("user-agent", ""), current.generation)
        return _cached(request, current.jwks_json, current.etag, current.max_age, "application/jwk-set+json")

    document = discovery_document(issuer, algorithms) | dict(metadata)
    body = json.dumps(document, separators=(",", ":")).encode()
    digest = hashlib.sha256(body).hexdigest()[:32]

    async def discovery(request: Request) -> Response:
        return _cached(request, body, digest, 3600, "application/json")

    public = Starlette(
        routes=[
            Route(JWKS_PATH, jwks, methods=["GET"]),
            Route("/.well-known/openid-configuration", discovery, methods=["GET"]),
            Route("/.well-known/oauth-authorization-server", discovery, methods=["GET"]),
            *endpoints,
        ]
    )
    # A surplus slash is answered with 404. A redirect would make a client send its secret again, to the host that the
    # request named.
    public.router.redirect_slashes = False
    return public


def discovery_document(issuer: str, algorithms: Sequence[str]) -> dict[str, object]:
    """Return the metadata (OpenID Connect Discovery 1.0 section 3, RFC 8414 section 2).

    Verifiers read it for the location of the keys. There is no authorization endpoint, because users sign in elsewhere.
    """
    return {
        "issuer": issuer,
        "jwks_uri": issuer + JWKS_PATH,
        "id_token_signing_alg_values_supported": list(algorithms),
        "response_types_supported": ["none"],
        "subject_types_supported": ["public"],
    }


def _cached(request: Request, body: bytes, etag: str, max_age: int, media_type: str) -> Response:
    quoted = f'"{etag}"'
    headers = {
        "ETag": quoted,
        "Cache-Control": f"public, max-age={max_age}",
        "Access-Control-Allow-Origin": "*",  # public data; browsers may verify tokens too
        "X-Content-Type-Options": "nosniff",
    }
    if_none_match = request.headers.get("if-none-match", "")
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    if quoted in tags or if_none_match.strip() == "*":
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=media_type, headers=headers)
