"""The number of keys of a document: the first usable ones count, and keys that can't be used take no place of them."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.fakes import FakeClock
from tests.issuer import jwk, rsa_key
from tests.unit.verification.fetching import FakeFetch, sets
from tests.unit.verification.test_jwk import certificate

from tokenmint.verification.jwk_set import MAX_KEYS, MAX_WEAK, parse_jwks, parse_x509_map
from tokenmint.verification.key_file import key_file, usable_keys

NOW = 1_800_000_000


def weak_key(number: int) -> dict[str, Any]:
    """Return one of many weak keys."""
    return {**jwk(ec.derive_private_key(number % 16 + 1, ec.SECP256R1())), "kid": f"weak {number}"}


def test_weak_keys_take_no_place_of_keys_that_can_be_used(tmp_path: Path) -> None:
    good = [jwk(ec.generate_private_key(ec.SECP256R1()), kid=f"good {number}") for number in range(2)]
    body = json.dumps({"keys": [*(weak_key(number) for number in range(MAX_KEYS)), *good]}).encode()
    parsed = parse_jwks(body, 1)
    assert [key.key_id for key in parsed.keys] == ["good 0"]
    assert parsed.skipped[0] == "1 more of its 102 keys: the first 1 that can be used are (max_keys)"
    assert len(parsed.skipped) == 1 + MAX_KEYS
    (tmp_path / "keys.json").write_bytes(body)
    assert len(key_file(tmp_path / "keys.json", 2).value.keys) == 2
    assert len(usable_keys("jwks", body, 2).keys) == 2
    certificates = {f"weak {number}": certificate(ec.derive_private_key(1, ec.SECP256R1())) for number in range(2)}
    map_of_x509 = json.dumps({**certificates, "good": certificate(rsa_key())}).encode()
    assert [key.key_id for key in parse_x509_map(map_of_x509, 1).keys] == ["good"]


@pytest.mark.parametrize("name", ["jwks", "spiffe"])
async def test_weak_keys_of_a_fetched_document_take_no_place_either(name: str) -> None:
    good = jwk(ec.generate_private_key(ec.SECP256R1()), kid="good")
    document: dict[str, Any] = {"keys": [*(weak_key(number) for number in range(MAX_KEYS)), good]}
    if name == "spiffe":
        used = [{**key, "use": "jwt-svid"} for key in document["keys"]]
        document = {"keys": used, "spiffe_sequence": 1, "spiffe_refresh_hint": 600}
    fetch, clock = FakeFetch(), FakeClock(NOW)
    fetch.serve(json.dumps(document).encode())
    assert (await sets(fetch, clock).refresh("idp")).key_ids == ("good",)


def test_the_search_for_keys_that_can_be_used_ends_after_many_weak_ones() -> None:
    """A provider may fill its document with keys whose check takes a second each."""
    good = jwk(ec.generate_private_key(ec.SECP256R1()), kid="good")
    for weak, found in ((MAX_WEAK - 1, 1), (MAX_WEAK, 0)):
        members = [*(weak_key(number) for number in range(weak)), good]
        parsed = parse_jwks(json.dumps({"keys": members}).encode())
        assert len(parsed.keys) == found
    assert parsed.skipped[0] == f"1 more of its {MAX_WEAK + 1} keys: {MAX_WEAK} keys before them are weak"
