"""JWTs signed by the key ring (RFC 7515, RFC 7519, RFC 9068): header, claims and signing input."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

import orjson

from tokenmint.base.encoding import encode_segment
from tokenmint.base.errors import ClaimsTooLarge, StoreUnavailable
from tokenmint.formats.format import Format, Kit, Reading
from tokenmint.keys.signers.types import Signer
from tokenmint.model.format import FormatTraits
from tokenmint.model.issued import LINEAGE
from tokenmint.model.minted import MintedToken, presented_as
from tokenmint.model.policy import Audience, TokenGrant
from tokenmint.model.reserved_claims import is_reserved
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import ACCESS_TOKEN, JWT, JsonValue
from tokenmint.verification.jws import MAX_DEPTH

TOKEN_TYPES: Final = MappingProxyType({"at+jwt": (ACCESS_TOKEN, JWT), "JWT": (JWT,)})
"""The requested token types for the `typ` of the header; the first is the default."""
STATUS: Final = "status"
"""The claim with the token's place in a status list (Token Status List section 6.1)."""


class JwtFormat(Format):
    """JWTs: the format of audiences without a table of another format. Its keys are those of the audience."""

    traits = FormatTraits(
        name="jwt",
        token_types=TOKEN_TYPES["at+jwt"],
        signed_by_ring=True,
        header_type="at+jwt",
        gives_access=True,
        carries_actor=True,
        carries_binding=True,
        carries_scopes=True,
        reusable=True,
        title="JWTs",
    )
    header_types = frozenset(TOKEN_TYPES)

    def configure(self, table: Any, audience: Audience, reading: Reading) -> FormatTraits:  # noqa: ARG002
        """Return the traits for the `token_type` of the audience's table."""
        return of_type(table.token_type)

    def claims(self, grant: TokenGrant, kit: Kit) -> dict[str, JsonValue]:
        """Return the claims that a token for ``grant`` would have, without its id."""
        return without_id(claims_of(grant, issuer=kit.issuer, token_id=""))

    async def mint(self, grant: TokenGrant, kit: Kit) -> MintedToken:
        """Return a signed JWT. Raises as :meth:`Format.mint`."""
        return await signed(grant, kit)


FORMAT: Final = JwtFormat()


def of_type(header_type: str) -> FormatTraits:
    """Return the traits of JWTs with this `typ`."""
    return replace(FORMAT.traits, header_type=header_type, token_types=TOKEN_TYPES[header_type])


async def signed(grant: TokenGrant, kit: Kit) -> MintedToken:
    """Return the JWT that ``grant`` describes, signed by the key ring.

    Raises:
        SignerUnavailable: no confirmed key of the algorithm is available.
        ClaimsTooLarge: the token would be longer than the audience allows, or nested too deep.
        StoreUnavailable, OutcomeUnknown, CorruptRecord: the token has no place in a status list, or not durably.
        ValueError: as :func:`claims_of`.
    """
    signer = kit.signer(grant)
    token_id = kit.token_id()
    claims = claims_of(grant, issuer=kit.issuer, token_id=token_id)
    if grant.status_list:
        if kit.status is None:
            raise StoreUnavailable(detail="status lists are off in this process")
        claims[STATUS] = await kit.status.enter(grant, signer.key_id, token_id)
    return await signed_claims(grant, signer, claims, token_id)


async def signed_claims(
    grant: TokenGrant, signer: Signer, claims: Mapping[str, JsonValue], token_id: str
) -> MintedToken:
    """Return a JWT with these claims, signed by ``signer``; ``token_id`` is their `jti`. Raises as :func:`signed`."""
    unsigned = unsigned_of(grant, signer.key_id, claims)
    token = unsigned + b"." + encode_segment(await signer.sign(unsigned))
    if len(token) > grant.max_token_bytes:
        raise ClaimsTooLarge()
    return MintedToken(
        token=Secret(token),
        issued_token_type=grant.token_type,
        token_type=presented_as(grant),
        expires_at=grant.expires_at,
        scopes=grant.scopes,
        key_id=signer.key_id,
        token_id=token_id,
        subject=grant.principal,
    )


def unsigned_of(grant: TokenGrant, key_id: str, claims: Mapping[str, JsonValue]) -> bytes:
    """Return `header.payload` of a JWT with these claims.

    Raises:
        ClaimsTooLarge: it is longer than the audience allows already, or its claims are nested deeper than our own
            verification reads: such a token could be neither introspected nor revoked.
    """
    unsigned = _header(grant.algorithm, key_id, grant.format.header_type) + b"." + encode(claims)
    if len(unsigned) > grant.max_token_bytes:
        raise ClaimsTooLarge()
    if _is_deeper(dict(claims), MAX_DEPTH):
        raise ClaimsTooLarge(
            f"the minted token would be nested deeper than {MAX_DEPTH} levels: map parts of the claims"
        )
    return unsigned


def _is_deeper(value: JsonValue, most: int) -> bool:
    """Return whether a value is nested deeper than ``most`` levels, itself included."""
    if isinstance(value, dict):
        return most == 0 or any(_is_deeper(item, most - 1) for item in value.values())
    return isinstance(value, list) and (most == 0 or any(_is_deeper(item, most - 1) for item in value))


def signing_input(grant: TokenGrant, *, issuer: str, key_id: str, token_id: str) -> bytes:
    """Return `header.payload` of the token that ``grant`` describes. Raises as :func:`claims_of`."""
    header = _header(grant.algorithm, key_id, grant.format.header_type)
    return header + b"." + encode(claims_of(grant, issuer=issuer, token_id=token_id))


@lru_cache(maxsize=64)
def _header(algorithm: str, key_id: str, typ: str) -> bytes:
    return encode({"alg": algorithm, "kid": key_id, "typ": typ})


def claims_of(grant: TokenGrant, *, issuer: str, token_id: str) -> dict[str, JsonValue]:
    """Return the claims of the token that ``grant`` describes.

    Raises:
        ValueError: a mapped claim has a reserved name. The policy refuses such a mapping; this is a second check.
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
    if grant.binding:
        claims["cnf"] = dict(grant.binding.claim())
    if grant.ancestors:
        claims[LINEAGE] = list(grant.ancestors)
    return claims | dict(grant.claims)


def without_id(claims: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return ``claims`` without the `jti`, which each token draws for itself."""
    return {name: value for name, value in claims.items() if name != "jti"}


def encode(value: Mapping[str, JsonValue] | Mapping[str, str]) -> bytes:
    """Return compact JSON in base64url. Raises ``ValueError`` for values that JSON can't represent."""
    try:
        text = orjson.dumps(value)
        if b"null" in text:  # the codec also writes null for NaN and infinity
            json.dumps(value, allow_nan=False)
        return encode_segment(text)
    except TypeError:  # the codec refuses integers beyond 64 bits, which JSON allows
        return encode_segment(json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode())
