"""Mints what the policy granted."""

from collections.abc import Callable
from typing import Final

from tokenmint.errors import ClaimsTooLarge
from tokenmint.keys.signers.types import Signer
from tokenmint.minting.jwt import encode_segment, signing_input
from tokenmint.minting.types import MintedToken
from tokenmint.policy.types import TokenGrant
from tokenmint.secret import Secret

TOKEN_ID_BYTES: Final = 16


class Minter:
    """Signs tokens.

    Args:
        issuer: the `iss`.
        signer: returns the active signer of an algorithm, or raises ``SignerUnavailable``.
        entropy: returns that many random bytes.
    """

    def __init__(self, *, issuer: str, signer: Callable[[str], Signer], entropy: Callable[[int], bytes]) -> None:
        self._issuer = issuer
        self._signer = signer
        self._entropy = entropy

    def check(self, grant: TokenGrant) -> None:
        """Raise what :meth:`mint` would for want of a signer."""
        self._signer(grant.algorithm)

    async def mint(self, grant: TokenGrant) -> MintedToken:
        """Sign the token that ``grant`` describes.

        Raises:
            SignerUnavailable: no confirmed key of the algorithm is at hand.
            ClaimsTooLarge: the token would be longer than the audience allows.
        """
        signer = self._signer(grant.algorithm)
        token_id = encode_segment(self._entropy(TOKEN_ID_BYTES)).decode()
        unsigned = signing_input(grant, issuer=self._issuer, key_id=signer.key_id, token_id=token_id)
        if len(unsigned) > grant.max_token_bytes:
            raise ClaimsTooLarge()
        token = unsigned + b"." + encode_segment(await signer.sign(unsigned))
        if len(token) > grant.max_token_bytes:
            raise ClaimsTooLarge()
        return MintedToken(
            token=Secret(token),
            issued_token_type=grant.token_type,
            token_type="Bearer",  # noqa: S106  # RFC 8693 section 2.2.1
            expires_at=grant.expires_at,
            scopes=grant.scopes,
            key_id=signer.key_id,
            token_id=token_id,
            subject=grant.principal,
        )
