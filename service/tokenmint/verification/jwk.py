"""Public keys of providers, as JWKs (RFC 7517, RFC 7518 section 6) and in X.509 certificates."""

import base64
import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from tokenmint.base.token_errors import MalformedToken
from tokenmint.model.tokens import JsonValue
from tokenmint.verification.jws import CONTROL, MAX_KEY_ID, decode_segment
from tokenmint.verification.weak_keys import Verdicts, ec_weakness

MAX_ISSUER: Final = 512  # characters of a key's `issuer`, which is stored with it
MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

_HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}
_PKCS1: Final = padding.PKCS1v15()
_CURVES: Final[Mapping[str, tuple[ec.EllipticCurve, int, str]]] = {  # curve, bytes of a coordinate, algorithm
    "P-256": (ec.SECP256R1(), 32, "ES256"),
    "P-384": (ec.SECP384R1(), 48, "ES384"),
    "P-521": (ec.SECP521R1(), 66, "ES512"),
}
RSA_ALGORITHMS: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
ALGORITHMS: Final = RSA_ALGORITHMS | {"ES256", "ES384", "ES512", "EdDSA", "Ed25519"}
"""The JWS algorithms that can be verified: no `none`, no HMAC."""
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
VERDICTS: Final = Verdicts()
"""The results of the checks of providers' keys and of ours: each key is checked once."""


CERTIFICATE_NAMES: Final[Mapping[str, Callable[[bytes], Any]]] = {"x5t": hashlib.sha1, "x5t#S256": hashlib.sha256}
"""Parameters that name a key by its certificate, with the hash (RFC 7517 sections 4.8 and 4.9)."""
MAX_CERTIFICATE: Final = 8192  # bytes of base64


class BadKey(ValueError):
    """A key that is not used; the text gives the reason."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """One public key of a provider."""

    key_id: str | None
    public_key: PublicKey = field(repr=False)
    algorithms: frozenset[str]
    """The JWS algorithms that the key may be used with: those of its type, or its `alg` alone."""
    thumbprint: str
    """RFC 7638 SHA-256, base64url."""
    issuer: str | None = None
    """The non-standard `issuer` member of Entra ID: the issuer whose tokens the key signs."""
    certificates: frozenset[tuple[str, str]] = frozenset()
    """Thumbprints of its certificate, as (parameter, value): from its members, and of the first one in `x5c`."""

    def verify(self, algorithm: str, signing_input: bytes, signature: bytes) -> bool:
        """Return whether ``signature`` is this key's over ``signing_input``. Never raises for a bad signature."""
        key = self.public_key
        try:
            if isinstance(key, rsa.RSAPublicKey):
                digest = _HASHES[algorithm[2:]]
                scheme: padding.AsymmetricPadding = _PKCS1
                if algorithm.startswith("PS"):
                    scheme = padding.PSS(mgf=padding.MGF1(digest), salt_length=digest.digest_size)
                key.verify(signature, signing_input, scheme, digest)
            elif isinstance(key, ec.EllipticCurvePublicKey):
                size = (key.curve.key_size + 7) // 8
                if len(signature) != 2 * size:  # RFC 7518 section 3.4: raw R || S, never DER
                    return False
                r, s = int.from_bytes(signature[:size]), int.from_bytes(signature[size:])
                if r == 0 or s == 0:  # CVE-2022-21449
                    return False
                key.verify(encode_dss_signature(r, s), signing_input, ec.ECDSA(_HASHES[algorithm[2:]]))
            else:
                key.verify(signature, signing_input)
        except (InvalidSignature, ValueError):
            return False
        return True


def weakness(key: VerificationKey, verdicts: Verdicts = VERDICTS) -> str:
    """Return the weakness of ``key``, "" if none is found."""
    if isinstance(key.public_key, rsa.RSAPublicKey):
        return verdicts.of_rsa(key.thumbprint, key.public_key.public_numbers().n)
    if isinstance(key.public_key, ed25519.Ed25519PublicKey):
        return verdicts.of_ed25519(key.thumbprint, key.public_key.public_bytes_raw())
    return ec_weakness(key.public_key.public_numbers())


