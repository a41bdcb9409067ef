"""Providers' keys: which are used, and which are skipped and why (RFC 7517, RFC 7518)."""

import base64
import contextlib
import datetime
import hashlib
import json
import math
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from tests.issuer import b64, ec_key, jwk, rsa_key
from tests.unit.verification.test_jws import json_values

from tokenmint.verification import weak_keys
from tokenmint.verification.jwk import BadKey, parse_jwk
from tokenmint.verification.jwk_set import MAX_KEYS, MAX_MEMBERS, parse_jwks, parse_x509_map


def uint(number: int) -> str:
    return b64(number.to_bytes((number.bit_length() + 7) // 8))


def rsa_members(n: int, e: int = 65537) -> dict[str, str]:
    return {"kty": "RSA", "n": uint(n), "e": uint(e)}


GOOD_RSA = jwk(rsa_key())
GOOD_EC = jwk(ec_key())
GOOD_OKP = jwk(ed25519.Ed25519PrivateKey.generate())
MODULUS = rsa_key().public_key().public_numbers().n


def close_primes() -> int:
    """A modulus of two neighbouring primes (CVE-2022-26320), found from a real one's prime."""
    p = rsa_key().private_numbers().p
    candidate = p + 2
    while math.gcd(candidate, weak_keys._small_primes()) != 1 or pow(2, candidate - 1, candidate) != 1:
        candidate += 2
    return p * candidate


def roca() -> int:
    """A modulus with the fingerprint of CVE-2017-15361: modulo small primes a power of 65537."""
    primes = [3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103]
    primes += [107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167]
    product = 1
    for prime in primes:
        product *= prime
    n = pow(65537, 12345, product) + product * ((1 << 2047) // product + 2)
    return n if n % 2 else n + product  # all the primes are odd


@pytest.mark.parametrize(
    ("member", "why"),
    [
        ("text", "not a JSON object"),
        ({"kty": "oct", "k": "AAAA"}, "private members"),
        ({"kty": "oct"}, "kty"),
        ({}, "kty"),
        ({**GOOD_RSA, "d": "AAAA"}, "private members"),
        ({**GOOD_RSA, "use": "enc"}, "use"),
        ({**GOOD_RSA, "key_ops": ["encrypt"]}, "key_ops"),
        ({**GOOD_RSA, "key_ops": "verify"}, "key_ops"),
        ({**GOOD_RSA, "alg": "HS256"}, "alg"),
        ({**GOOD_RSA, "alg": "ES256"}, "alg"),
        ({**GOOD_RSA, "alg": 1}, "alg"),
        ({**GOOD_RSA, "alg": ["RS256"]}, "alg"),
        ({**GOOD_RSA, "alg": {"RS256": 1}}, "alg"),
        ({**GOOD_RSA, "use": ["sig"]}, "use"),
        ({**GOOD_RSA, "kid": 1}, "kid"),
        ({**GOOD_RSA, "kid": ""}, "kid"),
        ({**GOOD_RSA, "kid": "k" * 129}, "kid"),
        ({**GOOD_RSA, "issuer": 1}, "issuer"),
        ({**GOOD_RSA, "n": 1}, "n is missing"),
        ({**GOOD_RSA, "n": GOOD_RSA["n"] + "="}, "base64url"),
        ({"kty": "RSA", "n": GOOD_RSA["n"]}, "e is missing"),
        (rsa_members(MODULUS >> 1024), "1024 bits"),
        (rsa_members((1 << 8192) + 1), "8193 bits"),
        (rsa_members(MODULUS, 1), "exponent"),
        (rsa_members(MODULUS, 65536), "exponent"),
        (rsa_members(MODULUS, (1 << 33) + 1), "exponent"),
        (rsa_members(MODULUS - 1), "weak"),
        (rsa_members(roca()), "CVE-2017-15361"),
        ({**GOOD_EC, "crv": "secp256k1"}, "curve"),
        ({**GOOD_EC, "crv": "P-384"}, "48 bytes"),
        ({**GOOD_EC, "x": b64(bytes(31))}, "32 bytes"),
        ({**GOOD_EC, "y": GOOD_EC["x"]}, "not on the curve"),
        ({**GOOD_EC, "alg": "ES384"}, "alg"),
        ({**GOOD_OKP, "crv": "Ed448"}, "Ed25519"),
        ({**GOOD_OKP, "x": "AAAA"}, "Ed25519"),
    ],
)
def test_a_bad_key_is_not_used(member: Any, why: str) -> None:
    with pytest.raises(BadKey, match=why):
        parse_jwk(member)


def test_a_key_of_close_primes_is_not_used() -> None:
    with pytest.raises(BadKey, match="CVE-2022-26320"):
        parse_jwk({**rsa_members(close_primes())})


MEMBERS = ["kty", "use", "key_ops", "alg", "kid", "n", "e", "crv", "x", "y", "issuer", "x5c", "d"]


@given(st.sampled_from([GOOD_RSA, GOOD_EC, GOOD_OKP]), st.dictionaries(st.sampled_from(MEMBERS), json_values))
def test_any_value_of_any_member_is_used_or_skipped_and_nothing_else(good: Any, changes: Any) -> None:
    with contextlib.suppress(BadKey):
        parse_jwk({**good, **changes})
    document = json.dumps({"keys": [{**good, **changes}, {**GOOD_EC, "kid": "good"}]}).encode()
    assert parse_jwks(document).keys[-1].key_id == "good"  # one bad key takes no other with it


@pytest.mark.parametrize("key", [rsa_key(), ec_key()])
def test_a_member_that_is_null_is_as_good_as_none(key: Any) -> None:
    names = ("use", "key_ops", "alg", "kid", "x5c", "x5t", "x5t#S256", "issuer", "d")
    assert parse_jwk(jwk(key, **dict.fromkeys(names))) == parse_jwk(jwk(key))
    for name in ("n", "x"):
        if name in jwk(key):
            with pytest.raises(BadKey, match=f"{name} is missing"):
                parse_jwk({**jwk(key), name: None})


def test_one_bad_key_does_not_spoil_the_set() -> None:
    parsed = parse_jwks(json.dumps({"keys": [{"kty": "oct"}, {**GOOD_EC, "kid": "e"}, GOOD_RSA]}).encode())
    assert [key.key_id for key in parsed.keys] == ["e", None]
    assert parsed.skipped == ("key 0: its kty is none of RSA, EC, OKP",)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"<html>", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "no list"),
        (b'{"keys":{}}', "no list"),
    ],
)
def test_a_document_that_is_no_key_set(body: bytes, why: str) -> None:
    with pytest.raises(BadKey, match=why):
        parse_jwks(body)


