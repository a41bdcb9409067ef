"""JWTs as we write them (RFC 7519, RFC 9068): header, claims, and the bytes that are signed."""

import binascii
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import orjson

from tokenmint.model.issued import LINEAGE
from tokenmint.model.policy import TokenGrant
from tokenmint.model.reserved_claims import is_reserved
from tokenmint.model.tokens import JsonValue

_TO_BASE64URL: Final = bytes.maketrans(b"+/", b"-_")


def signing_input(grant: TokenGrant, *, issuer: str, key_id: str, token_id: str) -> bytes:
    """Return `header.payload` of the token that ``grant`` describes. Raises as :func:`claims_of`."""
    header = _header(grant.algorithm, key_id, grant.header_type)
    return header + b"." + encode(claims_of(grant, issuer=issuer, token_id=token_id))


@lru_cache(maxsize=64)
def _header(algorithm: str, key_id: str, typ: str) -> bytes:
    return encode({"alg": algorithm, "kid": key_id, "typ": typ})


def claims_of(grant: TokenGrant, *, issuer: str, token_id: str) -> dict[str, JsonValue]:
    """Return the claims of the token that ``grant`` describes.

    Raises:
        ValueError: a mapped claim has a reserved name. The policy refuses such a configuration; this is the last look.
    """
    reserved = [name for name in grant.claims if is_reserved(name)]
    if reserved:
        raise ValueError(f"reserved claims in a grant: {reserved}")
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
    if grant.act is not None:
        claims["act"] = dict(grant.act)
    if grant.confirmation:
        claims["cnf"] = dict(grant.confirmation.claim())
    if grant.lineage:
        claims[LINEAGE] = list(grant.lineage)
    return claims | dict(grant.claims)


def encode_segment(data: bytes) -> bytes:
    """Return base64url without padding (RFC 7515 section 2)."""
    return binascii.b2a_base64(data, newline=False).translate(_TO_BASE64URL, b"=")


def encode(value: Mapping[str, JsonValue] | Mapping[str, str]) -> bytes:
    """Return compact JSON in base64url. Raises ``ValueError`` for what JSON has no form for."""
    try:
        text = orjson.dumps(value)
        if b"null" in text:  # which the codec also writes for NaN and infinity
            json.dumps(value, allow_nan=False)
        return encode_segment(text)
    except TypeError:  # an integer beyond 64 bits, which JSON has and the codec has not
        return encode_segment(json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode())
