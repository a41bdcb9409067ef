"""DPoP proofs at a protected resource (RFC 9449 section 7): checked without I/O, each accepted once."""

import base64
import hashlib
import hmac
import json
import math
import re
import struct
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from tokenmint_client.claims import header_of, json_object, media_type
from tokenmint_client.errors import ReplayMemoryFull, TokenRejected

ALGORITHMS: Final = ("ES256", "ES384", "ES512", "PS256", "RS256", "EdDSA")
"""The algorithms of proofs: none is symmetric."""
MAX_AGE: Final = 60.0  # seconds after its iat in which a proof is accepted
MAX_AHEAD: Final = 10.0  # seconds by which the sender's clock may be fast
MAX_PROOF_BYTES: Final = 8 * 1024
MAX_ID: Final = 255  # characters of a jti
RSA_BITS: Final = (2048, 4096)  # larger ones are cheap to make and expensive to check
NONCE_AGE: Final = 300.0  # seconds for which a nonce is accepted
MIN_NONCE_KEY: Final = 32  # bytes
_URL: Final = re.compile(r"(https?)://([^/?#@]+)((?:/[^?#]*)?)(?:\?[^#]*)?(?:#.*)?", re.IGNORECASE)
_PRINTABLE: Final = re.compile(r"[!#-;=?-\[\]_a-z~]{1,2048}")  # the characters of URIs (RFC 3986 section 2)
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_KEY_MEMBERS: Final = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n"), "OKP": ("crv", "kty", "x")}
_SECRET_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof whose signature, method, URL, age and token hash are good. Not yet whether it is new."""

    thumbprint: str
    """RFC 7638 SHA-256 of the key: the ``jkt`` of a bound token."""
    nonce: str
    """The service's nonce in it, or ``""``."""
    replay_id: bytes
    """A hash of key and ``jti``."""
    expires_at: float
    """Unix seconds from which it is too old."""


def read_proof(proof: str, *, method: str, url: str, token: str, now: float) -> Proof:
    """Check a proof for one request (RFC 9449 section 4.3).

    Args:
        proof: the value of the ``DPoP`` header.
        method: of the request.
        url: of the request, as clients know it.
        token: the access token of the request; ``ath`` has to be its hash.
        now: Unix seconds.

    Raises:
        TokenRejected: PROOF_REJECTED.
    """
    if len(proof) > MAX_PROOF_BYTES:
        raise _rejected("is not a well-formed compact JWS")
    key, thumbprint, algorithm = _key(proof)
    try:
        payload = jwt.api_jws.PyJWS(algorithms=[algorithm]).decode(proof, key, algorithms=[algorithm])
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise _rejected("has a signature that its jwk does not verify") from None
    claims = json_object(payload)
    if claims is None:
        raise _rejected("is not a well-formed JWT")
    proof_id, issued_at, nonce = claims.get("jti"), claims.get("iat"), claims.get("nonce", "")
    if not isinstance(proof_id, str) or not 0 < len(proof_id) <= MAX_ID:
        raise _rejected(f"has no jti of 1 to {MAX_ID} characters")
    if claims.get("htm") != method:
        raise _rejected("is for another method (htm)")
    here = normal_url(url)
    if here is None or normal_url(claims.get("htu")) != here:
        raise _rejected("is for another URL (htu)")
    if isinstance(issued_at, bool) or not isinstance(issued_at, int | float) or not math.isfinite(issued_at):
        raise _rejected("has no iat that is a time")
    if issued_at > now + MAX_AHEAD:
        raise _rejected("has an iat in the future: compare the clocks")
    if now >= issued_at + MAX_AGE:
        raise _rejected(f"is older than {MAX_AGE:.0f} s: make a new one for each request")
    hashed = claims.get("ath")
    if not isinstance(hashed, str) or not _same(hashed, _hash(token.encode("utf-8", "replace"))):
        raise _rejected("is for another access token (ath)")
    if not isinstance(nonce, str):
        raise _rejected("has a nonce that is not a text")
    digest = hashlib.sha256(f"{thumbprint}\0{proof_id}".encode("utf-8", "surrogatepass")).digest()
    return Proof(thumbprint, nonce, digest, issued_at + MAX_AGE)


