"""The choice of the provider whose rules apply to a token, by the token's exact issuer.

Several providers may share an issuer if the configuration distinguishes them, by exact claims (`where`) or by their
audiences. Every grant is for us alone, so it belongs to the one of them that accepts grants. The token is not trusted
yet. The rules of the chosen provider then verify all of it, including the claims that led to the choice.
"""

from collections.abc import Iterable, Sequence

from tokenmint.base.foreign_text import LONG, quoted
from tokenmint.base.spiffe_id import in_trust_domain
from tokenmint.base.token_errors import ClaimRejected, UnsupportedTokenType, WrongAudience
from tokenmint.model.tokens import ID_JAG, ID_JAG_TYP, JWT_GRANT
from tokenmint.verification.jws import UnverifiedAssertion, media_type
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
                return self._one_of(found, token)
            # SPIFFE's tokens need no issuer, and an issuer does not determine the trust domain.
            subject = token.claims.get("sub")
            found = [one for one in self._by_trust_domain if in_trust_domain(subject, one.trust_domain or "")]
            if found:
                return self._one_of(found, token)
        raise unknown_issuer(token, own_issuer=self._own_issuer, known=self._by_issuer)

    def _one_of(self, providers: list[Provider], token: UnverifiedAssertion) -> Provider:
        fitting = [
            one for one in providers if all(token.claims.get(name) == value for name, value in one.where.items())
        ]
        if not fitting:
            names = sorted({name for one in providers for name in one.where})
            raise ClaimRejected(
                f"the claims that distinguish the providers of this issuer match none of them: {', '.join(names)}",
                detail=f"{', '.join(one.name for one in providers)}: {[dict(one.where) for one in providers]}",
            )
        if len(fitting) == 1:
            return fitting[0]
        if media_type(str(token.header.get("typ", ""))) == ID_JAG_TYP:
            return self._one_for_grants(fitting)
        granting = [one for one in fitting if JWT_GRANT in one.token_types]
        if len(granting) == 1 and token.claims.get("aud") in (self._own_issuer, [self._own_issuer]):
            return granting[0]
        return _one_by_audience(fitting, token)

    def _one_for_grants(self, providers: list[Provider]) -> Provider:
        """Return the provider that accepts ID-JAGs: their audience is always our issuer, so it tells nothing."""
        accepting = [one for one in providers if ID_JAG in one.token_types]
        found = [one for one in accepting if self._own_issuer in one.audiences] if len(accepting) > 1 else accepting
        named = ", ".join(one.name for one in (accepting or providers))
        if not accepting:
            raise UnsupportedTokenType(detail=f"no token_types of {named} list {ID_JAG}")
        if len(found) != 1:
            raise WrongAudience("several providers of this issuer accept its ID-JAGs", detail=f"providers {named}")
        return found[0]

    def every(self, issuer: str) -> Sequence[Provider]:
        """Return the providers of some tokens with this exact issuer."""
        return self._by_issuer.get(issuer, []) if issuer != self._own_issuer else []

    def alone(self, issuer: str) -> Provider | None:
        """Return the provider for every token with this exact issuer; None if there is none, or more than one."""
        found = self.every(issuer)
        return found[0] if len(found) == 1 and not found[0].where else None


def _one_by_audience(providers: list[Provider], token: UnverifiedAssertion) -> Provider:
    meant = [one for one in providers if not one.audiences.isdisjoint(audiences_of(one, token.claims))]
    if len(meant) == 1:
        return meant[0]
    named = ", ".join(one.name for one in (meant or providers))
    came = quoted(token.claims.get("aud"), LONG)
    if meant:
        raise WrongAudience(
            "the token is for audiences of several providers of this issuer: have it issued for one of them",
            detail=f"aud {came}, providers {named}",
        )
    accepted = sorted(audience for one in providers for audience in one.audiences)
    raise WrongAudience(detail=f"aud {came}, accepted {quoted(accepted, LONG)} by {named}")


def disjoint(one: Provider, other: Provider) -> bool:
    """Return whether no token can be meant for both of two providers."""
    same_issuer = bool(one.issuers.keys() & other.issuers.keys())
    same_domain = one.trust_domain is not None and one.trust_domain == other.trust_domain
    differ = any(other.where.get(name, value) != value for name, value in one.where.items())
    return differ or one.audiences.isdisjoint(other.audiences) or not (same_issuer or same_domain)


def grants_disjoint(one: Provider, other: Provider, own_issuer: str) -> bool:
    """Return whether no grant is meant for both of two providers that are disjoint. All of them are for us.

    An ID-JAG tells by its `typ` that it is one. Another grant looks like an ID token for us.
    """
    differ = any(other.where.get(name, value) != value for name, value in one.where.items())
    if differ or not one.issuers.keys() & other.issuers.keys():
        return True
    if JWT_GRANT in one.token_types | other.token_types:
        named_apart = JWT_GRANT not in one.token_types & other.token_types
        if not named_apart or own_issuer in one.audiences | other.audiences:
            return False
    return ID_JAG not in one.token_types & other.token_types or own_issuer in one.audiences | other.audiences


def mistakes_grants(provider: Provider, own_issuer: str) -> bool:
    """Return whether a provider's other tokens may be for us too, so that nothing tells them from its grants."""
    others = provider.token_types - {ID_JAG, JWT_GRANT}
    return JWT_GRANT in provider.token_types and bool(others) and own_issuer in provider.audiences
