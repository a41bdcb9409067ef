"""Reference tokens: 256 random bits without content; the claims stay in the store (RFC 7662)."""

from dataclasses import dataclass, replace
from typing import Annotated, Final

from pydantic import Field

from tokenmint.base.config_values import Seconds, Table
from tokenmint.base.encoding import encode_segment
from tokenmint.base.errors import ClaimsTooLarge, FormatDenied
from tokenmint.formats.format import Format, Kit, Reading
from tokenmint.formats.jwt import claims_of, encode, without_id
from tokenmint.model.format import FormatTraits
from tokenmint.model.minted import MintedToken, presented_as
from tokenmint.model.policy import MAX_LIFETIME, Audience, TokenGrant
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import ACCESS_TOKEN, JsonValue

REFERENCE_TOKEN: Final = "urn:tokenmint:token-type:reference"  # noqa: S105  # RFC 8693 has no name for it
PREFIX: Final = "tmr_"
"""The beginning of every reference token, by which secret scanners find a leaked one."""
REFERENCE_BYTES: Final = 32


class ReferenceTable(Table):
    """`[audiences.NAME.reference]`: reference tokens."""

    idle: Annotated[Seconds, Field(ge=1, le=MAX_LIFETIME)] | None = None


@dataclass(frozen=True, slots=True)
class ReferenceOptions:
    """The options of the table."""

    idle: int | None = None
    """Seconds without use after which a reference token expires (sliding); None: only its lifetime ends it."""


class ReferenceFormat(Format):
    """Opaque tokens; their claims are in the store."""

    traits = FormatTraits(
        name="reference",
        token_types=(ACCESS_TOKEN, REFERENCE_TOKEN),
        signed_by_ring=False,
        gives_access=True,
        carries_actor=True,
        carries_binding=True,
        carries_scopes=True,
        title="reference tokens",
        options=ReferenceOptions(),
    )
    table = ReferenceTable
    prefix = PREFIX

    def configure(self, table: ReferenceTable, audience: Audience, reading: Reading) -> FormatTraits:
        """Read the longest time without use."""
        if table.idle is None:
            return self.traits
        if table.idle > audience.max_lifetime:
            reading.problem("reference.idle", "is longer than max_lifetime")
        return replace(self.traits, options=ReferenceOptions(int(table.idle)))

    def claims(self, grant: TokenGrant, kit: Kit) -> dict[str, JsonValue]:
        """Return the claims that a token for ``grant`` would have, without its id."""
        return without_id(claims_of(grant, issuer=kit.issuer, token_id=""))

    async def mint(self, grant: TokenGrant, kit: Kit) -> MintedToken:
        """Return a reference token; the store keeps only its hash.

        Raises:
            ClaimsTooLarge: the claims are larger than the audience allows for a token.
            StoreUnavailable, OutcomeUnknown: the token was not stored, or the storing was not confirmed.
        """
        options = grant.format.options
        if kit.issued is None or not isinstance(options, ReferenceOptions):
            raise FormatDenied(detail="there is no store for reference tokens")
        reference = Secret(PREFIX + encode_segment(kit.entropy(REFERENCE_BYTES)).decode())
        token_id = kit.token_id()
        claims = claims_of(grant, issuer=kit.issuer, token_id=token_id)
        if len(encode(claims)) > grant.max_token_bytes:
            raise ClaimsTooLarge()
        expires_at = await kit.issued.keep(reference, claims, idle=options.idle, now=grant.issued_at)
        return MintedToken(
            token=reference,
            issued_token_type=grant.token_type,
            token_type=presented_as(grant),
            expires_at=expires_at,
            scopes=grant.scopes,
            key_id="",
            token_id=token_id,
            subject=grant.principal,
        )


FORMAT: Final = ReferenceFormat()
