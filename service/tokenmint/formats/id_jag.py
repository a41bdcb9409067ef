"""ID-JAGs: a user's identity, asserted to another authorization server, for one of its clients.

draft-ietf-oauth-identity-assertion-authz-grant, section 4: the client exchanges the user's token here, and presents the
ID-JAG there as its grant. The audience is the other server's issuer. An ID-JAG never comes back: it is no token of ours
that a service accepts. It may name the party that acts for the user (`act`, section 3.1), and may be bound to the DPoP
key of the client (`cnf`, section 9.8).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from tokenmint.base.config_values import Table
from tokenmint.base.errors import ConfirmationDenied, FormatDenied
from tokenmint.base.key_path import key_path
from tokenmint.formats.format import Format, Kit, Reading
from tokenmint.formats.jwt import claims_of, signed_claims, without_id
from tokenmint.model.drafts import IDENTITY_ASSERTION
from tokenmint.model.format import FormatTraits
from tokenmint.model.issued import LINEAGE
from tokenmint.model.minted import MintedToken
from tokenmint.model.policy import Audience, TokenGrant
from tokenmint.model.tokens import ID_JAG, ID_JAG_TYP, JsonValue

LIFETIME: Final = 300  # seconds
ONE_KEY: Final = "an ID-JAG is bound to a DPoP key"  # section 9.8 knows no other


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
        grants_elsewhere=True,
        carries_actor=True,
        carries_binding=True,
        carries_scopes=True,
        fixed_lifetime=LIFETIME,
        ends_with_parent=True,
        title="ID-JAGs",
    )
    table = IdJagTable

    def configure(self, table: IdJagTable, audience: Audience, reading: Reading) -> FormatTraits:
        """Read the ids of the clients at the other server."""
        if IDENTITY_ASSERTION not in reading.drafts:
            reading.problem("id_jag", f"needs oauth.drafts to have {IDENTITY_ASSERTION}")
        check_abroad("id_jag", table.clients, audience, reading)
        if audience.bound not in (None, "dpop"):
            reading.problem("bound", f"{ONE_KEY}: expected 'dpop'")
        for client in sorted(audience.clients - table.clients.keys()):
            reading.problem("id_jag.clients", f"lacks {client!r}: the id that this client has at the other server")
        return replace(self.traits, options=IdJagOptions(MappingProxyType(dict(table.clients))))

    def claims(self, grant: TokenGrant, kit: Kit) -> dict[str, JsonValue]:
        """Return the claims of an ID-JAG, without its id. Raises as :meth:`check`."""
        return without_id(self._claims(grant, kit, ""))

    def check(self, grant: TokenGrant, kit: Kit) -> None:
        """Raise the errors of :meth:`mint` that come before signing."""
        super().check(grant, kit)
        self._claims(grant, kit, "")

    async def mint(self, grant: TokenGrant, kit: Kit) -> MintedToken:
        """Return an ID-JAG.

        Raises:
            FormatDenied: the client has no id at the other server.
            ConfirmationDenied: the token would be bound to a certificate.
            SignerUnavailable, ClaimsTooLarge: as :meth:`Format.mint`.
        """
        signer = kit.signer(grant)
        token_id = kit.token_id()
        minted = await signed_claims(grant, signer, self._claims(grant, kit, token_id), token_id)
        return replace(minted, token_type="N_A")  # noqa: S106  # RFC 8693 section 2.2.1: no access token

    def _claims(self, grant: TokenGrant, kit: Kit, token_id: str) -> dict[str, JsonValue]:
        options = grant.format.options
        if not isinstance(options, IdJagOptions) or grant.client_id not in options.clients:
            raise FormatDenied("the client has no id at this authorization server")
        if grant.binding.x5t_s256 is not None:
            raise ConfirmationDenied(f"{ONE_KEY}, not to a certificate")
        return claims_abroad(grant, kit.issuer, token_id, options.clients[grant.client_id], grant.resources)


def check_abroad(table: str, clients: Mapping[str, str], audience: Audience, reading: Reading) -> None:
    """Report what is wrong with an audience of grants of any kind, whose options are in ``table``.

    Its clients need a credential, because a user's stolen token would otherwise be enough for a grant: section 7.7 of
    MCP's enterprise-managed authorization, section 9.1 of the draft.
    """
    if not audience.name.startswith("https://"):
        reading.problem(table, "the audience has to be the other server's issuer, which begins with https://")
    for client in sorted(name for name, there in clients.items() if not there):
        expected = "expected the id that this client has at the other server"
        reading.problem(key_path(table, "clients", client), f"is empty: {expected}")
    if audience.public_clients:
        reading.problem("public_clients", "a client that requests a grant has to authenticate itself: leave it out")


def claims_abroad(
    grant: TokenGrant, issuer: str, token_id: str, client: str, resources: Sequence[str]
) -> dict[str, JsonValue]:
    """Return the claims of a grant for another server: the client by its id there, and each actor with its `iss`.

    Args:
        grant: the decision.
        issuer: our own.
        token_id: the `jti`.
        client: the client's id at the other server; "" leaves `client_id` out.
        resources: the resources that are asked for, beyond the server itself.
    """
    claims = claims_of(grant, issuer=issuer, token_id=token_id)
    claims.pop(LINEAGE, None)  # it is of use only to us
    del claims["client_id"]
    if client:
        claims["client_id"] = client
    if resources:
        claims["resource"] = list(resources) if len(resources) > 1 else resources[0]
    if grant.act is not None:
        claims["act"] = _named_abroad(grant.act, issuer)
    return claims


def _named_abroad(act: Mapping[str, JsonValue], issuer: str) -> dict[str, JsonValue]:
    """Return an `act` whose actors all have an `iss`: at another server a `sub` alone does not tell whose it is."""
    named: dict[str, JsonValue] = {"iss": issuer, **act}
    prior = act.get("act")
    if isinstance(prior, dict):
        named["act"] = _named_abroad(prior, issuer)
    return named


FORMAT: Final = IdJagFormat()
