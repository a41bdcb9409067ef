"""Mints what the policy granted."""

from collections.abc import Callable
from typing import Final

from tokenmint.base.errors import ClaimsTooLarge, FormatDenied
from tokenmint.formats.jwt import encode_segment, signing_input
from tokenmint.formats.reuse import ReuseWindow
from tokenmint.formats.table import Formats
from tokenmint.keys.signers.types import Signer
from tokenmint.model.minted import MintedToken, presented_as
from tokenmint.model.policy import TokenGrant
from tokenmint.model.secret import Secret

TOKEN_ID_BYTES: Final = 16


class Minter:
    """Signs tokens.

    Args:
        issuer: the `iss`.
        signer: returns the active signer of an algorithm, or raises ``SignerUnavailable``.
        entropy: returns that many random bytes.
        formats: mints what is no JWT; None: nothing else is minted.
        reuse: what was minted a moment ago; None: nothing is given out again.
    """

    def __init__(
        self,
        *,
        issuer: str,
        signer: Callable[[str], Signer],
        entropy: Callable[[int], bytes],
        formats: Formats | None = None,
        reuse: ReuseWindow | None = None,
    ) -> None:
        self._reuse = reuse
        self._formats = formats
        self._issuer = issuer
        self._signer = signer
        self._entropy = entropy

    def check(self, grant: TokenGrant) -> None:
        """Raise what :meth:`mint` would for want of a signer, or because the grant does not fit its format."""
        if grant.format is None:
            self._signer(grant.algorithm)
        else:
            self._of_other_kinds(grant).check(grant)

    async def mint(self, grant: TokenGrant) -> MintedToken:
        """Sign the token that ``grant`` describes, or return the one that was, where its audience allows that.

        Raises:
            SignerUnavailable: no confirmed key of the algorithm is at hand.
            ClaimsTooLarge: the token would be longer than the audience allows.
            FormatDenied: the grant does not fit its format.
            DependencyUnavailable, OutcomeUnknown: a handle could not be kept.
        """
        if grant.format is not None:
            return await self._of_other_kinds(grant).mint(grant)
        signer = self._signer(grant.algorithm)
        reuse = self._reuse if grant.reuse_window else None
        if reuse is not None and (same := await reuse.find(grant, signer.key_id)) is not None:
            return same
        token_id = encode_segment(self._entropy(TOKEN_ID_BYTES)).decode()
        unsigned = signing_input(grant, issuer=self._issuer, key_id=signer.key_id, token_id=token_id)
        if len(unsigned) > grant.max_token_bytes:
            raise ClaimsTooLarge()
        token = unsigned + b"." + encode_segment(await signer.sign(unsigned))
        if len(token) > grant.max_token_bytes:
            raise ClaimsTooLarge()
        minted = MintedToken(
            token=Secret(token),
            issued_token_type=grant.token_type,
            token_type=presented_as(grant),
            expires_at=grant.expires_at,
            scopes=grant.scopes,
            key_id=signer.key_id,
            token_id=token_id,
            subject=grant.principal,
        )
        if reuse is not None:
            reuse.remember(grant, minted)
        return minted

    def _of_other_kinds(self, grant: TokenGrant) -> Formats:
        if self._formats is None:
            raise FormatDenied(detail=f"nothing here mints {type(grant.format).__name__}")
        return self._formats
