"""JWT-SVIDs: the SPIFFE ids of workloads, for verifiers that hold the bundle of our trust domain.

SPIFFE's JWT-SVID specification, sections 2 and 3. They have the claims that it names, and no `iss`: so no verifier of
our other tokens accepts one, and tokenmint itself does not either. They never come back.
"""

import re
from dataclasses import dataclass, replace
from typing import Annotated, Final

from pydantic import Field

from tokenmint.base.config_values import Table
from tokenmint.base.errors import FormatDenied
from tokenmint.base.spiffe_id import is_segment, spiffe_id
from tokenmint.formats.format import Format, Kit, Reading, has_one_issuer
from tokenmint.formats.jwt import signed_claims
from tokenmint.model.format import FormatTraits
from tokenmint.model.minted import MintedToken
from tokenmint.model.policy import Audience, TokenGrant
from tokenmint.model.tokens import JWT, JsonValue

ALGORITHMS: Final = frozenset({"ES256", "RS256"})
"""Those of ours that a JWT-SVID may have (section 2.1)."""
HEADER_TYPE: Final = "JOSE"
"""Section 2.3 allows `JWT` and `JOSE`. No other token of ours has the latter (RFC 8725 section 3.11)."""
_SEGMENT: Final = re.compile(r"/(?:\{([^{}]*)\}|([^/{}]+))")


class SpiffeTable(Table):
    """`[audiences.NAME.spiffe]`: JWT-SVIDs of the trust domain `spiffe.trust_domain`."""

    path: Annotated[str, Field(max_length=1024)] = "/{profile.principal}"
    """The path of the SPIFFE id. A segment in braces is the source of one segment (``policy/mapping.py``)."""


@dataclass(frozen=True, slots=True)
class SpiffeOptions:
    """The options of the table."""

    trust_domain: str


class SpiffeFormat(Format):
    """JWT-SVIDs, signed by the key ring."""

    traits = FormatTraits(
        name="spiffe", token_types=(JWT,), signed_by_ring=True, header_type=HEADER_TYPE, title="JWT-SVIDs"
    )
    table = SpiffeTable

    def configure(self, table: SpiffeTable, audience: Audience, reading: Reading) -> FormatTraits:
        """Read the sources of the path, and check that everything fits into a JWT-SVID."""
        if reading.trust_domain is None:
            reading.problem("spiffe", "needs spiffe.trust_domain: the name of the trust domain of its SPIFFE ids")
        if audience.algorithm not in ALGORITHMS:
            text = f"JWT-SVIDs are signed with {' or '.join(sorted(ALGORITHMS))} (JWT-SVID section 2.1)"
            reading.problem("algorithm", text)
        if audience.claims:
            reading.problem("claims", "JWT-SVIDs have no further claims: leave it out")
        try:
            path = sources_of(table.path)
        except ValueError as error:
            reading.problem("spiffe.path", str(error))
            path = ()
        of_token = any(source.startswith("assertion") for source in path)
        if of_token and "provider.name" not in path and not has_one_issuer(audience):
            text = "is only unique within one provider: allow one and no reexchange_from, or add /{provider.name}"
            reading.problem("spiffe.path", text)
        return replace(self.traits, path=path, options=SpiffeOptions(reading.trust_domain or ""))

    def check(self, grant: TokenGrant, kit: Kit) -> None:
        """Check that the grant leads to a SPIFFE id. Raises as :meth:`Format.check`."""
        id_of(grant)
        kit.signer(grant)

    def claims(self, grant: TokenGrant, kit: Kit) -> dict[str, JsonValue]:  # noqa: ARG002
        """Return the claims that a token for ``grant`` would have, without its id. Raises ``FormatDenied``."""
        return {"sub": id_of(grant), "aud": [grant.audience], "exp": grant.expires_at, "iat": grant.issued_at}

    async def mint(self, grant: TokenGrant, kit: Kit) -> MintedToken:
        """Return a JWT-SVID. Raises as :meth:`Format.mint`."""
        claims = self.claims(grant, kit)
        token_id = kit.token_id()
        return await signed_claims(grant, kit.signer(grant), claims | {"jti": token_id}, token_id)


FORMAT: Final = SpiffeFormat()


def sources_of(path: str) -> tuple[str, ...]:
    """Return the source of each segment of a path such as `/ns/{assertion.namespace}`.

    Raises:
        ValueError: it is no path of a SPIFFE id.
    """
    found = list(_SEGMENT.finditer(path))
    if not found or "".join(match[0] for match in found) != path:
        raise ValueError(
            "expected a path such as /agents/{profile.principal}: each segment a text, or a source in braces"
        )
    texts = [match[2] for match in found if match[2] is not None]
    if not all(map(is_segment, texts)):
        raise ValueError("expected segments of letters, digits, ., - and _ (SPIFFE-ID section 2.2)")
    return tuple(match[1] if match[2] is None else f"'{match[2]}'" for match in found)


def id_of(grant: TokenGrant) -> str:
    """Return the SPIFFE id for a grant. Raises ``FormatDenied`` if the grant leads to none."""
    options = grant.format.options
    try:
        return spiffe_id(options.trust_domain if isinstance(options, SpiffeOptions) else "", f"/{grant.uid}")
    except ValueError:
        raise FormatDenied(
            "spiffe.path gives no SPIFFE id for this subject: a segment is missing, or has other characters than "
            "letters, digits, ., - and _"
        ) from None
