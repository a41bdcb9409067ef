"""Transaction tokens that the service would not mint, signed by a key that the clients' view of the key set has too."""

import json
import time
from collections.abc import Mapping
from typing import Any, Final

import jwt
from tests.issuer import ec_key, jwk

TEST_KEY: Final = ec_key(7)
TEST_KEY_ID: Final = "test"
DOMAIN: Final = "trust-domain.example"


def with_test_key(key_set: bytes) -> bytes:
    """Return a key set with the test's own key."""
    keys = json.loads(key_set)["keys"]
    return json.dumps({"keys": [*keys, jwk(TEST_KEY, kid=TEST_KEY_ID) | {"alg": "ES256"}]}).encode()


def transaction_token(issuer: str, header: Mapping[str, Any], changes: Mapping[str, Any]) -> str:
    """Return a transaction token with changes: times are from now, and None leaves a claim out."""
    now = int(time.time())
    claims = {
        "iss": issuer, "aud": DOMAIN, "sub": "ada", "iat": 0, "exp": 300, "txn": "t-1", "scope": "read",
        "req_wl": "web", **changes,
    }  # fmt: skip
    moved = {
        name: now + value if name in ("iat", "exp", "nbf") and isinstance(value, int) else value
        for name, value in claims.items()
        if value is not None
    }
    headers = {"kid": TEST_KEY_ID, "typ": "txntoken+jwt", **header}
    return jwt.encode(moved, TEST_KEY, algorithm="ES256", headers=headers)
