"""Signing keys in this process's memory; the ring holds them sealed."""

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature

from tokenmint.base.errors import CorruptRecord
from tokenmint.keys.sealing import Sealer
from tokenmint.keys.signers.types import NewKey
from tokenmint.keys.types import SigningKey

NAME: Final = "local"
RSA_BITS: Final = 2048
_SHA256: Final = hashes.SHA256()
_ES256: Final = ec.ECDSA(Prehashed(_SHA256))
_PKCS1: Final = padding.PKCS1v15()
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class LocalSigner:
    """A private key in memory."""

    key_id: str
    algorithm: str
    _key: PrivateKey = field(repr=False)
    at_once: bool = field(init=False, repr=False, compare=False)
    """Whether the event loop may sign with it. RSA takes too long; 35 µs are less than a round trip to a thread."""
    _sign: Callable[[bytes], bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "at_once", not isinstance(self._key, rsa.RSAPrivateKey))
        object.__setattr__(self, "_sign", _signing_with(self._key))  # once, and not for each signature

    async def sign(self, signing_input: bytes) -> bytes:
        """Return the JWS signature of ``signing_input`` (RFC 7518 section 3, RFC 8037 section 3.1)."""
        if self.at_once:
            return self._sign(signing_input)
        return await asyncio.to_thread(self._sign, signing_input)

    def sign_now(self, signing_input: bytes) -> bytes:
        """Return the signature as :meth:`sign` does. The caller waits in its own thread."""
        return self._sign(signing_input)


def _signing_with(key: PrivateKey) -> Callable[[bytes], bytes]:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        # hashlib's digest takes 1 µs less of a signature than the one that the library makes by itself.
        return lambda signing_input: _raw_signature_of_ours(key.sign(hashlib.sha256(signing_input).digest(), _ES256))
    if isinstance(key, rsa.RSAPrivateKey):
        return lambda signing_input: key.sign(signing_input, _PKCS1, _SHA256)
    return key.sign


class LocalSource:
    """Makes keys in this process and seals them for the ring.

    Args:
        sealer: seals them.
        region: the name of this region, which begins the ids of its keys; "": none.
    """

    name = NAME

    def __init__(self, sealer: Sealer, region: str = "") -> None:
        self._sealer = sealer
        self._region = region

    async def generate(self, algorithm: str) -> NewKey:
        """Generate a key and seal it."""
        private = await asyncio.to_thread(generate, algorithm)
        jwk = public_jwk(private)
        return NewKey(jwk, sealed=self._sealer.seal(key_id_of(jwk, self._region), to_bytes(private)))

    async def open(self, key: SigningKey) -> LocalSigner:
        """Open the seal. Raises ``ConfigurationError`` (another key-encryption key) and ``CorruptRecord``."""
        try:
            private = from_bytes(self._sealer.open(key.key_id, key.sealed or ""))
        except ValueError:
            raise CorruptRecord(detail=f"the private half of key {key.key_id} is not a private key") from None
        if thumbprint(public_jwk(private)) != parts_of(key.key_id)[1]:
            raise CorruptRecord(detail=f"the private half of key {key.key_id} belongs to another key")
        return LocalSigner(key.key_id, key.algorithm, private)

    async def destroy(self, key_ref: str) -> None:
        """Do nothing: the only copy is in the ring, and the change that ends the key removes it."""


def generate(algorithm: str) -> PrivateKey:
    """Return a new private key for ES256, RS256 or EdDSA (Ed25519). RSA takes some 100 ms."""
    match algorithm:
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "RS256":
            return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()
    raise ValueError(f"no signer for {algorithm!r}")


def to_bytes(key: PrivateKey) -> bytes:
    """Return PKCS #8 in DER, for sealing."""
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def from_bytes(data: bytes) -> PrivateKey:
    """Parse the output of :func:`to_bytes`. Raises ``ValueError`` for anything else."""
    # The seal authenticates these bytes. Checking the primes again would take longer than signing.
    key = serialization.load_der_private_key(data, None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
        raise ValueError("not a signing key of ours")  # noqa: TRY004  # wrong content, not a wrong type
    return key


def public_jwk(key: PrivateKey | PublicKey) -> dict[str, str]:
    """Return the public members (RFC 7518 section 6, RFC 8037 section 2)."""
    public = key.public_key() if isinstance(key, PrivateKey) else key
    if isinstance(public, ec.EllipticCurvePublicKey):
        point = public.public_numbers()
        return {
            "crv": "P-256",
            "kty": "EC",
            "x": _base64url(point.x.to_bytes(32)),
            "y": _base64url(point.y.to_bytes(32)),
        }
    if isinstance(public, ed25519.Ed25519PublicKey):
        return {"crv": "Ed25519", "kty": "OKP", "x": _base64url(public.public_bytes_raw())}
    numbers = public.public_numbers()
    return {"e": _uint(numbers.e), "kty": "RSA", "n": _uint(numbers.n)}


def raw_signature(der: bytes) -> bytes:
    """Convert a P-256 signature from DER to the form of JWS: R and S side by side (RFC 7518 section 3.4)."""
    r, s = decode_dss_signature(der)
    return r.to_bytes(32) + s.to_bytes(32)


def _raw_signature_of_ours(der: bytes) -> bytes:
    """Convert a P-256 signature that this process made as :func:`raw_signature` does, which takes 1.1 µs longer.

    Both integers have at most 32 bytes, or a zero before these, so that all lengths are single bytes.
    """
    end = 4 + der[3]
    return der[4:end][-32:].rjust(32, b"\0") + der[end + 2 :][-32:].rjust(32, b"\0")


def thumbprint(jwk: Mapping[str, str]) -> str:
    """Return the SHA-256 thumbprint of the required members (RFC 7638 section 3)."""
    canonical = json.dumps(dict(jwk), sort_keys=True, separators=(",", ":")).encode()
    return _base64url(hashlib.sha256(canonical).digest())


def key_id_of(jwk: Mapping[str, str], region: str) -> str:
    """Return the `kid` of a key of ours: its thumbprint, after the region's name and a dot if there are regions.

    So no region has a key id of another one.
    """
    return f"{region}.{thumbprint(jwk)}" if region else thumbprint(jwk)


def parts_of(key_id: str) -> tuple[str, str]:
    """Return the region ("": none) and the thumbprint in a `kid` of :func:`key_id_of`. Neither has a dot."""
    region, _, print_of_key = key_id.rpartition(".")
    return region, print_of_key


def _uint(number: int) -> str:
    return _base64url(number.to_bytes((number.bit_length() + 7) // 8))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