def test_rfc_7638_section_3_thumbprint() -> None:
    canonical = f'{{"e":"{GOOD_RSA["e"]}","kty":"RSA","n":"{GOOD_RSA["n"]}"}}'
    expected = b64(hashlib.sha256(canonical.encode()).digest())
    assert parse_jwk(GOOD_RSA).thumbprint == expected
    assert parse_jwk({"alg": "RS256", "use": "sig", "kid": "x", **GOOD_RSA}).thumbprint == expected


def test_signatures_verify_only_as_they_were_made() -> None:
    message = b"signing input"
    digest = ec.ECDSA(hashes.SHA256())
    key = parse_jwk(GOOD_EC)
    der = ec_key().sign(message, digest)
    r, s = decode_dss_signature(der)
    good = r.to_bytes(32) + s.to_bytes(32)
    assert key.verify("ES256", message, good)
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    for name, signature in {
        "CVE-2022-21449 r = s = 0": bytes(64),
        "r = 0": bytes(32) + good[32:],
        "s = 0": good[:32] + bytes(32),
        "r = n": order.to_bytes(32) + good[32:],
        "s out of range": good[:32] + b"\xff" * 32,
        "RFC 7518 section 3.4: DER is not raw": der,
        "cut": good[:-1],
        "longer": good + b"\0",
        "longer by a leading zero": good[:32] + b"\0" + good[32:],
        "empty": b"",
    }.items():
        assert not key.verify("ES256", message, signature), name
    assert not key.verify("ES256", b"another", good)


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
def test_rsa_algorithms_do_not_stand_for_one_another(algorithm: str) -> None:
    import jwt

    key = parse_jwk(GOOD_RSA)
    header, payload, signature = jwt.encode({}, rsa_key(), algorithm=algorithm).encode().split(b".")
    from tokenmint.verification.jws import decode_segment

    signed = decode_segment(signature, "signature")
    verifying = {name for name in key.algorithms if key.verify(name, header + b"." + payload, signed)}
    assert verifying == {algorithm}


