"""Verifies issued tokens: JWTs by the key ring, reference tokens by the store. A provider's token never passes.

They come back in two cases: a caller introspects or revokes one (RFC 7662, RFC 7009), or exchanges it for a token of
another audience.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from tokenmint.base.token_errors import (
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
from tokenmint.keys.types import RegionKey, SigningKey
from tokenmint.model.issued import IssuedToken, issued_token
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import (
    ACCESS_TOKEN,
    JWT,
    REFRESH_TOKEN,
    SELF_ISSUED,
    TXN_TOKEN,
    TXN_TOKEN_TYP,
    VerifiedToken,
)
from tokenmint.verification.jwk import VerificationKey, read_jwk
from tokenmint.verification.jws import MOST_TOKEN, UnverifiedAssertion, parse_compact

SIGNATURES: Final = 4096  # cached good signatures, by the SHA-256 of their token
SKEW: Final = 60.0  # seconds that clocks of replicas may differ; the expiry of a token has no such tolerance


class IssuedTokenVerifier:
    """Verifies issued tokens.

    Args:
        issuer: the `iss` of tokens.
        key: returns the published key with an id, or None, or raises ``DependencyUnavailable``.
        issued: the records of issued tokens.
        header_types: the `typ` of issued JWTs.
        prefixes: the first characters of issued reference tokens.
    """

    def __init__(
        self,
        *,
        issuer: str,
        key: Callable[[str], SigningKey | RegionKey | None],
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
        self._signatures: OrderedDict[str, VerificationKey] = OrderedDict()

    def recognises(self, token: Secret, token_type: str = ACCESS_TOKEN) -> bool:
        """Return whether ``token`` claims to be issued here, and may be of that type. Nothing is verified.

        A reference token is not a JWT (RFC 8693 section 3).
        """
        if token.reveal_bytes().startswith(self._prefixes):
            return token_type not in (JWT, TXN_TOKEN)
        if token_type == REFRESH_TOKEN:  # opaque, so no JWT is one
            return False
        try:
            return parse_compact(token, MOST_TOKEN).issuer == self.issuer
        except MalformedToken:
            return False

    async def verify(self, token: Secret, *, now: float) -> IssuedToken:
        """Verify that ``token`` was issued here, is valid now, and that neither it nor an ancestor was revoked.

        Raises:
            TokenRejected: it fails one of these checks.
            DependencyUnavailable: keys or store are out of reach.
        """
        issued = await self.identify(token, now=now)
        await self.check_revoked(issued)
        return issued

    async def check_revoked(self, issued: IssuedToken) -> None:
        """Raise ``TokenRevoked`` if the token, an ancestor, or all of its client, audience, principal was revoked."""
        if await self.issued.revoked(issued.revocable):
            raise TokenRevoked("the token was revoked, or one that it was exchanged from, or all of its kind")

    async def identify(self, token: Secret, *, now: float) -> IssuedToken:
        """Verify that ``token`` was issued here and is valid now, even if revoked. Raises as :meth:`verify`."""
        issued = await self._read(token)
        if now >= issued.expires_at:
            raise TokenExpired("the token has expired", detail=f"exp {issued.expires_at}, now {now:.0f}")
        if issued.issued_at > now + SKEW:
            raise TokenNotYetValid(detail=f"iat {issued.issued_at}, now {now:.0f}")
        return issued

    async def _read(self, token: Secret) -> IssuedToken:
        if token.reveal_bytes().startswith(self._prefixes):
            reference = await self.issued.find(token)
            if reference is None:
                raise TokenExpired("there is no such token, or it has expired")
            return reference
        unverified = parse_compact(token, MOST_TOKEN)
        if unverified.issuer != self.issuer:
            raise UnknownIssuer("the token was not issued here")
        typ = unverified.header.get("typ")
        if typ not in self._header_types:
            raise UnsupportedTokenType(detail="the typ is not one of issued tokens")
        key = self._verification_key(unverified.key_id or "")
        if unverified.algorithm not in key.algorithms:
            raise AlgorithmNotAllowed(detail="the algorithm is not that of the key")
        self._check_signature(unverified, key, token.fingerprint())
        try:
            kind = TXN_TOKEN if typ == TXN_TOKEN_TYP else ACCESS_TOKEN
            return issued_token(unverified.claims, token.fingerprint(), kind=kind)
        except ValueError as error:
            raise MalformedToken(detail=f"signed by the key ring, but not an issued token: {error}") from None

    def _check_signature(self, unverified: UnverifiedAssertion, key: VerificationKey, fingerprint: str) -> None:
        """Check a signature, once for each token and key: services introspect one token often."""
        if self._signatures.get(fingerprint) is key:
            return
        if not key.verify(unverified.algorithm, unverified.signing_input, unverified.signature):
            raise BadSignature()
        self._signatures[fingerprint] = key
        if len(self._signatures) > SIGNATURES:
            self._signatures.popitem(last=False)

    def _verification_key(self, key_id: str) -> VerificationKey:
        key = self._key(key_id)  # looked up each time: a key may have been revoked
        if key is None:
            raise UnknownKey("the token's key is not in the published set: it was revoked, or has retired")
        if key_id not in self._parsed:
            if len(self._parsed) > 1000:  # more keys than all regions publish
                self._parsed.clear()
            self._parsed[key_id] = read_jwk({**key.public_jwk, "kid": key_id, "alg": key.algorithm, "use": "sig"})
        return self._parsed[key_id]


def as_verified_token(issued: IssuedToken, *, issuer: str) -> VerifiedToken:
    """Return an issued token in the form in which policy and claim mappings see any subject token."""
    return VerifiedToken(
        provider=SELF_ISSUED,
        issuer=issuer,
        subject=issued.principal,
        token_type=issued.kind,
        claims=issued.claims,
        issued_at=issued.issued_at,
        expires_at=issued.expires_at,
        fingerprint=issued.fingerprint,
        replay_id=hashlib.sha256(b"own\x00" + issued.token_id.encode()).hexdigest(),
        single_use=False,
    )
