"""Verifies a token: exact issuer → key of that issuer → signature → claims. Only this module makes a
:class:`VerifiedToken`.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from tokenmint.base.foreign_text import quoted
from tokenmint.base.token_errors import AlgorithmNotAllowed, BadSignature, ClaimRejected, TokenRejected, UnknownKey
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import GRANTS, JsonValue, VerifiedToken
from tokenmint.verification import refusal_hints
from tokenmint.verification.grants import check_grant
from tokenmint.verification.jwk import VerificationKey
from tokenmint.verification.jws import MAX_TOKEN, UnverifiedAssertion, parse_compact
from tokenmint.verification.key_choice import MOST_TRIED, wanted_key
from tokenmint.verification.keyset import KeySets
from tokenmint.verification.provider import (
    Provider,
    check_audience,
    check_claims,
    check_kind,
    check_nonce,
    check_times,
    normalised,
)
from tokenmint.verification.selection import Selection
from tokenmint.verification.signature_cache import CachedSignature, SignatureCache
from tokenmint.verification.subjects import subject


class Verifier:
    """Verifies the tokens of the configured providers.

    Args:
        providers: by name. Two of one issuer are told apart (``selection.disjoint``).
        key_sets: the providers' keys.
        own_issuer: tokenmint's own issuer; never a provider.
        users: asks a provider whether the user still has access, if its configuration says so.
        max_token: the longest token, in bytes.
        emulated: the providers whose tokens come from an emulator, which does not sign (development mode only).
    """

    def __init__(
        self,
        providers: Mapping[str, Provider],
        key_sets: KeySets,
        *,
        own_issuer: str,
        users: Callable[[Provider, Mapping[str, JsonValue]], Awaitable[None]] | None = None,
        emulated: frozenset[str] = frozenset(),
        max_token: int = MAX_TOKEN,
    ) -> None:
        self.providers = MappingProxyType(dict(providers))
        self.key_sets = key_sets
        self.max_token = max_token
        self._users = users
        self._own_issuer = own_issuer
        self._emulated = emulated
        self.signatures = SignatureCache()
        self._selection = Selection(providers.values(), own_issuer)

    async def verify(
        self,
        token: Secret,
        token_type: str,
        *,
        nonce: str | None,
        now: float,
        observe: Callable[[str], None] = lambda _: None,
        fetch: bool = True,
    ) -> VerifiedToken:
        """Verify that ``token`` is a ``token_type`` (a URN of RFC 8693 section 3) that is valid at ``now``.

        ``observe`` receives the name of each step when it begins; without ``fetch`` only present keys are used.

        Raises:
            TokenRejected: it is not.
            KeySetUnavailable: its provider's keys are not present.
        """
        observe("assertion.form")
        fingerprint = token.fingerprint()
        remembered = self.signatures.find(fingerprint)
        unverified = remembered.token if remembered is not None else parse_compact(token, self.max_token)
        observe("assertion.issuer")
        provider = self._selection.provider(unverified)
        observe("assertion.kind")
        token_type = check_kind(provider, unverified, token_type)
        observe("assertion.signature")
        signer = self.signatures.signer(fingerprint)
        signed_by = await self._check_signature(provider, unverified, signer, fetch=fetch)
        if signed_by is not None and remembered is None:
            self.signatures.remember(fingerprint, CachedSignature(unverified, provider.name, signed_by.thumbprint))
        claims = normalised(provider, unverified.claims)
        observe("assertion.times")
        expires_at, issued_at = check_times(provider, claims, now)
        observe("assertion.audience")
        if token_type in GRANTS:
            check_grant(provider, claims, self._own_issuer, expires_at, token_type)
        else:
            check_audience(provider, claims, token_type)
        observe("assertion.nonce")
        check_nonce(claims, nonce)
        observe("assertion.claims")
        check_claims(provider, unverified.issuer, claims, now, token_type)
        if provider.users is not None and self._users is not None and fetch:
            observe("assertion.user")
            await self._users(provider, claims)
        return VerifiedToken(
            provider=provider.name,
            issuer=unverified.issuer,
            subject=subject(provider, claims, token_type),
            token_type=token_type,
            claims=claims,
            issued_at=issued_at,
            expires_at=expires_at,
            fingerprint=fingerprint,
            replay_id=_replay_id(unverified),
            single_use=provider.single_use or token_type in GRANTS,
        )

    def provider_of(self, issuer: str) -> Provider | None:
        """Return the provider of all tokens with this exact issuer; None if there is none, or more than one."""
        return self._selection.alone(issuer)

    def chosen(self, token: Secret) -> str:
        """Return the name of the provider whose rules apply to a token that is not verified; "" if there is none."""
        try:
            return self._selection.provider(parse_compact(token, self.max_token)).name
        except TokenRejected:
            return ""

    def named_by_sub(self, issuer: str, of: VerifiedToken | None = None) -> tuple[str | None, ...]:
        """Return the providers of an issuer; None for one whose identities have other names than `sub` alone.

        ``of``: a token, which tells its provider.
        """
        known = of is not None and of.issuer == issuer
        providers = [self.providers[of.provider]] if of is not None and known else self._selection.every(issuer)
        return tuple(
            one.name if one.subject_claims == (("sub",),) and one.trust_domain is None else None for one in providers
        )

    def is_emulated(self, provider: str) -> bool:
        """Return whether a provider's tokens come from an emulator, which does not sign."""
        return provider in self._emulated

    async def check_signature(self, provider: Provider, token: UnverifiedAssertion) -> VerificationKey | None:
        """Return the key of ``provider`` that signed ``token``; None if its emulator needs no signature.

        Raises as :meth:`verify`.
        """
        return await self._check_signature(provider, token, None, fetch=True)

    async def _check_signature(
        self, provider: Provider, token: UnverifiedAssertion, signer: tuple[str, str] | None, *, fetch: bool
    ) -> VerificationKey | None:
        """Return the key that signed ``token``; None if no signature is needed, in development."""
        if self.is_emulated(provider.name) and token.algorithm == "none" and not token.signature:
            return None
        if token.algorithm not in provider.algorithms:
            raise AlgorithmNotAllowed(
                detail=f"alg {quoted(token.algorithm, 32)}, accepted {sorted(provider.algorithms)}"
            )
        if provider.key_id_required and token.key_id is None:
            raise UnknownKey("the token's header has no kid, which every token of this provider has")
        wanted = wanted_key(token.key_id, token.header, token.algorithm)
        keys = await self.key_sets.find(provider.name, wanted, fetch=fetch)
        try:
            return _signed_by(keys, provider, token, signer)
        except (AlgorithmNotAllowed, BadSignature):
            newer = await self.key_sets.find_newer(provider.name, wanted, keys) if fetch else ()
            if not newer:
                raise
        return _signed_by(newer, provider, token, signer)


