"""Test vectors from outside: C2SP/wycheproof and JSONTestSuite, in the folder that TOKENMINT_VECTORS names.

`make test-vectors` prints what each file came to.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tokenmint.base.token_errors import MalformedToken
from tokenmint.verification.jwk import BadKey, VerificationKey, parse_jwk, read_jwk
from tokenmint.verification.jws import parse_object, split_compact


def load(vectors: Path, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((vectors / "wycheproof" / f"{name}.json").read_text())
    return document


def overrides(vectors: Path, name: str) -> dict[int, str]:
    """The folder's verdict on vectors whose upstream verdict is a known defect: drop, reject or either."""
    file = vectors / "wycheproof" / "EXCLUSIONS.json"
    texts = json.loads(file.read_text()).get(name, {}) if file.exists() else {}
    return {int(number): text.partition(":")[0].split()[-1].lower() for number, text in texts.items()}


def report(name: str, counts: Counter[str]) -> None:
    print(f"{name:45} " + "  ".join(f"{key} {counts[key]}" for key in sorted(counts)))


def keys_of(group: dict[str, Any]) -> list[VerificationKey]:
    """The usable keys of a group: of its public half, or what of it is private and has to be refused."""
    document: dict[str, Any] = group["public"] if "public" in group else group["private"]
    members = document.get("keys", [document])
    keys = []
    for member in members:
        try:
            keys.append(parse_jwk(member))
        except BadKey:
            continue
    return keys


def accepts(jws: object, keys: list[VerificationKey]) -> bool:
    """Verify by the service's own parts: parsing, choice of the key, algorithm of the key, signature."""
    if not isinstance(jws, str):
        return False  # the JSON serialisation
    try:
        token = split_compact(jws.encode())
    except MalformedToken:
        return False
    named = [key for key in keys if key.key_id == token.key_id] if token.key_id else keys
    if len(named) != 1 and token.key_id is None:
        return False
    return any(
        token.algorithm in key.algorithms and key.verify(token.algorithm, token.signing_input, token.signature)
        for key in named
    )


def supported(group: dict[str, Any]) -> bool:
    """Whether the group has a public key of a kind that is accepted at all: HMAC is not."""
    return bool(keys_of(group))


@pytest.mark.parametrize("name", ["json_web_signature_test", "json_web_crypto_test", "json_web_key_test"])
def test_wycheproof_json_web_signatures(vectors: Path, name: str) -> None:
    counts: Counter[str] = Counter()
    wrong = []
    special = overrides(vectors, name)
    for group in load(vectors, name)["testGroups"]:
        keys = keys_of(group)
        for test in group["tests"]:
            verdict = special.get(test["tcId"], test["result"])
            if "jws" not in test or verdict == "drop":
                counts["not scored"] += 1
                continue
            accepted = accepts(test["jws"], keys)
            if verdict in ("valid", "invalid", "reject") and not (verdict == "valid" and not supported(group)):
                counts[f"{'valid' if verdict == 'valid' else 'invalid'} {'accepted' if accepted else 'refused'}"] += 1
                if accepted != (verdict == "valid"):
                    wrong.append((test["tcId"], test["comment"], verdict))
            else:
                counts["either, or HMAC"] += 1
                assert not (accepted and not supported(group)), test
    report(name, counts)
    assert not wrong
    assert counts["invalid refused"] > (300 if name == "json_web_signature_test" else 10)


def test_wycheproof_bad_keys(vectors: Path) -> None:
    """A group whose only test is invalid because of its key: the key itself has to be refused."""
    refused = bad = 0
    accepted = []
    for group in load(vectors, "json_web_key_test")["testGroups"]:
        for test in group["tests"]:
            if test["result"] != "invalid":
                continue
            bad += 1
            if accepts(test.get("jws"), keys_of(group)):
                accepted.append(test["tcId"])
            else:
                refused += 1
    report("json_web_key_test, bad keys", Counter({"refused": refused, "of": bad}))
    assert refused >= 20, accepted


RAW = {
    "ecdsa_secp256r1_sha256_p1363_test": "ES256",
    "ecdsa_secp384r1_sha384_p1363_test": "ES384",
    "ecdsa_secp521r1_sha512_p1363_test": "ES512",
    "ed25519_test": "EdDSA",
    "rsa_signature_2048_sha256_test": "RS256",
    "rsa_signature_3072_sha256_test": "RS256",
    "rsa_pss_2048_sha256_mgf1_32_test": "PS256",
}


@pytest.mark.parametrize("name", sorted(RAW))
def test_wycheproof_raw_signatures(vectors: Path, name: str) -> None:
    algorithm = RAW[name]
    counts: Counter[str] = Counter()
    wrong = []
    for group in load(vectors, name)["testGroups"]:
        jwk = group.get("publicKeyJwk", group.get("keyJwk"))
        if jwk is None:  # its point can't be written as a JWK
            counts["without a JWK"] += len(group["tests"])
            continue
        key = read_jwk(jwk)  # some have a small private half, and are refused as keys: here the signatures are judged
        for test in group["tests"]:
            accepted = key.verify(algorithm, bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"]))
            counts[f"{test['result']} {'accepted' if accepted else 'refused'}"] += 1
            if test["result"] != "acceptable" and accepted != (test["result"] == "valid"):
                wrong.append((test["tcId"], test["comment"]))
    report(name, counts)
    assert not wrong
    assert counts["valid accepted"] > 0


def test_json_test_suite(vectors: Path) -> None:
    """As header and payload: an object is expected there, so other documents are wrapped into one."""
    counts: Counter[str] = Counter()
    wrong = []
    for file in sorted((vectors / "JSONTestSuite" / "test_parsing").iterdir()):
        kind, raw = file.name[0], file.read_bytes()
        accepted = any(_parses(text) for text in (raw, b'{"x":' + raw + b"}"))
        counts[f"{kind}_ {'accepted' if accepted else 'refused'}"] += 1
        if (kind == "n" and accepted) or (kind == "y" and not accepted and "duplicated" not in file.name):
            wrong.append(file.name)
    report("JSONTestSuite", counts)
    assert not wrong
    assert counts["n_ refused"] >= 188


def _parses(text: bytes) -> bool:
    try:
        parse_object(text, "document")
    except MalformedToken:
        return False
    return True
