"""DPoP proofs (RFC 9449): a client proves that it holds the key of its token, existing or requested.

Pure. The caller has to check the proof's single use, by ``replay_id``
(:meth:`tokenmint.verification.replay.ReplayGuard.consume_proof`).
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa

from tokenmint.base.errors import ProofRejected
from tokenmint.base.http_url import BadUrl, HttpUrl
from tokenmint.base.token_errors import MalformedToken
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import JsonValue
from tokenmint.verification.jwk import ALGORITHMS, BadKey, VerificationKey, read_jwk, weakness
from tokenmint.verification.jws import CompactJws, media_type, parse_object, split_compact
from tokenmint.verification.weak_keys import LIBRARY_BITS, Verdicts

DPOP_ALGORITHMS: Final = ("ES256", "ES384", "ES512", "EdDSA", "Ed25519", "PS256", "RS256")
"""The algorithms of proofs, also in the metadata (RFC 9449 section 5.1): none is symmetric."""
MAX_AGE: Final = 60.0  # seconds after its iat in which a proof is accepted
MAX_AHEAD: Final = 10.0  # seconds by which a client's clock may be fast
MAX_PROOF_ID: Final = 255
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_VERDICTS: Final = Verdicts()
"""The judged keys of clients, apart from providers' keys: a flood of clients' keys must not evict those."""


@dataclass(frozen=True, slots=True)
class DpopProof:
    """A checked proof. Only :func:`check_proof` makes one."""

    thumbprint: str
    """RFC 7638 SHA-256 of the key, base64url: the `jkt` of RFC 9449 section 6.1."""
    replay_id: str
    """The key of the record of its single use: a hash of key and `jti`."""
    expires_at: float
    """The time from which the proof is too old, in seconds since the epoch."""


def check_proof(proof: Secret, *, method: str, url: str, now: float, access_token: Secret | None = None) -> DpopProof:
    """Check a proof for one request (RFC 9449 section 4.3).

    Args:
        proof: the value of the `DPoP` header.
        method: the request's HTTP method.
        url: the URL that clients know the resource by; query and fragment do not count.
        now: the time, seconds since the epoch.
        access_token: the bound token that comes with the proof; `ath` has to be its hash.

    Raises:
        ProofRejected: it is not for this request, or too old.
    """
    try:
        token = split_compact(proof.reveal_bytes())
        claims = parse_object(token.payload, "payload")
    except MalformedToken as error:
        raise ProofRejected("the DPoP proof is not a well-formed JWT", detail=error.detail or error.message) from None
    key = _key(token)
    if not key.verify(token.algorithm, token.signing_input, token.signature):
        raise ProofRejected("the DPoP proof's signature does not verify with its jwk")
    proof_id = claims.get("jti")
    if not isinstance(proof_id, str) or not 0 < len(proof_id) <= MAX_PROOF_ID:
        raise ProofRejected(f"the DPoP proof's jti is not a string of 1 to {MAX_PROOF_ID} characters")
    if claims.get("htm") != method:
        raise ProofRejected("the DPoP proof's htm is not the method of this request")
    target, here = claims.get("htu"), _normal(url)
    if here is None or not isinstance(target, str) or _normal(target) != here:
        raise ProofRejected(f"the DPoP proof's htu is not {url}")
    issued_at = _issued_at(claims, now)
    if access_token is not None:
        _check_hash(claims, access_token)
    reason = weakness(key, _VERDICTS)  # last, because it costs most
    if reason:
        raise ProofRejected(f"the DPoP proof's jwk is not used: {reason}")
    return DpopProof(
        thumbprint=key.thumbprint,
        replay_id=hashlib.sha256(f"dpop\0{key.thumbprint}\0{proof_id}".encode()).hexdigest(),
        expires_at=issued_at + MAX_AGE,
    )


def _key(token: CompactJws) -> VerificationKey:
    if media_type(str(token.header.get("typ"))) != "dpop+jwt":
        raise ProofRejected("the DPoP proof's typ is not dpop+jwt")
    if token.algorithm not in DPOP_ALGORITHMS or token.algorithm not in ALGORITHMS:
        raise ProofRejected(f"the DPoP proof's alg is none of {', '.join(DPOP_ALGORITHMS)}")
    try:
        key = read_jwk(token.header.get("jwk"))
    except BadKey as reason:
        raise ProofRejected(f"the DPoP proof's jwk is not used: {reason}") from None
    if token.algorithm not in key.algorithms:
        raise ProofRejected("the DPoP proof's alg does not fit its jwk")
    if isinstance(key.public_key, rsa.RSAPublicKey) and key.public_key.key_size > LIBRARY_BITS:
        # Callers choose their keys. A larger key is cheap to make and expensive to check.
        raise ProofRejected(f"the DPoP proof's jwk is an RSA key of more than {LIBRARY_BITS} bits: use ES256")
    return key


def _issued_at(claims: Mapping[str, JsonValue], now: float) -> float:
    value = claims.get("iat")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ProofRejected("the DPoP proof's iat is not a time")
    if value > now + MAX_AHEAD:
        raise ProofRejected("the DPoP proof's iat is in the future: compare the clocks")
    if now >= value + MAX_AGE:
        raise ProofRejected(f"the DPoP proof is older than {MAX_AGE:.0f} s: make a new one for each request")
    return float(value)


def _check_hash(claims: Mapping[str, JsonValue], access_token: Secret) -> None:
    digest = hashlib.sha256(access_token.reveal_bytes()).digest()
    expected = base64.urlsafe_b64encode(digest).rstrip(b"=")
    value = claims.get("ath")
    if not isinstance(value, str) or not hmac.compare_digest(value.encode("utf-8", "replace"), expected):
        raise ProofRejected("the DPoP proof's ath is not the hash of the token in this request")


def _normal(url: str) -> tuple[str, str, int, str] | None:
    """Return the parts of a URL that are compared (RFC 3986 sections 6.2.2 and 6.2.3). None if it is not a URL."""
    try:
        parsed = HttpUrl.parse(url)
    except BadUrl:
        return None
    path = _ESCAPE.sub(_unescaped, parsed.target.partition("?")[0])
    return *parsed.origin, _without_dots(path)


def _unescaped(match: re.Match[str]) -> str:
    character = chr(int(match[1], 16))
    return character if character in _UNRESERVED else match[0].upper()


def _without_dots(path: str) -> str:
    """Remove the segments "." and ".." (RFC 3986 section 5.2.4)."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            kept = kept[:-1]
        elif segment != ".":
            kept.append(segment)
    ends = "/" if segments[-1] in (".", "..") and kept else ""
    return "/" + "/".join(kept) + ends
