"""A region's identity: the private key that signs its documents, and the pinned public keys of the others.

These keys sign no tokens. Every signed text is a compact JWS with a `typ` of its own, so none passes for another one.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from tokenmint.base.encoding import encode_segment
from tokenmint.base.errors import ConfigurationError
from tokenmint.base.token_errors import MalformedToken
from tokenmint.keys.signers.local import LocalSigner, public_jwk, thumbprint
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import JsonValue
from tokenmint.verification.jwk import VerificationKey
from tokenmint.verification.jws import parse_compact

DOCUMENT: Final = "tokenmint-region+jwt"
"""The `typ` of a region's document."""
REQUEST: Final = "tokenmint-region-request+jwt"
"""The `typ` of a request for one."""
PROFILES: Final = "tokenmint-region-profiles+jwt"
"""The `typ` of a page of a region's profiles."""
GIVEN_UP: Final = "tokenmint-region-given-up+jwt"
"""The `typ` of a statement that a region was given up, which the authority signs."""
PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class RegionRefused(Exception):
    """A region's document, request or statement is not accepted; the text, made by us, gives the reason."""


class Identity:
    """The private key of a region, or of the authority."""

    def __init__(self, key: PrivateKey) -> None:
        jwk = public_jwk(key)
        self.public_jwk = jwk | {"kid": thumbprint(jwk), "use": "sig"}
        self._algorithm = "EdDSA" if isinstance(key, ed25519.Ed25519PrivateKey) else "ES256"
        self._signer = LocalSigner(self.public_jwk["kid"], self._algorithm, key)

    def sign(self, typ: str, claims: Mapping[str, Any]) -> str:
        """Return a compact JWS with this `typ`."""
        header = {"alg": self._algorithm, "kid": self._signer.key_id, "typ": typ}
        signed = encode_segment(_json(header)) + b"." + encode_segment(_json(claims))
        return (signed + b"." + encode_segment(self._signer.sign_now(signed))).decode()


def read_identity(setting: str, contents: Sequence[bytes]) -> Identity:
    """Read a private key of P-256 or Ed25519 in PEM. Raises ``ConfigurationError`` that begins with the setting."""
    try:
        key = serialization.load_pem_private_key(contents[0], None)
    except (ValueError, TypeError):
        raise ConfigurationError(f"{setting}: is not a private key in PEM without a password") from None
    if isinstance(key, ed25519.Ed25519PrivateKey) or (
        isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1)
    ):
        return Identity(key)
    raise ConfigurationError(f"{setting}: expected a key of P-256 or Ed25519: `tokenmint regions new-key` makes one")


def proved(text: bytes, typ: str, keys: Iterable[VerificationKey], most: int) -> Mapping[str, JsonValue]:
    """Return the claims of a compact JWS with this `typ` that one of ``keys`` signed. Raises :class:`RegionRefused`."""
    try:
        parsed = parse_compact(Secret(text), most)
    except MalformedToken as error:
        raise RegionRefused(f"it is not a signed document: {error.detail or error.message}") from None
    if parsed.header.get("typ") != typ:
        raise RegionRefused(f"it has another typ than {typ}")
    for key in keys:
        if parsed.algorithm in key.algorithms & {"ES256", "EdDSA"} and (
            key.verify(parsed.algorithm, parsed.signing_input, parsed.signature)
        ):
            return parsed.claims
    raise RegionRefused("none of the pinned keys has signed it")


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
