"""Subject tokens that both ways have to agree about: those that are refused, and odd ones that are taken."""

import base64
import json
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from tests.both_ways import BothWays
from tests.issuer import Issuer, b64, rsa_key, segment

LATEST: Final = 253402300799
SKEW: Final = 30  # seconds, of the provider


def raw_token(issuer: Issuer, payload: bytes, **headers: object) -> str:
    """A token whose payload is these bytes, signed by the provider."""
    return jwt.api_jws.encode(payload, issuer.key, algorithm="RS256", headers={"kid": issuer.key_id, **headers})


def signed_as(issuer: Issuer, algorithm: str, payload: bytes) -> str:
    """A token with a signature of RS256 that its header calls one of another algorithm."""
    unsigned = f"{segment({'alg': algorithm, 'kid': issuer.key_id})}.{b64(payload)}"
    assert isinstance(issuer.key, rsa.RSAPrivateKey)
    return f"{unsigned}.{b64(issuer.key.sign(unsigned.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def bad_times(now: int) -> dict[str, dict[str, Any]]:
    return {
        "expired": {"iat": now - 400, "exp": now - SKEW},
        "beyond all times": {"exp": LATEST + 1},
        "exp before the epoch": {"exp": -1},
        "exp is a text": {"exp": str(now + 300)},
        "exp is a truth": {"exp": True},
        "no exp": {"exp": None},
        "no iat": {"iat": None},
        "iat ahead": {"iat": now + SKEW + 1},
        "iat before the epoch": {"iat": -1},
        "nbf ahead": {"nbf": now + SKEW + 1},
        "nbf before the epoch": {"nbf": -1},
        "nbf is a text": {"nbf": "0"},
        "nbf is a truth": {"nbf": True},
    }


def bad_claims(now: int) -> dict[str, dict[str, Any]]:
    return bad_times(now) | {
        "another audience": {"aud": "other"},
        "no audience": {"aud": None},
        "an empty audience": {"aud": ""},
        "an empty list": {"aud": []},
        "a list of others": {"aud": ["other"]},
        "several without azp": {"aud": ["app", "other"]},
        "several and another azp": {"aud": ["app", "other"], "azp": "other"},
        "an audience that is a number": {"aud": 5},
        "no subject": {"sub": None},
        "an empty subject": {"sub": ""},
        "a long subject": {"sub": "s" * 256},
        "a subject that is a number": {"sub": 1842},
        "another subject": {"sub": "1843"},
        "an empty jti": {"jti": ""},
        "a jti that is a number": {"jti": 5},
        "a logout token": {"events": {}},
        "a bound token": {"cnf": {"jkt": "x" * 43}},
        "a delegated token": {"act": {"sub": "x"}},
        "another issuer": {"iss": "https://other.example"},
    }


def bad_forms(ways: BothWays) -> dict[str, str]:
    issuer, good = ways.rig.issuer, ways.token()
    header, payload, signature = good.split(".")
    claims = json.dumps(issuer.claims(ways.rig.clock.now()), separators=(",", ":")).encode()
    forged = base64.urlsafe_b64decode(payload + "==").replace(b"ada@", b"eve@")
    last = signature[:-1] + chr(ord(signature[-1]) + 1)
    return {
        "tampered": f"{header}.{b64(forged)}.{signature}",
        "signed by another key": Issuer(url=issuer.url, key=rsa_key(1)).token(ways.rig.clock.now()),
        "without a signature": f"{header}.{payload}.",
        "unsigned": f"{segment({'alg': 'none', 'kid': 'k1'})}.{payload}.",
        "a signature with stray bits": f"{header}.{payload}.{last}",
        "a signature that is padded": f"{good}==",
        "four parts": f"{good}.AAAA",
        "two parts": f"{header}.{payload}",
        "no header": f".{payload}.{signature}",
        "no payload": f"{header}..{signature}",
        "a space": f"{good} ",
        "a member twice": raw_token(issuer, claims[:-1] + b',"sub":"1842"}'),
        "a list": raw_token(issuer, b"[" + claims + b"]"),
        "no JSON": raw_token(issuer, claims + b"}"),
        "a number without end": raw_token(issuer, claims[:-1] + b',"x":1e999}'),
        "deep": raw_token(issuer, claims[:-1] + b',"x":' + b"[" * 17 + b"]" * 17 + b"}"),
        "another algorithm than the key's": jwt.encode(
            issuer.claims(ways.rig.clock.now()), issuer.key, algorithm="RS384", headers={"kid": "k1"}
        ),
        "another algorithm's name": signed_as(issuer, "ES256", claims),
        "an unknown key": issuer.token(ways.rig.clock.now(), headers={"kid": "k9"}),
        "another kind": issuer.token(ways.rig.clock.now(), headers={"typ": "at+jwt"}),
        "a critical header": issuer.token(ways.rig.clock.now(), headers={"crit": ["x"]}),
        "long": ways.token(x="x" * 17_000),
    }


async def tokens_that_are_refused(ways: BothWays) -> None:
    """No token that the full way refuses is recognised, with any fault."""
    issuer, now = ways.rig.issuer, int(ways.rig.clock.now())
    tokens = {name: issuer.token(now, **changes) for name, changes in bad_claims(now).items()}
    for name, member in (("nbf is null", {"nbf": None}), ("an issuer that is a number", {"iss": 5})):
        tokens[name] = raw_token(issuer, json.dumps(issuer.claims(now) | member).encode())
    forms = bad_forms(ways)
    if not ways.exact:
        del forms["a space"]
    for name, token in (tokens | forms).items():
        outcome = await ways.check(ways.request(token), recognised=False)
        assert outcome.answer is None, name


async def tokens_that_are_taken(ways: BothWays) -> None:
    """Tokens at the edges, and odd ones: what is recognised is what the full way takes."""
    issuer, now = ways.rig.issuer, int(ways.rig.clock.now())
    claims = issuer.claims(now, email="ada@example.com")
    for changes in (
        {"iat": now - 400, "exp": now - SKEW + 1}, {"iat": now + SKEW}, {"nbf": now + SKEW}, {"exp": LATEST},
        {"aud": ["app"]}, {"aud": ["app", "other"], "azp": "app"}, {"jti": "j"}, {"nbf": 0}, {"iat": now - 0.5},
        {"exp": now + 299.5}, {"x": {"y": [1, 2.5, None, True]}}, {"name": "Ada \u00e4 \U0001f600"}, {"x": 2**70},
        {"email": {"of": ["several"]}}, {"email": ""}, {"email": 2**70}, {"may_act": {"sub": "x"}},
    ):  # fmt: skip
        outcome = await ways.check(ways.request(issuer.token(now, **(claims | changes))))
        assert outcome.answer is not None, changes
    for text in (json.dumps(claims), json.dumps(claims, indent=1), json.dumps(claims | {"jti": None, "email": None})):
        outcome = await ways.check(ways.request(raw_token(issuer, text.encode())))
        assert outcome.answer is not None, text
    for _ in range(2):  # the second time its signature is remembered
        await ways.check(ways.request(ways.token(jti="again")), recognised=True)


async def a_signature_that_was_good_for_another_token(ways: BothWays) -> None:
    """A signature is remembered for one token: a copy that differs in its signature alone is checked."""
    good = ways.token(jti="remembered")
    await ways.check(ways.request(good), recognised=True)
    unsigned, _, signature = good.rpartition(".")
    other = "B" if signature[0] == "A" else "A"
    outcome = await ways.check(ways.request(f"{unsigned}.{other}{signature[1:]}"), recognised=False)
    assert outcome.answer is None
