"""ID-JAGs: a user's identity, asserted to another authorization server, for one of its clients.

draft-ietf-oauth-identity-assertion-authz-grant, section 4: the client exchanges the user's token here, and presents the
ID-JAG there as its grant. The audience is the other server's issuer. An ID-JAG never comes back: it is no token of ours
that a service accepts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from tokenmint.base.config_values import Table
from tokenmint.base.errors import FormatDenied
from tokenmint.formats.format import Format, Kit, Reading
from tokenmint.formats.jwt import claims_of, signed_claims
from tokenmint.model.drafts import IDENTITY_ASSERTION
from tokenmint.model.format import FormatTraits
from tokenmint.model.issued import LINEAGE
from tokenmint.model.minted import MintedToken
from tokenmint.model.policy import Audience, TokenGrant
from tokenmint.model.tokens import ID_JAG, ID_JAG_TYP

LIFETIME: Final = 300  # seconds


class IdJagTable(Table):
    """`[audiences.NAME.id_jag]`: identity assertions for another authorization server."""

    clients: dict[str, str]
    """By client: the id that it has at the other server."""


@dataclass(frozen=True, slots=True)
class IdJagOptions:
    """The options of the table."""

    clients: Mapping[str, str]


class IdJagFormat(Format):
    """Identity assertions, signed by the key ring."""

    traits = FormatTraits(
        name="id_jag",
        token_types=(ID_JAG,),
        signed_by_ring=True,
        header_type=ID_JAG_TYP,
        carries_scopes=True,
        fixed_lifetime=LIFETIME,
        title="ID-JAGs",
    )
    table = IdJagTable

    def configure(self, table: IdJagTable, audience: Audience, reading: Reading) -> FormatTraits:
        """Read the ids of the clients at the other server."""
        if IDENTITY_ASSERTION not in reading.drafts:
            reading.problem("id_jag", f"needs oauth.drafts to have {IDENTITY_ASSERTION}")
        if not audience.name.startswith("https://"):
            reading.problem("id_jag", "the audience has to be the other server's issuer, which begins with https://")
        for client in sorted(audience.clients - table.clients.keys()):
            reading.problem("id_jag.clients", f"lacks {client!r}: the id that this client has at the other server")
        return replace(self.traits, options=IdJagOptions(MappingProxyType(dict(table.clients))))

    async def mint(self, grant: TokenGrant, kit: Kit) -> MintedToken:
        """Return an ID-JAG. Raises as :meth:`Format.mint`."""
        options = grant.format.options
        if not isinstance(options, IdJagOptions) or grant.client_id not in options.clients:
            raise FormatDenied("the client has no id at this authorization server")
        signer = kit.signer(grant)
        token_id = kit.token_id()
        claims = claims_of(grant, issuer=kit.issuer, token_id=token_id) | {
            "client_id": options.clients[grant.client_id]
        }
        claims.pop(LINEAGE, None)  # it is of use only to us
        if grant.resources:
            claims["resource"] = list(grant.resources) if len(grant.resources) > 1 else grant.resources[0]
        minted = await signed_claims(grant, signer, claims, token_id)
        return replace(minted, token_type="N_A")  # noqa: S106  # RFC 8693 section 2.2.1: no access token


FORMAT: Final = IdJagFormat()
