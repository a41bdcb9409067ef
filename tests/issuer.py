"""An OpenID provider for tests: keys, tokens, and its documents over real HTTP on loopback."""

import base64
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from tests.http_servers import Handler, running

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


KEPT: Final = Path(__file__).with_name("rsa_keys.txt")
"""The RSA keys that most test processes need: making them takes seconds."""


@cache
def _kept_keys() -> dict[tuple[int, int], bytes]:
    blocks = re.findall(r"^(\d+) (\d+)\n(-----BEGIN.+?-----END[^\n]+)", KEPT.read_text(), re.MULTILINE | re.DOTALL)
    return {(int(index), int(bits)): pem.encode() for index, bits, pem in blocks}


@cache
def rsa_key(index: int = 0, bits: int = 2048) -> rsa.RSAPrivateKey:
    """An RSA key: one that is kept, or one that is made once in each test process."""
    pem = _kept_keys().get((index, bits))
    if pem is None:
        return rsa.generate_private_key(public_exponent=65537, key_size=bits)
    key = load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)  # which takes as long as making one
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


@cache
def ec_key(index: int = 0) -> ec.EllipticCurvePrivateKey:
    """A P-256 key, made once in each test process."""
    return ec.generate_private_key(ec.SECP256R1())


def jwk(key: PrivateKey, **members: object) -> dict[str, Any]:
    """The public JWK of a private key, with further members."""
    public: Any = key.public_key()
    kinds = ((rsa.RSAPrivateKey, RSAAlgorithm), (ec.EllipticCurvePrivateKey, ECAlgorithm))
    algorithm: Any = next((found for kind, found in kinds if isinstance(key, kind)), OKPAlgorithm)
    return {**algorithm.to_jwk(public, as_dict=True), **members}


def b64(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def segment(value: object) -> str:
    """JSON in base64url."""
    return b64(json.dumps(value).encode())


@dataclass
class Issuer:
    """A provider with one RSA key, unless told otherwise."""

    url: str = "https://idp.example"
    key: PrivateKey = field(default_factory=rsa_key)
    key_id: str = "k1"
    algorithm: str = "RS256"
    documents: dict[str, bytes] = field(default_factory=dict)
    """Further documents, or replacements, by path."""
    headers: dict[str, str] = field(default_factory=lambda: {"Cache-Control": "max-age=300"})
    requests: list[str] = field(default_factory=list)
    status: int = 200
    gate: threading.Event | None = None
    """Answers wait for it where it is set."""

    def jwks(self) -> bytes:
        """The key set."""
        return json.dumps({"keys": [jwk(self.key, kid=self.key_id, alg=self.algorithm, use="sig")]}).encode()

    def body(self, path: str) -> bytes | None:
        """The answer under each path."""
        if path in self.documents:
            return self.documents[path]
        if path == "/.well-known/openid-configuration":
            return json.dumps({"issuer": self.url, "jwks_uri": f"{self.url}/jwks.json"}).encode()
        return self.jwks() if path == "/jwks.json" else None

    def claims(self, now: float, **changes: object) -> dict[str, Any]:
        """The claims of a good token; a change to None removes one."""
        claims = {"iss": self.url, "sub": "1842", "aud": "app", "iat": int(now), "exp": int(now) + 300, **changes}
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, now: float, headers: Mapping[str, object] | None = None, **changes: object) -> str:
        """A signed token; a header of None removes one."""
        given: dict[str, Any] = {"kid": self.key_id, **(headers or {})}
        given = {name: value for name, value in given.items() if value is not None}
        return jwt.encode(self.claims(now, **changes), self.key, algorithm=self.algorithm, headers=given)


@contextmanager
def serving(issuer: Issuer) -> Iterator[Issuer]:
    """Serve the issuer's documents over HTTP on loopback, and give it that URL."""

    class Answering(Handler):
        def do_GET(self) -> None:
            issuer.requests.append(self.path)
            if issuer.gate is not None:
                issuer.gate.wait(20)
            body = issuer.body(self.path)
            self.give(404 if body is None else issuer.status, body or b"", issuer.headers)

    with running(Answering) as port:
        issuer.url = f"http://127.0.0.1:{port}"
        yield issuer
