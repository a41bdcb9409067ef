"""JWT authorization grants: a user's identity for an authorization server of another trust domain.

draft-ietf-oauth-identity-chaining, section 2.3: the client exchanges the user's token here, and presents the grant
there (RFC 7523 section 2.1). The audience is the other server's issuer, and no other. A grant never comes back: its
`typ` is none of the tokens that a service accepts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from pydantic import Field

from tokenmint.base.config_values import Table
from tokenmint.base.errors import ConfirmationDenied
from tokenmint.base.uri import BadUri, normal_uri
from tokenmint.formats.format import Format, Kit, Reading
from tokenmint.formats.id_jag import LIFETIME, check_abroad, claims_abroad
from tokenmint.formats.jwt import signed_claims, without_id
from tokenmint.model.drafts import IDENTITY_CHAINING, needed
from tokenmint.model.format import FormatTraits
from tokenmint.model.minted import MintedToken
from tokenmint.model.policy import Audience, TokenGrant
from tokenmint.model.tokens import JWT, JWT_GRANT_TYP, JsonValue

ONE_KEY: Final = "a JWT authorization grant is bound to a DPoP key"


class JwtGrantTable(Table):
    """`[audiences.NAME.jwt_grant]`: JWT authorization grants for another authorization server."""

    clients: dict[str, str] = Field(default_factory=dict)
    """By client: the id that it has at the other server, which becomes `client_id`."""


@dataclass(frozen=True, slots=True)
class JwtGrantOptions:
    """The options of the table."""

    clients: Mapping[str, str]


class JwtGrantFormat(Format):
    """JWT authorization grants, signed by the key ring."""

    traits = FormatTraits(
        name="jwt_grant",
        token_types=(JWT,),
        signed_by_ring=True,
        header_type=JWT_GRANT_TYP,
        grants_elsewhere=True,
        carries_actor=True,
        carries_binding=True,
        carries_scopes=True,
        fixed_lifetime=LIFETIME,
        ends_with_parent=True,
        title="JWT authorization grants",
    )
    table = JwtGrantTable

    def configure(self, table: JwtGrantTable, audience: Audience, reading: Reading) -> FormatTraits:
        """Read the ids of the clients at the other server."""
        if IDENTITY_CHAINING not in reading.drafts:
            reading.problem("jwt_grant", needed(IDENTITY_CHAINING))
        check_abroad("jwt_grant", table.clients, audience, reading)
        if audience.bound not in (None, "dpop"):
            reading.problem("bound", f"{ONE_KEY}: expected 'dpop'")
        for client in sorted(table.clients.keys() - audience.clients):
            reading.problem("jwt_grant.clients", f"has {client!r}, which is no client of the audience")
        return replace(self.traits, options=JwtGrantOptions(MappingProxyType(dict(table.clients))))

    def claims(self, grant: TokenGrant, kit: Kit) -> dict[str, JsonValue]:
        """Return the claims of a grant, without its id. Raises as :meth:`check`."""
        return without_id(_claims(grant, kit, ""))

    def check(self, grant: TokenGrant, kit: Kit) -> None:
        """Raise the errors of :meth:`mint` that come before signing."""
        super().check(grant, kit)
        _claims(grant, kit, "")

    async def mint(self, grant: TokenGrant, kit: Kit) -> MintedToken:
        """Return a JWT authorization grant.

        Raises:
            ConfirmationDenied: the token would be bound to a certificate.
            SignerUnavailable, ClaimsTooLarge: as :meth:`Format.mint`.
        """
        signer = kit.signer(grant)
        token_id = kit.token_id()
        minted = await signed_claims(grant, signer, _claims(grant, kit, token_id), token_id)
        return replace(minted, token_type="N_A")  # noqa: S106  # RFC 8693 section 2.2.1: no access token


def _claims(grant: TokenGrant, kit: Kit, token_id: str) -> dict[str, JsonValue]:
    options = grant.format.options
    clients = options.clients if isinstance(options, JwtGrantOptions) else {}
    if grant.binding.x5t_s256 is not None:
        raise ConfirmationDenied(f"{ONE_KEY}, not to a certificate")
    # A request may name the other server by `resource` (section 2.3.1): that is no resource of it.
    named = [uri for uri in grant.resources if normal_uri(uri) != _normal(grant.audience)]
    return claims_abroad(grant, kit.issuer, token_id, clients.get(grant.client_id, ""), named)


def _normal(name: str) -> str:
    try:
        return normal_uri(name)
    except BadUri:
        return ""


FORMAT: Final = JwtGrantFormat()
