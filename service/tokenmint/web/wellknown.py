"""What verifiers fetch over HTTP: the JWK set and the discovery documents."""

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
        issuer: what tokens are signed as.
        algorithms: what they may be signed with.
        published: returns the current key set, or raises ``DependencyUnavailable``.
        saw: is told who fetched it: address, program, generation.
        endpoints: what else is served.
        metadata: what discovery documents say of that.
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
    # A slash too many is answered with 404: a redirect would have a client send its secret again, to the host that the
    # request named.
    public.router.redirect_slashes = False
    return public


def discovery_document(issuer: str, algorithms: Sequence[str]) -> dict[str, object]:
    """Return the metadata (OpenID Connect Discovery 1.0 section 3, RFC 8414 section 2).

    It says where the keys are, which is what verifiers read it for. There is no authorization endpoint: users sign in
    elsewhere.
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
        "Access-Control-Allow-Origin": "*",  # public data, which browsers may verify with too
        "X-Content-Type-Options": "nosniff",
    }
    given = request.headers.get("if-none-match", "")
    tags = [tag.strip().removeprefix("W/") for tag in given.split(",")]
    if quoted in tags or given.strip() == "*":
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=media_type, headers=headers)
