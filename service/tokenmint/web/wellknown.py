"""The documents that verifiers fetch over HTTP: the JWK set, the SPIFFE bundle and the discovery documents."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tokenmint.base.errors import DependencyUnavailable
from tokenmint.keys.published import PublishedKeySet

JWKS_PATH = "/.well-known/jwks.json"
BUNDLE_PATH = "/.well-known/spiffe-bundle.json"


@dataclass(frozen=True, slots=True)
class Document:
    """A public document."""

    body: bytes
    etag: str
    """A strong validator of ``body``, without quotes."""
    max_age: int
    """Seconds for which it may be cached."""
    media_type: str


Current = Callable[[str, str], Document]
"""Returns a document for a fetch by an address and a program. Raises ``DependencyUnavailable``."""


def documents(
    issuer: str,
    algorithms: Sequence[str],
    published: Callable[[], PublishedKeySet],
    saw: Callable[[str, str, int], None],
    metadata: Mapping[str, object] = MappingProxyType({}),
    *,
    bundle: bool = False,
) -> dict[str, Current]:
    """Return the documents by their paths.

    Args:
        issuer: the `iss` of tokens.
        algorithms: the configured signing algorithms.
        published: returns the current key set, or raises ``DependencyUnavailable``.
        saw: called for each fetch of it with address, program and generation.
        metadata: further members of the discovery documents.
        bundle: whether the key set is served as a SPIFFE bundle too.
    """

    def key_set(address: str, agent: str) -> Document:
        current = published()
        saw(address, agent, current.generation)
        return Document(current.jwks_json, current.etag, current.max_age, "application/jwk-set+json")

    def spiffe_bundle(address: str, agent: str) -> Document:
        current = published()
        saw(address, agent, current.generation)
        return Document(current.bundle_json, current.bundle_etag, current.max_age, "application/json")

    members = discovery_document(issuer, algorithms) | dict(metadata)
    body = json.dumps(members, separators=(",", ":")).encode()
    discovery = Document(body, hashlib.sha256(body).hexdigest()[:32], 3600, "application/json")
    return {
        JWKS_PATH: key_set,
        "/.well-known/openid-configuration": lambda _, __: discovery,
        "/.well-known/oauth-authorization-server": lambda _, __: discovery,
    } | ({BUNDLE_PATH: spiffe_bundle} if bundle else {})


def application(served: Mapping[str, Current], endpoints: Sequence[BaseRoute] = ()) -> Starlette:
    """Return the public HTTP application, with the documents and with further routes."""
    public = Starlette(routes=[*(_route(path, current) for path, current in served.items()), *endpoints])
    # A surplus slash is answered with 404. A redirect would make a client send its secret again, to the host that the
    # request named.
    public.router.redirect_slashes = False
    return public


def _route(path: str, current: Current) -> Route:
    async def document(request: Request) -> Response:
        address = request.client.host if request.client is not None else ""
        try:
            found = current(address, request.headers.get("user-agent", ""))
        except DependencyUnavailable as error:
            return JSONResponse(
                {"error": "temporarily_unavailable", "error_description": error.message},
                status_code=503,
                headers={"Retry-After": str(max(1, round(error.retry_after))), "Cache-Control": "no-store"},
            )
        return response(found, unchanged=has(request.headers.get("if-none-match", ""), found))

    return Route(path, document, methods=["GET"])


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


def has(if_none_match: str, document: Document) -> bool:
    """Return whether a client has the document already (RFC 9110 section 13.1.2)."""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return f'"{document.etag}"' in tags or if_none_match.strip() == "*"


def response(document: Document, *, unchanged: bool) -> Response:
    """Return the document, or 304 if it is ``unchanged``."""
    headers = {
        "ETag": f'"{document.etag}"',
        "Cache-Control": f"public, max-age={document.max_age}",
        "Access-Control-Allow-Origin": "*",  # public data; browsers may verify tokens too
        "X-Content-Type-Options": "nosniff",
    }
    if unchanged:
        return Response(status_code=304, headers=headers)
    return Response(document.body, media_type=document.media_type, headers=headers)
