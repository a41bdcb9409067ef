"""Reference tokens: a handle of 256 random bits that says nothing; the claims stay in the store (RFC 7662)."""

from collections.abc import Callable
from typing import Final

from tokenmint.base.errors import ClaimsTooLarge
from tokenmint.formats.jwt import claims_of, encode, encode_segment
from tokenmint.issued.store import IssuedStore
from tokenmint.model.issued import HANDLE_PREFIX
from tokenmint.model.minted import MintedToken, presented_as
from tokenmint.model.policy import ReferenceFormat, TokenGrant
from tokenmint.model.secret import Secret

HANDLE_BYTES: Final = 32
_TOKEN_ID_BYTES: Final = 16


async def reference_token(
    grant: TokenGrant, form: ReferenceFormat, *, issuer: str, issued: IssuedStore, entropy: Callable[[int], bytes]
) -> MintedToken:
    """Return a handle, kept as its hash alone.

    Raises:
        ClaimsTooLarge: the claims are larger than the audience allows a token to be.
        StoreUnavailable, OutcomeUnknown: it was not kept, or not confirmed.
    """
    handle = Secret(HANDLE_PREFIX + encode_segment(entropy(HANDLE_BYTES)).decode())
    token_id = encode_segment(entropy(_TOKEN_ID_BYTES)).decode()
    claims = claims_of(grant, issuer=issuer, token_id=token_id)
    if len(encode(claims)) > grant.max_token_bytes:
        raise ClaimsTooLarge()
    expires_at = await issued.keep(handle, claims, idle=form.idle, now=grant.issued_at)
    return MintedToken(
        token=handle,
        issued_token_type=grant.token_type,
        token_type=presented_as(grant),
        expires_at=expires_at,
        scopes=grant.scopes,
        key_id="",
        token_id=token_id,
        subject=grant.principal,
    )