def _signed_by(
    keys: tuple[VerificationKey, ...],
    provider: Provider,
    token: UnverifiedAssertion,
    signer: tuple[str, str] | None,
) -> VerificationKey:
    """Return the key of ``keys`` that signed ``token``. Raises ``TokenRejected`` if none of them did."""
    if provider.key_issuer == "match":
        keys = tuple(key for key in keys if _signs_for(key.issuer, provider, token))
        if not keys:
            raise UnknownKey("the key that the token names signs for another issuer")
    fitting = [key for key in keys if token.algorithm in key.algorithms]
    if not fitting:
        raise AlgorithmNotAllowed("the token's algorithm does not fit the key that it names")
    for key in fitting[:MOST_TRIED]:  # also of those with one name: a provider may give it to all its keys
        if (provider.name, key.thumbprint) == signer:
            return key
        if key.verify(token.algorithm, token.signing_input, token.signature):
            return key
    raise refusal_hints.bad_signature(token)


def _signs_for(key_issuer: str | None, provider: Provider, token: UnverifiedAssertion) -> bool:
    """Return whether a key may sign for the token's tenant: its `issuer` names that tenant, or all tenants."""
    if key_issuer is None:
        return True
    tenant = token.claims.get("tid")
    if not isinstance(tenant, str):
        return False
    return provider.issuers.get(key_issuer.replace("{tenantid}", tenant), {}).get("tid") == tenant


def _replay_id(token: UnverifiedAssertion) -> str:
    """Return the identifier of a single-use token for its record.

    It is (issuer, jti), or without a jti the signing input: ECDSA has several signatures for one token.
    """
    token_id = token.claims.get("jti")
    if token_id is None:
        return hashlib.sha256(b"input\x00" + token.signing_input).hexdigest()
    if not isinstance(token_id, str) or not token_id:
        raise ClaimRejected("jti is not a non-empty string")
    issuer = token.issuer.encode()
    return hashlib.sha256(b"jti\x00" + len(issuer).to_bytes(4) + issuer + token_id.encode()).hexdigest()