def is_judged_slowly(key: VerificationKey) -> bool:
    """Return whether the check of ``key`` is so slow that other work has to run during it."""
    return not isinstance(key.public_key, ec.EllipticCurvePublicKey) and not VERDICTS.known(key.thumbprint)


def read_certificate(key_id: str, pem: JsonValue) -> VerificationKey:
    """Read the public key of a certificate. Raises :class:`BadKey` if its form rules it out."""
    if not isinstance(pem, str):
        raise BadKey("not a PEM certificate")
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        public_key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise BadKey("not a PEM certificate with a key that is supported") from None
    key = _from_public_key(_key_id(key_id), public_key)
    return replace(key, certificates=_thumbprints(certificate.public_bytes(Encoding.DER)))


def parse_jwk(member: JsonValue) -> VerificationKey:
    """Read one public signature key, and check it. Raises :class:`BadKey` with the reason if it is not used."""
    key = read_jwk(member)
    reason = weakness(key)
    if reason:
        raise BadKey(reason)
    return key


def read_jwk(member: JsonValue) -> VerificationKey:
    """Read one public signature key. Raises :class:`BadKey` if its form rules it out."""
    if not isinstance(member, dict):
        raise BadKey("not a JSON object")
    member = {name: value for name, value in member.items() if value is not None}  # some write all that they know of
    if _PRIVATE & member.keys():
        raise BadKey("it has private members; its publisher has to replace it")
    if member.get("use", "sig") not in ("sig", "jwt-svid"):  # the latter is SPIFFE's
        raise BadKey("its use is not sig")
    operations = member.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise BadKey("its key_ops lack verify")
    kind = member.get("kty")
    if kind == "RSA":
        public_key: PublicKey = _rsa(member)
    elif kind == "EC":
        public_key = _ec(member)
    elif kind == "OKP":
        public_key = _okp(member)
    else:
        raise BadKey("its kty is none of RSA, EC, OKP")
    key_issuer = member.get("issuer")
    if key_issuer is not None and (not isinstance(key_issuer, str) or len(key_issuer) > MAX_ISSUER):
        raise BadKey(f"its issuer is not a string of at most {MAX_ISSUER} characters")
    key = _from_public_key(_key_id(member.get("kid")), public_key, member.get("alg"), key_issuer)
    return replace(key, certificates=_certificates(member, public_key))


