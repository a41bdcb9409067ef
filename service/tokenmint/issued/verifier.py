"""Proves tokens of our own: JWTs by the key ring, handles by the store. None of them is ever a provider's.

They come back in two ways: somebody asks about one or revokes it (RFC 7662, RFC 7009), or wants it exchanged for one
for another audience.
"""

import hashlib
from collections.abc import Callable
from typing import Final

from tokenmint.base.errors import (
    AlgorithmNotAllowed,
    BadSignature,
    MalformedToken,
    TokenExpired,
    TokenNotYetValid,
    TokenRevoked,
    UnknownIssuer,
    UnknownKey,
    UnsupportedTokenType,
)
from tokenmint.issued.store import IssuedStore
from tokenmint.keys.types import SigningKey
from tokenmint.model.issued import IssuedToken, issued_token
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import ACCESS_TOKEN, SELF_ISSUED, VerifiedToken
from tokenmint.verification.jwk import VerificationKey, parse_jwk
from tokenmint.verification.jws import parse_compact

SKEW: Final = 60.0  # seconds that clocks of replicas may differ by; the end of a token is never put off


class IssuedTokenVerifier:
    """Proves tokens that were minted here.

    Args:
        issuer: what tokens are signed as.
        key: returns the published key with an id, or None, or raises ``DependencyUnavailable``.
        issued: what is kept of tokens.
        header_types: the `typ` of the JWTs that are minted here.
        prefixes: the first characters of the handles that are minted here.
    """

    def __init__(
        self,
        *,
        issuer: str,
        key: Callable[[str], SigningKey | None],
        issued: IssuedStore,
        header_types: frozenset[str],
        prefixes: tuple[str, ...],
    ) -> None:
        self.issuer = issuer
        self._key = key
        self.issued = issued
        self._header_types = header_types
        self._prefixes = tuple(prefix.encode() for prefix in prefixes)
        self._parsed: dict[str, VerificationKey] = {}

    def recognises(self, token: Secret) -> bool:
        """Tell whether ``token`` says of itself that it is ours. Nothing is believed of it."""
        if token.reveal_bytes().startswith(self._prefixes):
            return True
        try:
            return parse_compact(token).issuer == self.issuer
        except MalformedToken:
            return False

    async def prove(self, token: Secret, *, now: float) -> IssuedToken:
        """Prove that ``token`` was minted here, is in time and was not revoked, nor one that it descends from.

        Raises:
            TokenRejected: it was not, or no longer is.
            DependencyUnavailable: keys or store are out of reach.
        """
        issued = await self.identify(token, now=now)
        await self.check_revoked(issued)
        return issued

    async def check_revoked(self, issued: IssuedToken) -> None:
        """Raise ``TokenRevoked`` where a token was revoked, or one that it descends from."""
        if await self.issued.revoked((issued.token_id, *issued.ancestors)):
            raise TokenRevoked("the token was revoked, or one that it was exchanged for")

    async def identify(self, token: Secret, *, now: float) -> IssuedToken:
        """Prove that ``token`` was minted here and is in time; it may have been revoked. Raises as :meth:`prove`."""
        issued = await self._read(token)
        if now >= issued.expires_at:
            raise TokenExpired("the token has expired", detail=f"exp {issued.expires_at}, now {now:.0f}")
        if issued.issued_at > now + SKEW:
            raise TokenNotYetValid(detail=f"iat {issued.issued_at}, now {now:.0f}")
        return issued

    async def _read(self, token: Secret) -> IssuedToken:
        if token.reveal_bytes().startswith(self._prefixes):
            found = await self.issued.find(token)
            if found is None:
                raise TokenExpired("there is no such token, or it has expired")
            return found
        unverified = parse_compact(token)
        if unverified.issuer != self.issuer:
            raise UnknownIssuer("the token was not minted here")
        if unverified.header.get("typ") not in self._header_types:
            raise UnsupportedTokenType(detail="the typ is none that is minted here")
        key = self._verification_key(unverified.key_id or "")
        if unverified.algorithm not in key.algorithms:
            raise AlgorithmNotAllowed(detail="the algorithm is not the key's")
        if not key.verify(unverified.algorithm, unverified.signing_input, unverified.signature):
            raise BadSignature()
        try:
            return issued_token(unverified.claims, token.fingerprint())
        except ValueError as error:
            raise MalformedToken(detail=f"signed by our key, and not as we write: {error}") from None

    def _verification_key(self, key_id: str) -> VerificationKey:
        known = self._key(key_id)  # asked each time: a key may have been revoked
        if known is None:
            raise UnknownKey("the token's key is not in the published set: it was revoked, or has retired")
        if key_id not in self._parsed:
            if len(self._parsed) > 100:  # more keys than any ring publishes
                self._parsed.clear()
            self._parsed[key_id] = parse_jwk({**known.public_jwk, "kid": key_id, "alg": known.algorithm, "use": "sig"})
        return self._parsed[key_id]


def as_verified_token(issued: IssuedToken, *, issuer: str) -> VerifiedToken:
    """Return a token of ours as what policy and claim mappings see of any subject token."""
    return VerifiedToken(
        provider=SELF_ISSUED,
        issuer=issuer,
        subject=issued.principal,
        token_type=ACCESS_TOKEN,
        claims=issued.claims,
        issued_at=issued.issued_at,
        expires_at=issued.expires_at,
        fingerprint=issued.fingerprint,
        replay_id=hashlib.sha256(b"own\x00" + issued.token_id.encode()).hexdigest(),
        single_use=False,
    )
