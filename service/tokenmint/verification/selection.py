"""The choice of the provider whose rules apply to a token, by the token's exact issuer.

Several providers may share an issuer if the configuration distinguishes them, by exact claims (`where`) or by their
audiences. The token is not trusted yet. The rules of the chosen provider then verify all of it, including the claims
that led to the choice.
"""

from collections.abc import Iterable, Mapping, Sequence

from tokenmint.base.foreign_text import LONG, quoted
from tokenmint.base.spiffe_id import in_trust_domain
from tokenmint.base.token_errors import ClaimRejected, WrongAudience
from tokenmint.model.tokens import JsonValue
from tokenmint.verification.jws import UnverifiedAssertion
from tokenmint.verification.provider import Provider, audiences_of
from tokenmint.verification.refusal_hints import unknown_issuer


class Selection:
    """Finds the provider of a token.

    Args:
        providers: those of one issuer differ in a claim of `where`, or have no audience in common.
        own_issuer: what tokenmint signs as; never a provider.
    """

    def __init__(self, providers: Iterable[Provider], own_issuer: str) -> None:
        self._own_issuer = own_issuer
        self._by_issuer: dict[str, list[Provider]] = {}
        self._by_trust_domain: list[Provider] = []
        for provider in providers:
            for issuer in provider.issuers:
                self._by_issuer.setdefault(issuer, []).append(provider)
            if provider.trust_domain is not None:
                self._by_trust_domain.append(provider)

    def provider(self, token: UnverifiedAssertion) -> Provider:
        """Return the provider from which the token claims to come. Raises ``TokenRejected`` if there is none."""
        if token.issuer != self._own_issuer:
            found = self._by_issuer.get(token.issuer)
            if found is not None:
                return _one_of(found, token.claims)
            # SPIFFE's tokens need no issuer, and an issuer does not determine the trust domain.
            subject = token.claims.get("sub")
            found = [one for one in self._by_trust_domain if in_trust_domain(subject, one.trust_domain or "")]
            if found:
                return _one_of(found, token.claims)
        raise unknown_issuer(token, own_issuer=self._own_issuer, known=self._by_issuer)

    def every(self, issuer: str) -> Sequence[Provider]:
        """Return the providers of some tokens with this exact issuer."""
        return self._by_issuer.get(issuer, []) if issuer != self._own_issuer else []

    def alone(self, issuer: str) -> Provider | None:
        """Return the provider for every token with this exact issuer; None if there is none, or more than one."""
        found = self.every(issuer)
        return found[0] if len(found) == 1 and not found[0].where else None


def _one_of(providers: list[Provider], claims: Mapping[str, JsonValue]) -> Provider:
    fitting = [one for one in providers if all(claims.get(name) == value for name, value in one.where.items())]
    if not fitting:
        names = sorted({name for one in providers for name in one.where})
        raise ClaimRejected(
            f"the claims that distinguish the providers of this issuer match none of them: {', '.join(names)}",
            detail=f"{', '.join(one.name for one in providers)}: {[dict(one.where) for one in providers]}",
        )
    if len(fitting) == 1:
        return fitting[0]
    meant = [one for one in fitting if not one.audiences.isdisjoint(audiences_of(one, claims))]
    if len(meant) == 1:
        return meant[0]
    named = ", ".join(one.name for one in (meant or fitting))
    came = quoted(claims.get("aud"), LONG)
    if meant:
        raise WrongAudience(
            "the token is for audiences of several providers of this issuer: have it issued for one of them",
            detail=f"aud {came}, providers {named}",
        )
    accepted = sorted(audience for one in fitting for audience in one.audiences)
    raise WrongAudience(detail=f"aud {came}, accepted {quoted(accepted, LONG)} by {named}")


def disjoint(one: Provider, other: Provider) -> bool:
    """Return whether no token can be meant for both of two providers."""
    same_issuer = bool(one.issuers.keys() & other.issuers.keys())
    same_domain = one.trust_domain is not None and one.trust_domain == other.trust_domain
    differ = any(other.where.get(name, value) != value for name, value in one.where.items())
    return differ or one.audiences.isdisjoint(other.audiences) or not (same_issuer or same_domain)