def _certificates(member: Mapping[str, JsonValue], public_key: PublicKey) -> frozenset[tuple[str, str]]:
    """Return the names that a key has by its certificate. They imply no trust: only the signature counts."""
    named = {(name, member.get(name)) for name in CERTIFICATE_NAMES if isinstance(member.get(name), str)}
    found = {(name, value) for name, value in named if isinstance(value, str) and 0 < len(value) <= MAX_KEY_ID}
    chain = member.get("x5c")
    first = chain[0] if isinstance(chain, list) and chain else None
    if isinstance(first, str) and len(first) <= MAX_CERTIFICATE:
        with contextlib.suppress(ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
            der = base64.b64decode(first, validate=True)
            if x509.load_der_x509_certificate(der).public_key() == public_key:  # RFC 7517 section 4.7
                found |= _thumbprints(der)
    return frozenset(found)


def _thumbprints(der: bytes) -> frozenset[tuple[str, str]]:
    return frozenset((name, _base64url(hashed(der).digest())) for name, hashed in CERTIFICATE_NAMES.items())


def _key_id(value: JsonValue) -> str | None:
    if value is not None and (
        not isinstance(value, str) or not 0 < len(value) <= MAX_KEY_ID or CONTROL.search(value)
    ):  # fmt: skip
        raise BadKey(f"its kid is not a string of 1 to {MAX_KEY_ID} printable characters")
    return value


def _from_public_key(
    key_id: str | None, public_key: object, algorithm: JsonValue = None, issuer: str | None = None
) -> VerificationKey:
    if isinstance(public_key, rsa.RSAPublicKey):
        _check_rsa(public_key.public_numbers())
        fitting = RSA_ALGORITHMS
        numbers = public_key.public_numbers()
        members = {"e": _uint(numbers.e), "kty": "RSA", "n": _uint(numbers.n)}
    elif isinstance(public_key, ec.EllipticCurvePublicKey):
        found = [(name, *curve) for name, curve in _CURVES.items() if curve[0].name == public_key.curve.name]
        if not found:
            raise BadKey("its curve is none of P-256, P-384, P-521")
        name, _, size, only = found[0]
        fitting = frozenset({only})
        point = public_key.public_numbers()
        members = {"crv": name, "kty": "EC", "x": _fixed(point.x, size), "y": _fixed(point.y, size)}
    elif isinstance(public_key, ed25519.Ed25519PublicKey):
        fitting = frozenset({"EdDSA", "Ed25519"})
        members = {"crv": "Ed25519", "kty": "OKP", "x": _base64url(public_key.public_bytes_raw())}
    else:
        raise BadKey("its type is not supported")
    if algorithm is not None:
        if not isinstance(algorithm, str) or algorithm not in fitting:
            raise BadKey("its alg does not fit the key, or is not supported")
        # EdDSA by an Ed25519 key and Ed25519 (RFC 9864) are one algorithm.
        fitting = fitting if algorithm in ("EdDSA", "Ed25519") else frozenset({algorithm})
    canonical = json.dumps(members, sort_keys=True, separators=(",", ":")).encode()
    thumbprint = _base64url(hashlib.sha256(canonical).digest())
    return VerificationKey(key_id, public_key, fitting, thumbprint, issuer)


def _rsa(member: Mapping[str, JsonValue]) -> rsa.RSAPublicKey:
    n, e = (int.from_bytes(_octets(member, name)) for name in ("n", "e"))
    _check_rsa(rsa.RSAPublicNumbers(e, n))
    try:
        return rsa.RSAPublicNumbers(e, n).public_key()
    except ValueError:
        raise BadKey("n and e are not an RSA key") from None


def _check_rsa(numbers: rsa.RSAPublicNumbers) -> None:
    n, e = numbers.n, numbers.e
    if not MIN_RSA_BITS <= n.bit_length() <= MAX_RSA_BITS:
        raise BadKey(f"RSA with {n.bit_length()} bits; {MIN_RSA_BITS} to {MAX_RSA_BITS} are used")
    if e < 3 or e % 2 == 0 or e.bit_length() > 32:
        raise BadKey("its RSA exponent is even, 1 or huge")


def _ec(member: Mapping[str, JsonValue]) -> ec.EllipticCurvePublicKey:
    curve_name = member.get("crv")
    if not isinstance(curve_name, str) or curve_name not in _CURVES:
        raise BadKey("its curve is none of P-256, P-384, P-521")
    curve, size, _ = _CURVES[curve_name]
    x, y = (_octets(member, name) for name in ("x", "y"))
    if len(x) != size or len(y) != size:
        raise BadKey(f"its coordinates are not {size} bytes long (RFC 7518 section 6.2.1.2)")
    try:
        return ec.EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), curve).public_key()
    except ValueError:
        raise BadKey("its point is not on the curve") from None


def _okp(member: Mapping[str, JsonValue]) -> ed25519.Ed25519PublicKey:
    if member.get("crv") != "Ed25519":
        raise BadKey("its curve is not Ed25519")
    try:
        return ed25519.Ed25519PublicKey.from_public_bytes(_octets(member, "x"))
    except ValueError:
        raise BadKey("x is not an Ed25519 public key") from None


def _octets(member: Mapping[str, JsonValue], name: str) -> bytes:
    value = member.get(name)
    if not isinstance(value, str) or not value.isascii():
        raise BadKey(f"{name} is missing or not a string")
    try:
        return decode_segment(value.encode(), name)
    except MalformedToken:
        raise BadKey(f"{name} is not base64url") from None


def _uint(number: int) -> str:
    return _base64url(number.to_bytes((number.bit_length() + 7) // 8))


def _fixed(number: int, size: int) -> str:
    return _base64url(number.to_bytes(size))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
