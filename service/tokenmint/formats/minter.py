"""Mints the token of a grant in its format."""

import math
from typing import Final

from tokenmint.base.errors import ClaimsTooLarge, FormatDenied
from tokenmint.formats import jwt, table
from tokenmint.formats.format import TOKEN_ID_BYTES, Format, Kit
from tokenmint.formats.reuse import ReuseWindow
from tokenmint.model.minted import MintedToken, PlannedToken
from tokenmint.model.policy import TokenGrant

ID: Final = "x" * math.ceil(TOKEN_ID_BYTES * 4 / 3)
"""Stands for the ids that minting draws, each as long."""


class Minter:
    """Mints tokens.

    Args:
        kit: the parts of the service that formats use for minting.
        formats: the formats by name; None for the shipped ones.
        reuse: the recently minted tokens; None to mint each token anew.
    """

    def __init__(self, kit: Kit, formats: table.Formats | None = None, reuse: ReuseWindow | None = None) -> None:
        self._kit = kit
        self._formats = dict(formats or table.shipped())
        self._reuse = reuse

    def plain_kit(self, grant: TokenGrant) -> Kit | None:
        """Return the parts with which a JWT for ``grant`` is minted.

        None if it is not a JWT, may be reused, or gets a place in a status list, for which minting waits.
        """
        plain = self._formats.get(grant.format.name) is jwt.FORMAT and not grant.reuse_window and not grant.status_list
        return self._kit if plain else None

    def check(self, grant: TokenGrant) -> None:
        """Raise the errors of :meth:`mint` that come before signing: no signer, or a grant that does not fit.

        The size of the signature is not known here, so a token that only its last bytes make too long is not noticed.
        """
        form = self._format(grant)
        form.check(grant, self._kit)
        drawn = {"jti": ID} | ({"txn": ID} if grant.transaction is not None and not grant.transaction.txn else {})
        claims = form.claims(grant, self._kit) | drawn
        if grant.format.signed_by_ring:
            jwt.unsigned_of(grant, self._kit.signer(grant).key_id, claims)
        elif form.prefix and len(jwt.encode(claims)) > grant.max_token_bytes:
            raise ClaimsTooLarge()

    def plan(self, grant: TokenGrant) -> PlannedToken:
        """Return the token that :meth:`mint` would mint now. Raises ``SignerUnavailable``."""
        key_id = self._kit.signer(grant).key_id if grant.format.signed_by_ring else ""
        return PlannedToken(grant, key_id, self._format(grant).claims(grant, self._kit))

    async def mint(self, grant: TokenGrant) -> MintedToken:
        """Mint the token of ``grant``, or return a recent one for the same grant if its audience allows that.

        Raises: as :meth:`Format.mint`.
        """
        form = self._format(grant)
        reuse = self._reuse if grant.reuse_window and grant.format.reusable else None
        if reuse is None:
            return await form.mint(grant, self._kit)
        if (same := await reuse.find(grant, self._kit.signer(grant).key_id)) is not None:
            return same
        minted = await form.mint(grant, self._kit)
        reuse.remember(grant, minted)
        return minted

    def _format(self, grant: TokenGrant) -> Format:
        form = self._formats.get(grant.format.name)
        if form is None:
            raise FormatDenied(detail=f"there is no format {grant.format.name}")
        return form
