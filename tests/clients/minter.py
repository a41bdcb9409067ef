"""An issuer whose key the runner has: it signs tokens that tokenmint never would, and clients' DPoP proofs."""

import base64
import hashlib
import json
import uuid
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from jwt.algorithms import ECAlgorithm
from tests.issuer import Issuer, PrivateKey, b64, ec_key, jwk, rsa_key

AUDIENCE: Final = "https://orders.example"
TIMES: Final = ("exp", "iat", "nbf")
NULL: Final = "$null"
"""In a claim that is changed: null. A null removes the claim."""


@cache
def _keys() -> dict[str, tuple[PrivateKey, str]]:
    """The signing keys, with their algorithms, by the names that scenarios have for them."""
    return {
        "k1": (ec_key(31), "ES256"), "ed": (ed25519.Ed25519PrivateKey.generate(), "EdDSA"),
        "rs": (rsa_key(0), "RS256"), "weak": (rsa_key(9, 1024), "RS256"), "no alg": (ec_key(32), "ES256"),
        "private": (ec_key(33), "ES256"), "twice": (ec_key(34), "ES256"), "late": (ec_key(35), "ES256"),
        "other": (ec_key(36), "ES256"), "beyond": (ec_key(37), "ES256"),
    }  # fmt: skip


def key_set() -> bytes:
    """The published set: keys that verifiers have to leave out are among them, and more than they keep."""

    def public(name: str, **members: object) -> dict[str, Any]:
        key, algorithm = _keys()[name]
        return jwk(key, **{"kid": name, "alg": algorithm, "use": "sig", **members})

    no_alg = {name: value for name, value in public("no alg").items() if name != "alg"}
    private: dict[str, Any] = ECAlgorithm.to_jwk(ec_key(33), as_dict=True)
    unusable = [public("other", kid=f"unusable-{number}", use="enc") for number in range(100)]
    usable = [public("other", kid=f"usable-{number}") for number in range(100)]
    members = [
        public("k1"), public("ed"), public("rs"), public("weak"), no_alg,
        {**private, "kid": "private", "alg": "ES256"}, public("twice"), public("other", kid="twice"),
        "no object", {"kty": "oct", "kid": "oct", "alg": "HS256", "k": "c2VjcmV0"}, *unusable, public("late"),
        *usable, public("beyond"),
    ]  # fmt: skip
    return json.dumps({"keys": members}).encode()


def issuer() -> Issuer:
    """The issuer, to be served."""
    return Issuer(key=ec_key(31), algorithm="ES256", documents={"/jwks.json": key_set()})


def minted(url: str, spec: Mapping[str, Any], now: float) -> str:
    """Return a token.

    Args:
        url: the issuer.
        spec: claims that differ from those of a good token; times are from now. `key` and `headers` are the signer's.
        now: Unix seconds.
    """
    changes = {name: value for name, value in spec.items() if name not in ("key", "headers", "raw")}
    key, algorithm = _keys()[spec.get("key", "k1")]
    good = {"sub": "ada", "aud": AUDIENCE, "iat": 0, "nbf": 0, "exp": 600, "scope": "read write", "client_id": "web"}
    claims = {"iss": url, "jti": str(uuid.uuid4()), **good, **changes}
    claims = {name: _value(name, value, now) for name, value in claims.items() if value is not None}
    headers = {"kid": spec.get("key", "k1"), "typ": "at+jwt", "alg": algorithm, **spec.get("headers", {})}
    payload = spec["raw"] if "raw" in spec else json.dumps(claims)
    return signed({name: value for name, value in headers.items() if value is not None}, payload, key, algorithm)


def _value(name: str, value: Any, now: float) -> Any:
    if name in TIMES and isinstance(value, int) and not isinstance(value, bool):
        return int(now) + value
    if name == "cnf" and isinstance(value, dict) and "jkt" in value:
        return {**value, "jkt": thumbprint(value["jkt"])}
    return None if value == NULL else value


def signed(headers: Mapping[str, Any], payload: str, key: PrivateKey, algorithm: str) -> str:
    """Return a compact JWS with exactly these headers."""
    text = f"{b64(json.dumps(headers).encode())}.{b64(payload.encode())}"
    made = jwt.get_algorithm_by_name(algorithm)
    return f"{text}.{b64(made.sign(text.encode(), key))}"


def proof_key(name: str) -> ec.EllipticCurvePrivateKey:
    """A client's key."""
    return ec_key(40 + ord(name[0]))


def thumbprint(name: Any) -> Any:
    """The RFC 7638 thumbprint of a client's key, or ``name`` where it is no client's name."""
    if not isinstance(name, str) or len(name) != 1:
        return name
    public = {member: jwk(proof_key(name))[member] for member in ("crv", "kty", "x", "y")}
    return digest(json.dumps(public, sort_keys=True, separators=(",", ":")).encode())


def proof(spec: Mapping[str, Any], url: str, token: str, now: float) -> str:
    """Return a DPoP proof.

    Args:
        spec: claims that differ from those of a good proof; `iat` is from now. `key` and `headers` are the signer's.
        url: of the request.
        token: what comes with it.
        now: Unix seconds.
    """
    key = proof_key(spec.get("key", "a"))
    changes = {name: value for name, value in spec.items() if name not in ("key", "headers")}
    good = {"htm": "GET", "htu": url, "iat": 0, "jti": str(uuid.uuid4()), "ath": digest(token.encode())}
    claims = {**good, **changes}
    claims = {name: _value(name, value, now) for name, value in claims.items() if value is not None}
    headers = {"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk(key), **spec.get("headers", {})}
    if headers["jwk"] == "private":
        headers["jwk"] = ECAlgorithm.to_jwk(key, as_dict=True)
    return signed(
        {name: value for name, value in headers.items() if value is not None}, json.dumps(claims), key, "ES256"
    )


def digest(content: bytes) -> str:
    """Return a SHA-256 in base64url."""
    return b64(hashlib.sha256(content).digest())


def tampered(compact: str) -> str:
    """Return a JWS whose signature somebody changed."""
    head, _, signature = compact.rpartition(".")
    content = bytearray(base64.urlsafe_b64decode(signature + "=="))
    content[5] ^= 1
    return f"{head}.{b64(bytes(content))}"