def test_ed25519_and_p521_verify() -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    assert parse_jwk(jwk(private)).verify("EdDSA", b"m", private.sign(b"m"))
    big = ec.generate_private_key(ec.SECP521R1())
    r, s = decode_dss_signature(big.sign(b"m", ec.ECDSA(hashes.SHA512())))
    assert parse_jwk(jwk(big)).verify("ES512", b"m", r.to_bytes(66) + s.to_bytes(66))


def certificate(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(start).not_valid_after(start + datetime.timedelta(days=9000))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def of_another_version(pem: str) -> str:
    """The certificate with a version that X.509 does not have."""
    body = base64.b64decode("".join(pem.splitlines()[1:-1]))
    v3 = bytes([0xA0, 3, 2, 1, 2])
    assert v3 in body
    changed = base64.b64encode(body.replace(v3, bytes([0xA0, 3, 2, 1, 9]), 1)).decode()
    return f"-----BEGIN CERTIFICATE-----\n{changed}\n-----END CERTIFICATE-----\n"


def test_a_map_of_certificates_is_read_like_a_key_set() -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505  # what is to be refused
    parsed = parse_x509_map(
        json.dumps(
            {
                "a": certificate(rsa_key()),
                "b": "no PEM",
                "c": certificate(weak),
                "d": 1,
                "e": of_another_version(certificate(rsa_key())),
            }
        ).encode()
    )
    assert [key.key_id for key in parsed.keys] == ["a"]
    assert parsed.keys[0].thumbprint == parse_jwk(GOOD_RSA).thumbprint
    assert len(parsed.skipped) == 4


def test_of_more_keys_than_are_used_the_first_usable_ones_count_and_the_rest_is_told() -> None:
    unusable: list[Any] = [{"kty": "oct"}] * 5
    good = [{**GOOD_EC, "kid": str(number)} for number in range(MAX_KEYS + 1)]
    parsed = parse_jwks(json.dumps({"keys": [*unusable, *good]}).encode())
    assert [key.key_id for key in parsed.keys] == [str(number) for number in range(MAX_KEYS)]
    assert parsed.skipped[0] == "1 more of its 106 keys: the first 100 that can be used are (max_keys)"
    assert len(parse_jwks(json.dumps({"keys": good}).encode(), 1000).keys) == MAX_KEYS + 1
    assert len(parse_jwks(json.dumps({"keys": good[:MAX_KEYS]}).encode()).skipped) == 0
    many = parse_jwks(json.dumps({"keys": [1] * 5000 + [GOOD_EC]}).encode())
    assert (many.keys, len(many.skipped)) == ((), MAX_MEMBERS + 1)
    assert many.skipped[0] == "3001 more of its 5001 keys: only 2000 are looked at"
    pem = certificate(rsa_key())
    certificates = parse_x509_map(json.dumps({str(number): pem for number in range(101)}).encode())
    assert (len(certificates.keys), len(certificates.skipped)) == (100, 1)


def test_rfc_8259_section_8_1_a_byte_order_mark_is_ignored() -> None:
    mark = b"\xef\xbb\xbf"
    assert parse_jwks(mark + json.dumps({"keys": [GOOD_EC]}).encode()).keys
    assert parse_x509_map(mark + json.dumps({"a": certificate(rsa_key())}).encode()).keys
    for twice in (mark + mark, b" " + mark):
        with pytest.raises(BadKey, match="not JSON"):
            parse_jwks(twice + b'{"keys":[]}')


@pytest.mark.parametrize("declared", [None, "EdDSA", "Ed25519"])
def test_rfc_9864_eddsa_and_ed25519_are_one_for_an_ed25519_key(declared: str | None) -> None:
    member = {**GOOD_OKP, "alg": declared} if declared else GOOD_OKP
    assert parse_jwk(member).algorithms == {"EdDSA", "Ed25519"}