class ReplayMemory:
    """The proofs that were used, until they would be too old. For threads; each process has its own.

    Args:
        size: how many proofs are remembered. Beyond it proofs are refused for now: what is forgotten could be replayed.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError("replay_memory: expected 1 or more")
        self._size = size
        self._lock = threading.Lock()
        self._used: OrderedDict[bytes, float] = OrderedDict()

    def use(self, proof: Proof, now: float) -> None:
        """Use a proof up.

        Raises:
            TokenRejected: PROOF_REJECTED, it was used before.
            ReplayMemoryFull: there is no room for it.
        """
        with self._lock:
            if proof.replay_id in self._used and now < self._used[proof.replay_id]:
                raise _rejected("was used before: make a new one for each request")
            self._used.pop(proof.replay_id, None)
            if len(self._used) >= self._size:
                self._drop_old(now)
            if len(self._used) >= self._size:
                raise ReplayMemoryFull
            self._used[proof.replay_id] = proof.expires_at

    def _drop_old(self, now: float) -> None:
        # In the order of their use. A proof expires at most MAX_AGE + MAX_AHEAD later, so the old ones are in front.
        while self._used:
            oldest, expires_at = next(iter(self._used.items()))
            if now < expires_at:
                return
            del self._used[oldest]


class Nonces:
    """Nonces of this service (RFC 9449 section 9): a time and its HMAC, so that nothing has to be remembered.

    Args:
        key: a secret of 32 bytes or more, the same in all replicas.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < MIN_NONCE_KEY:
            raise ValueError(f"nonce_key: expected {MIN_NONCE_KEY} bytes or more")
        self._key = key

    def new(self, now: float) -> str:
        """Return a nonce for proofs that are made from now on."""
        time = struct.pack(">Q", int(now))
        return base64.urlsafe_b64encode(time + self._tag(time)).decode()

    def accepts(self, nonce: str, now: float) -> bool:
        """Whether a nonce is one of these, and not too old."""
        try:
            content = base64.b64decode(nonce.encode("ascii"), altchars=b"-_", validate=True)
        except ValueError:
            return False
        time, tag = content[:8], content[8:]
        if len(time) != 8 or not hmac.compare_digest(tag, self._tag(time)):
            return False
        made: int = struct.unpack(">Q", time)[0]
        return now - NONCE_AGE < made <= now + MAX_AHEAD

    def _tag(self, time: bytes) -> bytes:
        return hmac.digest(self._key, b"tokenmint dpop nonce" + time, "sha256")[:16]


def normal_url(url: object) -> tuple[str, str, str] | None:
    """Return scheme, authority and path of a URL in their normal form (RFC 3986 sections 6.2.2 and 6.2.3).

    None where it is not an absolute http or https URL, or has a user.
    """
    if not isinstance(url, str) or not _PRINTABLE.fullmatch(url):
        return None
    parts = _URL.fullmatch(url)
    if parts is None:
        return None
    scheme, host = parts[1].lower(), parts[2].lower()
    host = host.removesuffix(":443" if scheme == "https" else ":80").removesuffix(":")
    return scheme, host, _without_dots(_ESCAPE.sub(_unescaped, parts[3]))


def _key(proof: str) -> tuple[jwt.PyJWK, str, str]:
    """Return the key in a proof, its thumbprint (RFC 7638), and the algorithm."""
    header = header_of(proof)
    if header is None:
        raise _rejected("is not a well-formed compact JWS")
    kind, algorithm, member = header.get("typ"), header.get("alg"), header.get("jwk")
    if not isinstance(kind, str) or media_type(kind) != "dpop+jwt":
        raise _rejected("has another typ than dpop+jwt")
    if algorithm not in ALGORITHMS:
        raise _rejected(f"has an alg that is none of {', '.join(ALGORITHMS)}")
    if "crit" in header:
        raise _rejected("has a crit")
    names = _KEY_MEMBERS.get(str(member.get("kty"))) if isinstance(member, dict) else None
    if not isinstance(member, dict) or names is None or not all(isinstance(member.get(name), str) for name in names):
        raise _rejected("has no public jwk")
    if _SECRET_MEMBERS & member.keys():
        raise _rejected("has a jwk that is not public")
    public = {name: member[name] for name in names}
    try:
        key = jwt.PyJWK({**public, "alg": algorithm})
    except (jwt.PyJWTError, ValueError, TypeError):
        raise _rejected("has a jwk that its alg does not fit") from None
    if isinstance(key.key, rsa.RSAPublicKey) and not RSA_BITS[0] <= key.key.key_size <= RSA_BITS[1]:
        raise _rejected(f"has an RSA key that is not of {RSA_BITS[0]} to {RSA_BITS[1]} bits")
    text = json.dumps(public, sort_keys=True, separators=(",", ":"))
    return key, _hash(text.encode("utf-8", "surrogatepass")), algorithm


def _hash(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _same(given: Any, expected: str) -> bool:
    return isinstance(given, str) and hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def bound_to_key(confirmation: Any, thumbprint: str) -> bool:
    """Whether ``jkt`` of a token's ``cnf`` is this thumbprint."""
    return _same(confirmation, thumbprint)


def bound_to_certificate(confirmation: Any, certificate: bytes | None) -> bool:
    """Whether ``x5t#S256`` of a token's ``cnf`` is the hash of this certificate, in DER (RFC 8705 section 3.1)."""
    return certificate is not None and _same(confirmation, _hash(certificate))


def _rejected(fault: str) -> TokenRejected:
    return TokenRejected("PROOF_REJECTED", f"the DPoP proof {fault}")


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
    ends = "/" if segments and segments[-1] in (".", "..") and kept else ""
    return "/" + "/".join(kept) + ends
