"""Tokens that are bound to a key of this client, and how the hooks present tokens (RFC 9449)."""

import base64
import hashlib
import json
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from tokenmint_client.types import ExchangeOptions, Token

MOST_NONCES: Final = 100  # services whose nonce is kept
MAX_NONCE: Final = 1024  # characters
_AGAIN: Final = 'error="use_dpop_nonce"'


class DpopKey:
    """A key of this client. Tokens that a hook gets with it are bound to it: without the key they are of no use.

    Args:
        private_key: for P-256, e.g. one that replicas share with their tokens. Default: a new one.
        clock: returns Unix seconds.

    Raises:
        ValueError: it is a key of another curve.
    """

    def __init__(
        self, private_key: ec.EllipticCurvePrivateKey | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1()) if private_key is None else private_key
        if self._key.curve.name != ec.SECP256R1.name:
            raise ValueError("private_key: expected one for P-256")
        public: dict[str, Any] = ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        self._jwk = {name: public[name] for name in ("crv", "kty", "x", "y")}
        self._clock = clock

    @property
    def thumbprint(self) -> str:
        """The SHA-256 of the public key (RFC 7638): the ``dpop_jkt`` of an exchange."""
        return _digest(json.dumps(self._jwk, sort_keys=True, separators=(",", ":")).encode())

    def proof(self, method: str, url: str, token: str, nonce: str = "") -> str:
        """Return a proof for one request (RFC 9449 section 4.2).

        Args:
            method: of the request.
            url: of the request. Query and fragment are left out.
            token: the token of the request.
            nonce: the latest ``DPoP-Nonce`` of the service, or ``""``.
        """
        claims = {
            "jti": str(uuid.uuid4()), "htm": method, "htu": url.partition("#")[0].partition("?")[0],
            "iat": int(self._clock()), "ath": _digest(token.encode()),
        }  # fmt: skip
        headers = {"typ": "dpop+jwt", "jwk": self._jwk}
        return jwt.encode(claims | ({"nonce": nonce} if nonce else {}), self._key, algorithm="ES256", headers=headers)


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


def bearer(token: Token, audience: str) -> str:
    """Return the ``authorization`` of a call that can't carry a proof.

    Raises:
        ValueError: the token is not presented as a bearer token.
    """
    if token.token_type.lower() not in ("", "bearer"):
        raise ValueError(f"a token for {audience} is presented as {token.token_type}, not as Bearer")
    return f"Bearer {token.value}"


class Presenter:
    """Writes the headers that present tokens over HTTP: the type of a token decides the scheme. For threads."""

    def __init__(self, audience: str, key: DpopKey | None) -> None:
        self._audience = audience
        self._key = key
        self._lock = threading.Lock()
        self._nonces: dict[str, str] = {}

    @property
    def options(self) -> ExchangeOptions:
        """The fields by which an exchange gets a token for the key."""
        return {} if self._key is None else {"dpop_jkt": self._key.thumbprint}

    def headers(self, token: Token, method: str, url: str) -> dict[str, str]:
        """Return the headers of one request (RFC 9449 section 7.1).

        Raises:
            ValueError: the token can't be presented: it is of another type, or bound to a key that is not here.
        """
        if self._key is None or token.token_type.lower() != "dpop":
            return {"Authorization": bearer(token, self._audience)}
        nonce = self._nonces.get(origin_of(url), "")
        return {"Authorization": f"DPoP {token.value}", "DPoP": self._key.proof(method, url, token.value, nonce)}

    def has_to_repeat(self, url: str, status: int, challenge: str, nonce: str) -> bool:
        """Note the nonce of an answer. Return whether its request failed for want of it (RFC 9449 section 9)."""
        if self._key is None or not 0 < len(nonce) <= MAX_NONCE:
            return False
        with self._lock:
            origin = origin_of(url)
            is_new = self._nonces.pop(origin, "") != nonce
            self._nonces[origin] = nonce
            if len(self._nonces) > MOST_NONCES:
                del self._nonces[next(iter(self._nonces))]
        return is_new and status == 401 and _AGAIN in challenge


def origin_of(url: str) -> str:
    """Return scheme, host and port."""
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    return f"{parts.scheme}://{parts.hostname}:{port}"
