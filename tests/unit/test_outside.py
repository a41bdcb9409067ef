"""The stand-ins for services outside refuse everything that is beyond what those document."""

import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.guide_settings import OUTSIDE
from tests.guides import GUIDES, Walk
from tests.issuer import Issuer, ec_key, jwk, rsa_key
from tests.outside import ISSUER, Outside, Refused, signed_claims

from tokenmint.config.relying_parties import entry, names

RSA, EC = rsa_key(3), ec_key(3)
KEYS: dict[str, Any] = {
    "r": jwk(RSA, kid="r") | {"alg": "RS256", "use": "sig"}, "e": jwk(EC, kid="e") | {"alg": "ES256", "use": "sig"},
}  # fmt: skip


def token(kid: str = "r", algorithm: str = "RS256", **changes: Any) -> str:
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "sub": "deployer",
        "aud": "a",
        "iat": now,
        "nbf": now,
        "exp": now + 600,
        "jti": "1",
    } | changes
    given = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(given, EC if algorithm == "ES256" else RSA, algorithm=algorithm, headers={"kid": kid})


@pytest.mark.parametrize("party", names())
def test_the_usual_token_is_accepted(party: str) -> None:
    assert signed_claims(token(), entry(party), KEYS)["sub"] == "deployer"


NOW = int(time.time())
BAD: list[tuple[dict[str, Any], str]] = [
    ({"kid": "unknown"}, "unknown key"), ({"kid": "e"}, "a key for something else"),
    ({"exp": NOW - 1000, "iat": NOW - 2000}, "its time"), ({"iat": NOW + 1000, "exp": NOW + 2000}, "its time"),
    ({"exp": NOW + 3 * 86400}, "lives too long"), ({"aud": ["a", "b"]}, "several audiences"),
    ({"sub": None}, "missing"), ({"iss": None}, "missing"), ({"aud": None}, "missing"), ({"sub": ""}, "subject"),
    ({"sub": "x" * 3000}, "subject"), ({"filler": "x" * 20000}, "too long"),
]  # fmt: skip


@pytest.mark.parametrize("party", names())
@pytest.mark.parametrize(("changes", "why"), BAD)
def test_what_none_of_them_accepts(party: str, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(Refused, match=why):
        signed_claims(token(**changes), entry(party), KEYS)


@pytest.mark.parametrize(
    ("party", "changes"),
    [
        ("azure", {"kid": "e", "algorithm": "ES256"}), ("anthropic", {"kid": "e", "algorithm": "ES256"}),
        ("openai", {"kid": "e", "algorithm": "ES256"}), ("gcp", {"sub": "x" * 128}), ("gcp", {"sub": "ü" * 64}),
        ("aws", {"sub": "x" * 256}), ("aws", {"sub": "short"}), ("azure", {"sub": "x" * 601}),
        ("anthropic", {"exp": NOW + 7200}),
        ("aws", {"iat": None}), ("gcp", {"iat": None}), ("openai", {"iat": None}),
    ],
)  # fmt: skip
def test_what_one_of_them_does_not_accept(party: str, changes: dict[str, Any]) -> None:
    with pytest.raises((Refused, KeyError)):
        signed_claims(token(**changes), entry(party), KEYS)


def test_a_changed_token_and_other_algorithms() -> None:
    text, edwards = token(), jwt.encode({"sub": "x"}, Ed25519PrivateKey.generate(), algorithm="EdDSA")
    for bad in (text[:-8] + "AAAAAAAA", text.replace(".", "", 1), "x", edwards):
        with pytest.raises(Refused):
            signed_claims(bad, entry("aws"), KEYS)


@pytest.mark.parametrize(
    ("key", "value"),
    [("tokens.example.com:sub", "other"), ("tokens.example.com:aud", "other"), ("other.example.com:sub", "deployer")],
)
def test_aws_compares_every_condition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: str) -> None:
    outside = Outside(Walk(GUIDES / "aws.md", tmp_path, Issuer(), OUTSIDE["aws"]))
    monkeypatch.setattr(outside, "verified", lambda *_: {"sub": "deployer", "aud": "sts.amazonaws.com"})
    [trust] = [block.text for block in outside.walk.blocks if block.text.startswith("cat > trust.json")]
    policy = json.loads("\n".join(trust.splitlines()[1:-1]))
    policy["Statement"][0]["Condition"]["StringEquals"][key] = value
    (tmp_path / "trust.json").write_text(json.dumps(policy))
    (tmp_path / "token.txt").write_text("x")
    outside.aws(["iam", "create-open-id-connect-provider", "--url", ISSUER, "--client-id-list", "sts.amazonaws.com"])
    outside.aws(["iam", "create-role", "--role-name", "deployer", "--assume-role-policy-document", "file://trust.json"])
    role = "arn:aws:iam::123456789012:role/deployer"
    assumed = ["--role-arn", role, "--role-session-name", "x", "--web-identity-token", "file://token.txt"]
    with pytest.raises(Refused):
        outside.aws(["sts", "assume-role-with-web-identity", *assumed])
