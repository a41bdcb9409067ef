"""Transaction tokens: one transaction and its context, for all workloads of a trust domain.

draft-ietf-oauth-transaction-tokens, sections 9 and 11. The audience is the trust domain. A transaction token is no
access token: it comes back to be introspected, revoked or replaced, and for nothing else.
"""

from dataclasses import replace
from typing import Final

from pydantic import Field

from tokenmint.base.config_values import Table
from tokenmint.base.errors import FormatDenied
from tokenmint.formats.format import Format, Kit, Reading
from tokenmint.formats.jwt import claims_of, signed_claims, without_id
from tokenmint.model.drafts import TRANSACTION_TOKENS
from tokenmint.model.format import FormatTraits, TransactionRules
from tokenmint.model.issued import REQUESTERS
from tokenmint.model.minted import MintedToken
from tokenmint.model.policy import Audience, TokenGrant
from tokenmint.model.tokens import TXN_TOKEN, TXN_TOKEN_TYP, JsonValue

LIFETIME: Final = 300  # seconds
OWN_CLAIMS: Final = frozenset({"tctx", "rctx", "req_wl"})
"""The claims that only this format sets, beside those that are reserved everywhere."""


class TxnTokenTable(Table):
    """`[audiences.NAME.txn_token]`: transaction tokens; the audience is the trust domain."""

    tctx: dict[str, str] = Field(default_factory=dict)
    """The members of the transaction context, each with its source, as in `claims`."""
    rctx: dict[str, str] = Field(default_factory=dict)
    """The members of the request context, likewise."""
    subject_scopes: str = "assertion.scope"
    """The source of the scopes that the subject token stands for; without a value no token is minted."""


class TxnTokenFormat(Format):
    """Transaction tokens, signed by the key ring."""

    traits = FormatTraits(
        name="txn_token",
        token_types=(TXN_TOKEN,),
        signed_by_ring=True,
        header_type=TXN_TOKEN_TYP,
        carries_actor=True,
        carries_scopes=True,
        fixed_lifetime=LIFETIME,
        ends_with_parent=True,
        title="transaction tokens",
    )
    table = TxnTokenTable
    header_types = frozenset({TXN_TOKEN_TYP})
    stays_at_its_audience = True

    def configure(self, table: TxnTokenTable, audience: Audience, reading: Reading) -> FormatTraits:
        """Read the sources of the two contexts."""
        if TRANSACTION_TOKENS not in reading.drafts:
            reading.problem("txn_token", f"needs oauth.drafts to have {TRANSACTION_TOKENS}")
        for key, given in (("public_clients", audience.public_clients), ("resources", bool(audience.resources))):
            if given:
                reason = (
                    "has to authenticate itself" if key == "public_clients" else "names the trust domain by audience"
                )
                reading.problem(key, f"a workload that requests a transaction token {reason}: leave it out")
        if not audience.scopes:
            reading.problem("scopes", "is required: every transaction token has a scope")
        for name in sorted(OWN_CLAIMS & {claim for claim, _ in audience.claims}):
            reading.problem("claims", f"{name} is a claim of every transaction token: choose another name")
        rules = TransactionRules(tuple(table.tctx.items()), tuple(table.rctx.items()), table.subject_scopes)
        return replace(self.traits, transaction=rules)

    def claims(self, grant: TokenGrant, kit: Kit) -> dict[str, JsonValue]:
        """Return the claims that a token for ``grant`` would have, without the ids that minting draws."""
        return without_id(_claims(grant, kit.issuer, "", ""))

    async def mint(self, grant: TokenGrant, kit: Kit) -> MintedToken:
        """Return a transaction token. Raises as :meth:`Format.mint`."""
        if grant.transaction is None or not grant.scopes:
            raise FormatDenied(detail="the grant has no transaction, or no scope")
        signer = kit.signer(grant)
        token_id = kit.token_id()
        txn = grant.transaction.txn or kit.token_id()
        minted = await signed_claims(grant, signer, _claims(grant, kit.issuer, token_id, txn), token_id)
        return replace(minted, token_type="N_A", txn=txn)  # noqa: S106  # RFC 8693 section 2.2.1: no access token


FORMAT: Final = TxnTokenFormat()


def _claims(grant: TokenGrant, issuer: str, token_id: str, txn: str) -> dict[str, JsonValue]:
    """Return the claims of section 9.2. The workload takes the place of `client_id`, which access tokens have."""
    transaction = grant.transaction
    if transaction is None or OWN_CLAIMS & grant.claims.keys():
        raise ValueError("a grant without a transaction, or with claims that only this format sets")
    claims = claims_of(grant, issuer=issuer, token_id=token_id)
    claims["req_wl"] = claims.pop("client_id")
    if txn or transaction.txn:
        claims["txn"] = txn or transaction.txn
    for name, members in (("tctx", transaction.tctx), ("rctx", transaction.rctx)):
        if members:
            claims[name] = dict(members)
    if transaction.earlier:
        claims[REQUESTERS] = list(transaction.earlier)
    return claims
