"""JWTs as we write them (RFC 7519, RFC 9068): header, claims, and the bytes that are signed."""

import base64
import json
from collections.abc import Mapping

from tokenmint.assertion.types import JsonValue
from tokenmint.policy.types import TokenGrant
from tokenmint.reserved import is_reserved


def signing_input(grant: TokenGrant, *, issuer: str, key_id: str, token_id: str) -> bytes:
    """Return `header.payload` of the token that ``grant`` describes.

    Raises:
        ValueError: a mapped claim has a reserved name. The policy refuses such a configuration; this is the last look.
    """
    reserved = [name for name in grant.claims if is_reserved(name)]
    if reserved:
        raise ValueError(f"reserved claims in a grant: {reserved}")
    header = {"alg": grant.algorithm, "kid": key_id, "typ": grant.header_type}
    claims: dict[str, JsonValue] = {
        "iss": issuer,
        "sub": grant.principal,
        "aud": grant.audience,
        "exp": grant.expires_at,
        "iat": grant.issued_at,
        "nbf": grant.issued_at,
        "jti": token_id,
        "client_id": grant.client_id,
    }
    if grant.scopes:
        claims["scope"] = " ".join(grant.scopes)
    return _encode(header) + b"." + _encode(claims | dict(grant.claims))


def encode_segment(data: bytes) -> bytes:
    """Return base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _encode(value: Mapping[str, JsonValue] | Mapping[str, str]) -> bytes:
    return encode_segment(json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode())
