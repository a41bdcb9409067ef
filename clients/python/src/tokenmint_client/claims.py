"""The checks of a token's header and claims, the same for every verifier."""

import base64
import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt

from tokenmint_client.errors import TokenRejected
from tokenmint_client.types import VerifiedToken

MAX_TOKEN_BYTES: Final = 16 * 1024
# A token with the algorithm `none` has no signature.
_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Expected:
    """The values that a token is compared with."""

    issuer: str
    audience: str
    algorithms: Collection[str]
    types: Collection[str]
    """Values of ``typ`` as :func:`media_type` returns them."""
    leeway: float
    """Seconds that the clocks may differ."""


def media_type(name: str) -> str:
    """Return a ``typ`` in lower case, without the prefix that may be left out (RFC 7515 section 4.1.9)."""
    return name.lower().removeprefix("application/")


def header_of(token: str) -> dict[str, Any] | None:
    """Return the header of a compact JWS, or None where the text is none."""
    if not _COMPACT.fullmatch(token):
        return None
    encoded = token.partition(".")[0]
    try:
        return json_object(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except ValueError:
        return None


def json_object(text: bytes) -> dict[str, Any] | None:
    """Return a JSON object, or None where the text is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def read_header(token: str, expected: Expected, most: int = MAX_TOKEN_BYTES) -> tuple[str, str]:
    """Return ``kid`` and ``alg`` of a token of which nothing is believed yet.

    Raises:
        TokenRejected: MALFORMED, ALGORITHM_NOT_ALLOWED, UNSUPPORTED_TOKEN_TYPE.
    """
    if len(token) > most:
        raise TokenRejected("MALFORMED", "the token is too long")
    header = header_of(token)
    if header is None:
        raise TokenRejected("MALFORMED", "the token is not a well-formed compact JWS")
    algorithm, kind, key_id = header.get("alg"), header.get("typ"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in expected.algorithms:
        raise TokenRejected("ALGORITHM_NOT_ALLOWED", "the token's algorithm is not accepted")
    if not isinstance(kind, str) or media_type(kind) not in expected.types:
        raise TokenRejected("UNSUPPORTED_TOKEN_TYPE", "the token's typ is not accepted")
    if "crit" in header or not isinstance(key_id, str) or not key_id:
        raise TokenRejected("MALFORMED", "the token's header has a crit, or no kid")
    return key_id, algorithm


def read_claims(token: str, key: jwt.PyJWK, algorithm: str) -> dict[str, Any]:
    """Return the claims of a token that ``key`` signed.

    Raises:
        TokenRejected: ALGORITHM_NOT_ALLOWED, BAD_SIGNATURE, MALFORMED.
    """
    if key.algorithm_name != algorithm:
        raise TokenRejected("ALGORITHM_NOT_ALLOWED", "the token's algorithm is not its key's")
    try:
        payload = jwt.api_jws.PyJWS(algorithms=[algorithm]).decode(token, key, algorithms=[algorithm])
    except jwt.InvalidSignatureError:
        raise TokenRejected("BAD_SIGNATURE", "the token's signature does not verify") from None
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise TokenRejected("MALFORMED", "the token is not a well-formed compact JWS") from None
    claims = json_object(payload)
    if claims is None:
        raise TokenRejected("MALFORMED", "the token is not a well-formed JWT")
    return claims


def check_claims(claims: dict[str, Any], expected: Expected, now: float) -> VerifiedToken:
    """Return what a token says, except whether its sender holds the key that it is bound to.

    Raises:
        TokenRejected: CLAIM_REJECTED, UNKNOWN_ISSUER, WRONG_AUDIENCE, EXPIRED, NOT_YET_VALID.
    """
    issuer, subject = _text(claims, "iss"), _text(claims, "sub")
    audiences = claims.get("aud")
    audiences = [audiences] if isinstance(audiences, str) else audiences
    if not issuer or not subject or not isinstance(audiences, list):
        raise TokenRejected("CLAIM_REJECTED", "the token lacks iss, sub or aud")
    issued_at, expires_at = _time(claims, "iat"), _time(claims, "exp")
    not_before = _time(claims, "nbf") if "nbf" in claims else issued_at
    token = VerifiedToken(
        subject=subject,
        client_id=_text(claims, "client_id"),
        scopes=frozenset(part for part in _text(claims, "scope").split(" ") if part),
        expires_at=expires_at,
        claims=claims,
        token_id=_text(claims, "jti"),
        issued_at=issued_at,
        actor=_object(claims, "act"),
        confirmation=_object(claims, "cnf"),
    )
    if issuer != expected.issuer:
        raise TokenRejected("UNKNOWN_ISSUER", "the token's issuer is another one")
    # One audience, as tokenmint mints them: another service that accepts the token could send it on to this one.
    if audiences != [expected.audience]:
        raise TokenRejected("WRONG_AUDIENCE", "the token was issued for another audience, or for several")
    if now >= expires_at + expected.leeway:
        raise TokenRejected("EXPIRED", "the token has expired")
    if max(issued_at, not_before) > now + expected.leeway:
        raise TokenRejected("NOT_YET_VALID", "the token is not valid yet: compare the clocks")
    return token


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name, "")
    if not isinstance(value, str):
        raise TokenRejected("CLAIM_REJECTED", f"the token's {name} is not a text")
    return value


def _object(claims: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    if name not in claims:
        return None
    value = claims[name]
    if not isinstance(value, dict):
        raise TokenRejected("CLAIM_REJECTED", f"the token's {name} is not an object")
    return value


def _time(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TokenRejected("CLAIM_REJECTED", f"the token's {name} is missing or is not a time")
    return float(value)
